"""Which files a program may write over or remove: those that such a program has made. All others stay as they are."""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

from ..atomic import is_stream
from ..inference.windows import BadClip

LEFT_OUT = "left out: "
"""What each reason in a list of bad clips begins with: by it such a list is known again."""

_HEAD_BYTES = 1 << 16
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_COMMANDS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # all but tab and line break


def refuse_foreign(path: str | os.PathLike, what: str, is_own: Callable[[Path], bool]) -> None:
    """Refuses an output in whose place something else lies, before any work is done.

    Nothing, an empty file, and what is no file but a device or a pipe may be written to.

    Args:
        path: where the output is to go.
        what: what it is, for the message.
        is_own: whether an existing file is such an output.

    Raises:
        ValueError: it is a folder or another file.
    """
    path = Path(path)
    if is_stream(path) or not path.exists():
        return
    if path.is_dir():
        raise ValueError(f"{path}: a folder, expected a file for {what}")
    if path.stat().st_size and not is_own(path):
        raise ValueError(f"{path}: exists and is not {what}, so it is left as it is; name another file or remove it")


def refuse_same(outputs: dict[str, str | os.PathLike | None]) -> None:
    """Refuses two outputs, by the names of their flags, that would go to one file."""
    seen: dict[str, str] = {}
    for flag, path in outputs.items():
        if path is None or is_stream(path):
            continue
        real = os.path.realpath(path)
        if real in seen:
            raise ValueError(f"{path}: named by {seen[real]} and by {flag}; each needs a file of its own")
        seen[real] = flag


def is_errors_list(path: Path) -> bool:
    """Whether a file holds `path<TAB>reason` lines of an earlier run."""
    with open(path, "rb") as file:
        return all(_is_errors_line(line) for line in file)


def _is_errors_line(line: bytes) -> bool:
    clip, tab, reason = line.partition(b"\t")
    return bool(clip and tab) and reason.startswith(LEFT_OUT.encode()) and b"\t" not in reason


def errors_line(clip: BadClip) -> str:
    """The line about a clip."""
    return f"{one_line(clip.clip.path)}\t{LEFT_OUT}{' '.join(clip.reason.split())}\n"


def one_line(name: str) -> str:
    """A name with the characters escaped that would break a line or a column, or command a terminal."""
    return _CONTROL.sub(_escaped, name)


def printable(text: str) -> str:
    """A text, of several lines perhaps, with the characters escaped that would command a terminal."""
    return _COMMANDS.sub(_escaped, text)


def _escaped(found: re.Match) -> str:
    return found[0].encode("unicode_escape").decode()


def is_torch_file(path: Path) -> bool:
    """Whether a file was written by `torch.save`, of either format."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("/data.pkl") for name in archive.namelist())
    return _head(path).startswith(b"\x80")


def begins_with(*starts: str) -> Callable[[Path], bool]:
    """Recognises a file by how its text begins."""
    return lambda path: any(_head(path).startswith(start.encode()) for start in starts)


def holds(*marks: str) -> Callable[[Path], bool]:
    """Recognises a file by one of several words near its beginning."""
    return lambda path: any(mark.encode() in _head(path) for mark in marks)


def _head(path: Path) -> bytes:
    with open(path, "rb") as file:
        return file.read(_HEAD_BYTES)
