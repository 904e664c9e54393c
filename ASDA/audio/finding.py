"""Which files of a folder are audio, and which of them are passed over."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Optional

from .errors import PathLike

AUDIO_SUFFIXES = frozenset(
    {".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".mp2", ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf", ".w64"}
    | {".rf64", ".sph", ".voc"}
)
UNDECODABLE_SUFFIXES = frozenset(
    {".m4a", ".m4b", ".aac", ".mp4", ".m4v", ".mov", ".3gp", ".alac", ".webm", ".weba", ".mkv", ".mka", ".wma", ".wmv"}
    | {".asf", ".amr", ".awb", ".ape", ".wv", ".tta", ".mpc", ".ac3", ".eac3", ".dts", ".ra", ".rm", ".avi", ".flv"}
    | {".mpg", ".mpeg", ".spx", ".ogv", ".dsf", ".dff", ".shn", ".tak", ".gsm", ".vox", ".raw", ".pcm"}
)
"""Recordings that are not decoded here: other codecs, films, samples without a header."""

ARCHIVE_SUFFIXES = frozenset({".tgz", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst", ".7z", ".rar"})
"""Compressed containers, which nothing here looks into."""


_EVERYTHING = ("**", "*")


@dataclass
class PassedOver:
    """What a search did not look at, although there may be recordings in it.

    Attributes:
        containers: endings of containers, where the search does not look into them.
        files: how many files there are of each ending that cannot be decoded, and of each container's.
        folders: those that could not be entered, with the system's reason.
    """

    containers: frozenset[str] = frozenset()
    files: Counter = field(default_factory=Counter)
    folders: list[tuple[str, str]] = field(default_factory=list)

    def ending(self, name: str) -> Optional[str]:
        """The ending of a file that is to be counted; None for others."""
        suffix = os.path.splitext(name.lower())[1]
        return suffix if suffix in self.containers else undecodable_ending(name)

    def count(self, name: str) -> None:
        """Counts a file, if it is one of a recording or an archive that cannot be read here."""
        ending = self.ending(name)
        if ending is not None:
            self.files[ending] += 1

    def messages(self, root: PathLike) -> Iterator[str]:
        """What to tell the user, a line for each kind."""
        held = Counter({ending: count for ending, count in self.files.items() if ending in self.containers})
        if others := self.files - held:
            convert = "convert recordings, e.g. ffmpeg -i in out.flac"
            yield f"{root}: left out, as they cannot be decoded here: {_listed(others)}; {convert}"
        if held:
            yield f"{root}: left out, as only a manifest names clips in containers: {_listed(held)}; see asda-manifest"
        for folder, reason in self.folders:
            yield f"{folder}: this folder cannot be entered ({reason}); what lies in it is left out"


def _listed(counts: Counter) -> str:
    return ", ".join(f"{count} {ending}" for ending, count in sorted(counts.items()))


def undecodable_ending(name: str) -> Optional[str]:
    """The ending of a file, if it is one of a recording or an archive that cannot be read here."""
    stem, suffix = os.path.splitext(name.lower())
    if suffix in UNDECODABLE_SUFFIXES:
        return suffix
    for ending in (os.path.splitext(stem)[1] + suffix, suffix):
        if ending in ARCHIVE_SUFFIXES:
            return ending
    return None


def list_audio_files(root: PathLike, pattern: str = "**/*", passed_over: Optional[PassedOver] = None) -> list[Path]:
    """Paths of the files that :func:`audio_file_names` names."""
    root = Path(root)
    return [root / name for name in audio_file_names(root, pattern, passed_over)]


def audio_file_names(root: PathLike, pattern: str = "**/*", passed_over: Optional[PassedOver] = None) -> list[str]:
    """Audio files under a folder by their names in it, folder by folder; recognised by their suffix, in any case.

    Args:
        root: folder to search; see `visible_files`.
        pattern: glob relative to `root`; `**/*` is every file at any depth.
        passed_over: takes note of files that fit the pattern but cannot be decoded, and of folders that cannot be
            entered.

    Raises:
        NotADirectoryError: `root` is not a folder.
    """
    root = os.fspath(Path(root))
    if not os.path.isdir(root):
        raise NotADirectoryError(f"{root} is not a folder")
    passed_over = PassedOver() if passed_over is None else passed_over
    wanted = Path(pattern).parts
    found = []
    for name in _visible_names(root, passed_over):
        is_audio = os.path.splitext(name)[1].lower() in AUDIO_SUFFIXES
        ending = None if is_audio else passed_over.ending(os.path.basename(name))
        if (is_audio or ending) and (wanted == _EVERYTHING or _matches(name.split(os.sep), wanted)):
            if is_audio:
                found.append(name)
            else:
                passed_over.files[ending] += 1
    return sorted(found, key=lambda name: os.path.normcase(name).split(os.sep))


def visible_files(root: Path, passed_over: PassedOver) -> Iterator[Path]:
    """Every file at any depth, those that are linked and links that lead nowhere included, but no hidden ones.

    Hidden files are left-overs of other programs, such as the `._clip.wav` beside every clip that was on a Mac. Links
    to folders are followed, each of them; only those that lead back to a folder on the way to them are not.

    Args:
        root: where to begin.
        passed_over: gets the folders that cannot be entered.
    """
    return (root / name for name in _visible_names(os.fspath(root), passed_over))


def _visible_names(root: str, passed_over: PassedOver) -> Iterator[str]:
    """The same by their names in the folder, as there may be millions: a path costs as much as reading its entry."""

    def note(error: OSError) -> None:
        passed_over.folders.append((str(error.filename), error.strerror or str(error)))

    start = len(os.path.join(root, ""))
    ahead: dict[str, tuple[str, frozenset[str]]]  # real path, and the real folders on the way
    ahead = {root: (os.path.realpath(root), frozenset())}
    for folder, subfolders, files in os.walk(root, followlinks=True, onerror=note):
        real, way = ahead.pop(folder)
        way |= {real}
        followed = []
        for name in subfolders:
            path = os.path.join(folder, name)
            target = os.path.realpath(path) if os.path.islink(path) else os.path.join(real, name)
            if not name.startswith(".") and target not in way:
                ahead[path] = (target, way)
                followed.append(name)
        subfolders[:] = followed
        within = folder[start:]
        yield from (os.path.join(within, name) for name in files if not name.startswith("."))


def _matches(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    """Whether a path fits a glob, both split at the slashes; `**` stands for any number of folders."""
    if not pattern:
        return not parts
    if pattern[0] == "**":
        return any(_matches(parts[skipped:], pattern[1:]) for skipped in range(len(parts) + 1))
    return bool(parts) and fnmatchcase(parts[0], pattern[0]) and _matches(parts[1:], pattern[1:])
