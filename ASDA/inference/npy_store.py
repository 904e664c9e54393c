"""Features as .npy files: one, or a tree that mirrors that of the clips."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from ..atomic import atomic_path, atomic_writer
from .clips import Clip, Clips
from .features import ClipFeatures
from .store import (
    _TIMES,
    SETTINGS_FILE,
    FeatureStore,
    OutputError,
    _ambiguous_stems,
    _differences,
    _refuse_to_mix,
    _stem,
)


def _save(path: Path, values: np.ndarray, blocks: Iterable[np.ndarray] | None = None) -> None:
    """Writes a .npy file.

    Args:
        path: of the file.
        values: the array.
        blocks: its parts in C order, if it is too large to be held.
    """
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        if blocks is None:
            np.save(file, values)
            return
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(values))
        for block in blocks:
            file.write(np.ascontiguousarray(block).tobytes())


class NpyFile(FeatureStore):
    """One clip, one file (and `NAME.times.npy` with the time stamps)."""

    def __init__(self, path: Path, timestamps: bool):
        self.path = path if path.suffix == ".npy" else path.with_name(f"{path.name}.npy")  # as numpy.save names it
        self.timestamps = timestamps

    def done(self, clip: Clip) -> bool:
        return self.path.exists()

    def write(self, clip: Clip, features: ClipFeatures) -> None:
        if self.timestamps:
            _save(times_path(self.path), features.times_s.numpy())
        blocks = None if features.in_memory else (block for _, block in features.blocks())
        _save(self.path, features.values.numpy(), blocks)


class NpyTree(FeatureStore):
    """One .npy for each clip, in folders that mirror those of the clips.

    `sub/dog.wav` becomes `sub/dog.npy`; where `sub/dog.flac` is there too, both keep their ending (`sub/dog.wav.npy`).
    So does any other clip whose file would bear the name of another's.

    Args:
        folder: made if it does not exist.
        clips: all clips of the run, of every shard.
        settings: what the features depend on; recorded, and compared when a run is resumed.
        timestamps: write `NAME.times.npy` too.
        resume: keep what an earlier run with the same settings has written.

    Raises:
        OutputError: resuming with other settings; a clip's name that would lead out of the folder.
    """

    def __init__(self, folder: Path, clips: Clips, settings: dict[str, Any], timestamps: bool, resume: bool):
        if folder.is_file():
            raise OutputError(f"{folder}: expected a folder (or a name that ends in .h5), this is a file")
        self.folder = folder
        self.timestamps = timestamps
        self.resume = resume
        self._ambiguous = _ambiguous_stems(clips, timestamps)
        record = folder / SETTINGS_FILE
        different = _differences(record, settings) if record.exists() else ["no record"]
        if different:
            if resume and record.exists():
                _refuse_to_mix(record, different)
            with atomic_writer(record) as file:
                json.dump(settings, file, indent=2)
                file.write("\n")
        # What is older than the record was made with other settings, by a run that this one replaces.
        self._valid_since_ns = record.stat().st_mtime_ns

    def path(self, clip: Clip) -> Path:
        """Where the features of a clip go."""
        stem = _stem(clip.name)
        return self.folder / f"{clip.name if stem in self._ambiguous else stem}.npy"

    def done(self, clip: Clip) -> bool:
        path = self.path(clip)
        return self.resume and self._valid(path) and (not self.timestamps or self._valid(times_path(path)))

    def _valid(self, path: Path) -> bool:
        try:
            return path.stat().st_mtime_ns >= self._valid_since_ns
        except FileNotFoundError:
            return False

    def write(self, clip: Clip, features: ClipFeatures) -> None:
        NpyFile(self.path(clip), self.timestamps).write(clip, features)


def times_path(path: Path) -> Path:
    """`dog.npy` -> `dog.times.npy`."""
    return path.with_name(f"{path.name.removesuffix('.npy')}{_TIMES}.npy")
