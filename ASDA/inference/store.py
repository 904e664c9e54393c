"""Where features go: single .npy files, a tree of them, or one .h5. Nothing is ever left half written."""

from __future__ import annotations

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..audio.finding import AUDIO_SUFFIXES
from .clips import Clip, Clips, InputError
from .features import ClipFeatures
from .windows import BadClip

SETTINGS_FILE = "extraction.json"
_TIMES = ".times"


class OutputError(ValueError):
    """Features cannot go where they were to go."""


class UnwritableClipError(OutputError):
    """The features of one clip cannot be written; those of others can."""


class FeatureStore(ABC):
    """Takes the features of clips, inside a `with` block. Only inside it is anything changed on disk."""

    def begin(self) -> None:  # noqa: B027 (a single file needs none of this)
        """Makes the output its own.

        Raises:
            LockedOutputError: another process writes to it.
            OutputError: it cannot go there.
        """

    def end(self) -> None:  # noqa: B027
        """Leaves the output to others."""

    @abstractmethod
    def done(self, clip: Clip) -> bool:
        """Whether an earlier run has written a clip."""

    @abstractmethod
    def write(self, clip: Clip, features: ClipFeatures) -> None:
        """Takes the features of one clip.

        Raises:
            UnwritableClipError: they cannot be written, others can.
        """

    def left_out(self, bad: Sequence[BadClip]) -> None:  # noqa: B027 (most keep no list of them)
        """Takes the clips that could not be used, when all others are written."""

    def flush(self) -> None:  # noqa: B027 (most stores hold nothing back)
        """Saves what is held back; also when the run is interrupted."""

    def close(self) -> None:  # noqa: B027
        """Ends a run that went through all its clips."""

    def __enter__(self) -> FeatureStore:
        try:
            self.begin()
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, traceback: object) -> None:
        try:
            self.flush()
            if kind is None:
                self.close()
        finally:
            self.end()


def _utf8(name: str) -> str:
    """A name for where names are UTF-8, which file names need not be."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def _stem(name: str) -> str:
    stem, suffix = os.path.splitext(name)
    return stem if suffix.lower() in AUDIO_SUFFIXES else name


def _ambiguous_stems(clips: Clips, timestamps: bool = False) -> set[str]:
    """Stems under which the files of several clips would have one name.

    Raises:
        InputError: two clips have one name, or a name would lead out of the output folder.
    """
    names: set[str] = set()
    stems: set[str] = set()
    ambiguous: set[str] = set()
    for clip in clips:
        if ".." in clip.name.split("/"):
            raise InputError(
                f'the clip "{clip.name}" ({clip.path}) would be written outside the output; name it without ..'
            )
        if clip.name in names:
            raise InputError(
                f'two clips are called "{clip.name}", the second is {clip.path}; give them in separate runs'
            )
        names.add(clip.name)
        stem = _stem(clip.name)
        (ambiguous if stem in stems else stems).add(stem)
    if timestamps:  # dog.times.wav beside dog.wav, whose time stamps go to dog.times.npy
        ambiguous |= {stem for stem in stems if stem.endswith(_TIMES) and stem.removesuffix(_TIMES) in stems}
    # dog.wav.mp3 beside dog.wav, which keeps its ending because there is a dog.flac
    while more := {stem for stem in stems if stem in names and stem not in ambiguous and _stem(stem) in ambiguous}:
        ambiguous |= more
    return ambiguous


def _differences(record: Path, wanted: dict[str, Any]) -> list[str]:
    """What a record of settings says otherwise.

    Raises:
        OutputError: the file is no such record.
    """
    try:
        recorded = json.loads(record.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        recorded = None
    if not isinstance(recorded, dict) or "granularity" not in recorded:
        raise OutputError(f"{record}: not a record of asda-extract, so this folder is left as it is; name another")
    return _differences_from(recorded, wanted)


def _differences_from(recorded: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    wanted = json.loads(json.dumps(wanted))  # tuples become lists, as they did in the record
    different = []
    for name in sorted({*recorded, *wanted}):
        before, now = recorded.get(name), wanted.get(name)
        if name not in recorded:
            different.append(f"{name} is not recorded, now {_short(now)}")
        elif isinstance(before, dict) and isinstance(now, dict):
            different += [f"{name}.{line}" for line in _differences_from(before, now)]
        elif before != now:
            different.append(f"{name} was {_short(before)}, now {_short(now)}")
    return different


def _short(value: Any, length: int = 60) -> str:
    text = str(value)
    return text if len(text) <= length else f"{text[: length - 4]} ..."


def _refuse_to_mix(where: Path, different: list[str]) -> None:
    raise OutputError(
        f"{where}: --resume would mix different features: {'; '.join(different)}; name another output, or leave "
        "--resume away to replace them"
    )
