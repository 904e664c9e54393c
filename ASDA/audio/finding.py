"""Which files of a folder are audio."""

import os
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from .io import PathLike

AUDIO_SUFFIXES = frozenset(
    {".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au", ".caf", ".w64", ".rf64"}
)


def list_audio_files(root: PathLike, pattern: str = "**/*") -> list[Path]:
    """Audio files under a folder, sorted; recognised by their suffix, in any case.

    Args:
        root: folder to search; see `visible_files`.
        pattern: glob relative to `root`; `**/*` is every file at any depth.

    Raises:
        NotADirectoryError: `root` is not a folder.
    """
    root = Path(root)
    if not root.is_dir():
        raise NotADirectoryError(f"{root} is not a folder")
    return sorted(
        path
        for path in visible_files(root)
        if path.suffix.lower() in AUDIO_SUFFIXES and _matches(path.relative_to(root).parts, Path(pattern).parts)
    )


def visible_files(root: Path) -> Iterator[Path]:
    """Every file at any depth, those that are linked and links that lead nowhere included, but no hidden ones.

    Hidden files are left-overs of other programs, such as the `._clip.wav` beside every clip that was on a Mac.
    """
    seen = set()
    for folder, subfolders, files in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:  # a link that leads back up
            subfolders.clear()
            continue
        seen.add(real)
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        yield from (Path(folder, name) for name in files if not name.startswith("."))


def _matches(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    """Whether a path fits a glob, both split at the slashes; `**` stands for any number of folders."""
    if not pattern:
        return not parts
    if pattern[0] == "**":
        return any(_matches(parts[skipped:], pattern[1:]) for skipped in range(len(parts) + 1))
    return bool(parts) and fnmatchcase(parts[0], pattern[0]) and _matches(parts[1:], pattern[1:])
