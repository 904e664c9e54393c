"""Replacing several files of a folder at once."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .files import sync, umask
from .locks import OutputLock
from .names import is_temporary, temporary_name

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2
_OLD = ".old"


@contextmanager
def atomic_folder(folder: str | os.PathLike, is_own: Callable[[str], bool]) -> Iterator[Path]:
    """Gives an empty folder beside `folder` to fill, and puts it in its place when the block ends without an error.

    At any moment, also when the process is killed or the power fails, `folder` holds the old files or the new ones.
    (Where the system cannot exchange two folders there is a moment at which it is missing; the next call then brings
    the old one back.) Whatever else lies in the folder stays there.

    Args:
        folder: the folder; what it is made of is replaced as a whole. A link to it stays a link.
        is_own: tells the names of entries that are replaced or, if they are not written again, removed.

    Raises:
        LockedOutputError: another process is at it.
        OSError: it cannot be written, or is no folder.
    """
    target = Path(os.path.realpath(folder))
    if target.exists() and not target.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "is a file, a folder is to be written", os.fspath(folder))
    target.parent.mkdir(parents=True, exist_ok=True)
    with OutputLock(target):
        _clear_leftovers(target, is_own)
        temporary = target.with_name(temporary_name(target.name))
        temporary.mkdir()
        try:
            yield temporary
            os.chmod(temporary, stat.S_IMODE(target.stat().st_mode) if target.exists() else 0o777 & ~umask())
            for path in (*temporary.rglob("*"), temporary):
                sync(path)
        except BaseException as error:
            shutil.rmtree(temporary, ignore_errors=True)
            _raise_for(error, temporary, Path(folder))
            raise
        try:
            _swap(temporary, target)
        except OSError as error:
            shutil.rmtree(temporary, ignore_errors=True)
            raise OSError(
                error.errno, f"cannot be replaced as a whole ({error.strerror})", os.fspath(folder)
            ) from error
        sync(target.parent)
        _clear(temporary, target, is_own)  # which is the old one now


def _raise_for(error: BaseException, temporary: Path, folder: Path) -> None:
    """Raises an error about a file in the temporary folder as one about the file that it was to become."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        file = Path(os.fsdecode(error.filename))
        if file.is_relative_to(temporary):
            raise OSError(error.errno, error.strerror, str(folder / file.relative_to(temporary))) from error


def _swap(temporary: Path, target: Path) -> None:
    """The new folder takes the old one's name; the old one gets the temporary name."""
    if not target.exists():
        os.rename(temporary, target)
    elif not _exchange(temporary, target):
        aside = target.with_name(temporary_name(f"{target.name}{_OLD}"))
        os.rename(target, aside)
        os.rename(temporary, target)
        os.rename(aside, temporary)


def _exchange(first: Path, second: Path) -> bool:
    """Exchanges two names in one step, where Linux and the file system can; returns whether it did."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):  # an old or other C library
        return False
    names = os.fsencode(first), os.fsencode(second)
    return rename(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) == 0


def _clear_leftovers(target: Path, is_own: Callable[[str], bool]) -> None:
    """Of calls that were killed. The lock is held, so that none of it is being written."""
    with os.scandir(target.parent) as entries:
        names = sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
    for leftover in (target.with_name(n) for n in names if is_temporary(n, of=f"{target.name}{_OLD}")):
        if target.exists():
            _clear(leftover, target, is_own)
        else:
            os.rename(leftover, target)
    for leftover in (target.with_name(n) for n in names if is_temporary(n, of=target.name)):
        if target.exists():
            _clear(leftover, target, is_own)
        else:  # half of a first one
            shutil.rmtree(leftover)


def _clear(leftover: Path, target: Path, is_own: Callable[[str], bool]) -> None:
    """Removes a folder that is no longer needed; what is not this project's goes to the one that is."""
    if not leftover.exists():
        return
    for path in sorted(leftover.iterdir()):
        if is_own(path.name) or is_temporary(path.name):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink()
        elif not os.path.lexists(target / path.name):
            os.rename(path, target / path.name)
    with suppress(OSError):  # something is left that has a namesake in the target: it stays where it is
        leftover.rmdir()
