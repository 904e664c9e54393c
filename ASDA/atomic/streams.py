"""What must not go wrong around a file: devices and pipes in its place, a disk that is full, a signal in between."""

from __future__ import annotations

import io
import os
import re
import signal
import stat
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import BinaryIO

_STANDARD = {"stdin": 0, "stdout": 1, "stderr": 2}
_DESCRIPTOR = re.compile(r"/dev/(?P<name>stdin|stdout|stderr)|(?:/dev/fd|/proc/(?:self|thread-self|\d+)/fd)/(?P<n>\d+)")
_MOST_LINKS = 40
HELD_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


def is_stream(file: str | os.PathLike) -> bool:
    """Whether a path is a device, a pipe, a socket, or a stream of this process such as `/dev/stdout`."""
    if _own_descriptor(file) is not None:
        return True
    try:
        mode = os.stat(file).st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def open_stream(file: str | os.PathLike) -> BinaryIO:
    """Opens what :func:`is_stream` is true of, for writing.

    Raises:
        OSError: it cannot be written, or is a whole disk.
    """
    number = _own_descriptor(file)
    if number is not None:
        for stream in (sys.stdout, sys.stderr):  # what was printed before comes before
            stream.flush()
        # Opened by its name, a file that the output is redirected to would be cut to nothing first.
        return os.fdopen(os.dup(number), "wb")
    if stat.S_ISBLK(os.stat(file).st_mode):
        raise OSError(f"{os.fspath(file)}: a disk, which would be written over; name a file")
    return open(file, "wb")


def _own_descriptor(file: str | os.PathLike) -> int | None:
    path = os.path.abspath(os.fspath(file))
    for _ in range(_MOST_LINKS):
        if match := _DESCRIPTOR.fullmatch(path):
            return int(match["n"]) if match["n"] else _STANDARD[match["name"]]
        if not os.path.islink(path):
            return None
        path = os.path.normpath(os.path.join(os.path.dirname(path), os.readlink(path)))
    return None


class PatientFile(io.RawIOBase):
    """A file for libraries that crash when a write fails: the first failure is kept, and all that follows is dropped.

    torch ends the process, and HDF5 breaks its own state, when a disk is full. Ask `raise_failure` when they are done.
    """

    def __init__(self, file: io.FileIO, interrupted: Callable[[], bool] = lambda: False):
        super().__init__()
        self._file = file
        self._interrupted = interrupted
        self._failure: OSError | None = None
        self._dropped_end = 0

    def raise_failure(self) -> None:
        """Raises what went wrong, if anything."""
        if self._failure is not None:
            raise self._failure

    def require_going_on(self) -> None:
        """Raises what went wrong, or InterruptedError if a signal waits: for those who write for long."""
        self.raise_failure()
        if self._interrupted():
            raise InterruptedError("interrupted")

    def write(self, data) -> int:
        view = memoryview(data)
        num_bytes = view.nbytes
        rest = view.cast("B") if num_bytes else b""  # a view of nothing cannot be cast
        try:
            while rest and self._failure is None:
                rest = rest[self._file.write(rest) :]  # systems write 2 GB at a time at most
        except OSError as error:
            self._fail(error)
        self._dropped_end += num_bytes
        return num_bytes

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if self._failure is None:
            return self._file.seek(offset, whence)
        self._dropped_end = offset if whence == os.SEEK_SET else self._dropped_end + offset
        return self._dropped_end

    def tell(self) -> int:
        return self._dropped_end if self._failure is not None else self._file.tell()

    def readinto(self, buffer) -> int:
        if self._failure is None:
            return self._file.readinto(buffer)
        memoryview(buffer).cast("B")[:] = bytes(memoryview(buffer).nbytes)
        return memoryview(buffer).nbytes

    def truncate(self, size: int | None = None) -> int:
        if self._failure is None:
            try:
                return self._file.truncate(size)
            except OSError as error:
                self._fail(error)
        return size or 0

    def flush(self) -> None:
        if self._failure is None and not self._file.closed:
            try:
                self._file.flush()
            except OSError as error:
                self._fail(error)

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def _fail(self, error: OSError) -> None:
        self._failure = error


@contextmanager
def signals_held() -> Iterator[Callable[[], bool]]:
    """Lets signals that end the program wait until the block has ended, and gives a function that tells of one.

    Python turns such a signal into an exception at any place, also in the middle of a library's C code.
    """
    if threading.current_thread() is not threading.main_thread():  # signals are handled in the main thread
        yield lambda: False
        return
    waiting: list[int] = []
    earlier = {
        number: signal.signal(number, lambda number, _: waiting.append(number))
        for number in HELD_SIGNALS
        if signal.getsignal(number) not in (None, signal.SIG_IGN)
    }
    try:
        yield lambda: bool(waiting)
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
        if waiting:
            signal.raise_signal(waiting[0])
