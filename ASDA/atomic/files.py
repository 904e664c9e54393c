"""Writing files that appear complete or not at all."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from .locks import lock_descriptor
from .names import is_temporary, temporary_name
from .streams import PatientFile, is_stream, open_stream, signals_held

_WRITE_ERRORS = {
    getattr(errno, name)
    for name in ("ENOSPC", "EDQUOT", "EFBIG", "EIO", "EROFS", "EACCES", "EPERM", "ESTALE")
    if hasattr(errno, name)
}
_looked_for_leftovers: set[str] = set()


@contextmanager
def atomic_path(file: str | os.PathLike, *, durable: bool = True) -> Iterator[Path]:
    """Gives a temporary path beside `file` to write to, and renames it when the block ends without an error.

    A reader (or a program that was interrupted) sees the old file or the complete new one, never half of it. Through a
    link the file that it leads to is written, the link stays. What is no file but a device, a pipe or `/dev/stdout` is
    written to at the end, not replaced. Temporary files that killed programs have left in the folder are removed.

    Args:
        file: the file; its folder is made if it does not exist.
        durable: also hold when the power fails: wait until the disk has it. Not worth its time for each of many small
            files that can be made again.

    Raises:
        OSError: it cannot be written, is a folder or write-protected.
    """
    if is_stream(file):
        with _spooled(file) as temporary:
            yield temporary
        return
    target = Path(file).absolute()
    status = _status(target)
    if status is not None and stat.S_ISLNK(status.st_mode):
        target = Path(os.path.realpath(target))
        status = _status(target)
    _require_replaceable(target, status, file)
    _make_folder(target.parent)
    temporary, descriptor = _create_temporary(target)
    replaced = False
    try:
        yield temporary
        os.chmod(temporary, _mode(status))
        if durable:
            sync(temporary)
        os.replace(temporary, target)
        replaced = True
        if durable:
            sync(target.parent)
    except OSError as error:
        _raise_for(error, temporary, file)
        raise
    finally:
        if not replaced:
            with suppress(FileNotFoundError):
                os.unlink(temporary)
        os.close(descriptor)  # which gives up the lock: from here on it could be taken for a leftover


@contextmanager
def atomic_writer(file: str | os.PathLike) -> Iterator[TextIO]:
    """Opens a text file for writing as :func:`atomic_path` does."""
    with atomic_path(file) as temporary:
        with open(temporary, "w", encoding="utf-8", errors="surrogateescape", newline="\n") as handle:
            yield handle


@contextmanager
def atomic_binary(file: str | os.PathLike, *, durable: bool = True) -> Iterator[PatientFile]:
    """Opens a file for a library written in C, as :func:`atomic_path` does: see PatientFile and signals_held."""
    with signals_held() as interrupted, atomic_path(file, durable=durable) as temporary:
        with open(temporary, "w+b", buffering=0) as raw:
            patient = PatientFile(raw, interrupted)
            try:
                yield patient
            except Exception:
                patient.raise_failure()  # the cause, rather than what the library made of it
                raise
            patient.raise_failure()


def sync(path: str | os.PathLike) -> None:
    """Waits until the disk has a file, or the names in a folder."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:  # Windows opens no folders
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EBADF, errno.ENOTSUP):  # file systems that cannot do this
            raise
    finally:
        os.close(descriptor)


def look_for_leftovers_again() -> None:
    """A folder is searched for leftovers of killed programs once; a new program starts over."""
    _looked_for_leftovers.clear()


def _status(path: Path) -> os.stat_result | None:
    """What is there, a link as such; None: nothing."""
    try:
        return os.lstat(path)
    except FileNotFoundError:
        return None


def _require_replaceable(target: Path, status: os.stat_result | None, file: str | os.PathLike) -> None:
    if status is None:
        return
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, "is a folder, a file is to be written", os.fspath(file))
    if stat.S_ISLNK(status.st_mode):  # realpath has found no end
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), os.fspath(file))
    if not os.access(target, os.W_OK):  # a rename would not ask
        raise PermissionError(errno.EACCES, "is write-protected", os.fspath(file))


def _make_folder(folder: Path) -> None:
    """Makes it, and removes leftovers from it the first time."""
    if str(folder) in _looked_for_leftovers and folder.is_dir():
        return
    folder.mkdir(parents=True, exist_ok=True)
    _looked_for_leftovers.add(str(folder))
    _remove_leftovers(folder)


def _create_temporary(target: Path) -> tuple[Path, int]:
    """A new file beside the target, and a descriptor that locks it: what is not locked is a leftover."""
    while True:
        path = target.with_name(temporary_name(target.name))
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o600)
        lock_descriptor(descriptor, wait=True)
        with suppress(FileNotFoundError):
            if os.path.samestat(os.stat(path), os.fstat(descriptor)):
                return path, descriptor
        os.close(descriptor)  # another program took it for a leftover before it was locked


def _remove_leftovers(folder: Path) -> None:
    with os.scandir(folder) as entries:
        leftovers = [
            entry.path for entry in entries if is_temporary(entry.name) and entry.is_file(follow_symlinks=False)
        ]
    for path in leftovers:
        with suppress(OSError):  # gone meanwhile, or somebody else's
            descriptor = os.open(path, os.O_RDWR)
            try:
                if lock_descriptor(descriptor):
                    os.unlink(path)
            finally:
                os.close(descriptor)


@contextmanager
def _spooled(file: str | os.PathLike) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        temporary = Path(folder, "contents")
        temporary.touch()
        yield temporary
        with open(temporary, "rb") as source, open_stream(file) as target:
            shutil.copyfileobj(source, target)


def _mode(replaced: os.stat_result | None) -> int:
    """What a file's permissions are to be: those of the one that it replaces, or the usual ones."""
    return 0o666 & ~umask() if replaced is None else stat.S_IMODE(replaced.st_mode)


def umask() -> int:
    """The process's umask, which can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _raise_for(error: OSError, temporary: Path, file: str | os.PathLike) -> None:
    """Raises an error about the temporary file, or about none in particular, as one about the file that was meant."""
    about_this = error.filename is not None and os.fspath(error.filename) == str(temporary)
    if about_this or (error.filename is None and error.errno in _WRITE_ERRORS):
        raise OSError(error.errno, error.strerror, os.fspath(file)) from error
