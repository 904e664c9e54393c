"""Locks on outputs, so that two programs do not write to one at a time."""

from __future__ import annotations

import errno
import logging
import os
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path

from .names import fitting_name

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

logger = logging.getLogger(__name__)

_TAKEN = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)
_UNKNOWN_HOLDER = "another process"


class LockedOutputError(OSError):
    """Another process is writing to an output; the message names it."""


def lock_descriptor(descriptor: int, *, shared: bool = False, wait: bool = False) -> bool:
    """Locks an open file until it is closed, also by the end of the process, however that comes.

    Returns:
        Whether it is locked now: False where another holds it or the file system knows no locks.

    Raises:
        OSError: the lock failed in another way.
    """
    if fcntl is None:
        return False
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
    except OSError as error:
        if error.errno in (*_TAKEN, errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL):
            return False
        raise
    return True


class OutputLock:
    """A lock file that says who writes to an output.

    The lock ends with the process that holds it, so that the file of one that was killed stops nobody. Between machines
    it holds where the shared file system passes `flock` on, as NFS does; where there is none a warning is logged.

    Args:
        output: the file or folder; the lock file lies beside it.
        file: another place for the lock file.
    """

    def __init__(self, output: str | os.PathLike, file: str | os.PathLike | None = None):
        self.output = Path(output)
        real = Path(os.path.realpath(output))
        self.file = Path(file) if file is not None else real.with_name(fitting_name(f".{real.name}", ".lock"))
        self._descriptor: int | None = None

    def acquire(self, *, shared: bool = False) -> None:
        """Takes the lock; one that is held already changes between shared and not.

        Raises:
            LockedOutputError: another process has it.
        """
        if not self.try_acquire(shared=shared):
            raise LockedOutputError(
                f"{self.output}: {self.holder()} is writing to it; wait until that has ended, or name another output"
            )

    def try_acquire(self, *, shared: bool = False) -> bool:
        """The same, but returns whether the lock was taken."""
        while True:
            if self._descriptor is None:
                self.file.parent.mkdir(parents=True, exist_ok=True)
                self._descriptor = os.open(self.file, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o666)
            if not lock_descriptor(self._descriptor, shared=shared):
                if not self._locks_work(self._descriptor):
                    return True
                self._close()
                return False
            with suppress(FileNotFoundError):
                if os.path.samestat(os.stat(self.file), os.fstat(self._descriptor)):
                    self._describe_holder(self._descriptor)
                    return True
            self._close()  # its holder has removed it meanwhile

    def release(self) -> None:
        """Gives the lock up and removes the file, unless others share it."""
        if self._descriptor is None:
            return
        with suppress(OSError):
            if lock_descriptor(self._descriptor) and os.path.samestat(os.stat(self.file), os.fstat(self._descriptor)):
                os.unlink(self.file)
        self._close()

    @property
    def descriptors(self) -> tuple[int, ...]:
        """The open lock file, for a process to inherit (`pass_fds`): then the lock holds until that has ended, too."""
        return () if self._descriptor is None else (self._descriptor,)

    def holder(self) -> str:
        """Who has written itself into the lock file last."""
        try:
            return self.file.read_text(encoding="utf-8", errors="replace").strip() or _UNKNOWN_HOLDER
        except OSError:
            return _UNKNOWN_HOLDER

    def __enter__(self) -> OutputLock:
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def __del__(self) -> None:
        self._close()

    @staticmethod
    def _describe_holder(descriptor: int) -> None:
        program = os.path.basename(sys.argv[0]) if sys.argv and sys.argv[0] else "python"
        since = time.strftime("%Y-%m-%d %H:%M:%S")
        text = f"process {os.getpid()} on {socket.gethostname()} ({program}, since {since})\n"
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, text.encode("utf-8", "backslashreplace"), 0)

    def _locks_work(self, descriptor: int) -> bool:
        """Whether a lock that was not given is another's; without locks, work goes on."""
        if fcntl is None:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _TAKEN:
                return True
            logger.warning("%s: this file system has no locks (%s); start no second writer", self.output, error)
        return False

    def _close(self) -> None:
        descriptor: int | None = getattr(self, "_descriptor", None)
        if descriptor is not None:
            os.close(descriptor)
            self._descriptor = None
