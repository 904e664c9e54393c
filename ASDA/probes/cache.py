"""Features of clips in a folder, found again by what they were computed from: the sound, the network, the settings.

Below the folder there is one for each network with its settings (`settings.json` says which), and in it parts: `X.npy`
with the rows of many clips, (rows, L, D) float32, and `X.json` with the clips' checksums, numbers of rows and of
frames. A part is there once its json is. Parts are mapped, so that features need not fit in memory.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from ..atomic import atomic_binary, atomic_writer
from ..audio.spelling import existing_spelling
from ..data.containers import split_container

PART_BYTES = 64 * 2**20


class ClipChecksums:
    """Checksums of clips' bytes; what lies in a container has the container's, with its place there."""

    def __init__(self) -> None:
        self._of_file: dict[str, str] = {}

    def of(self, path: str) -> str:
        """Of a clip; of one that cannot be read a checksum that belongs to its path."""
        file, _, key = split_container(path)
        try:
            if file not in self._of_file:
                self._of_file[file] = _file_checksum(file)
        except OSError:
            return _text_checksum(f"unreadable {path}")
        return _text_checksum(f"{self._of_file[file]} {key}") if key else self._of_file[file]


def _file_checksum(file: str) -> str:
    digest = hashlib.blake2b(digest_size=16)
    with open(existing_spelling(file), "rb") as handle:
        while block := handle.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _text_checksum(text: str) -> str:
    return hashlib.blake2b(os.fsencode(text), digest_size=16).hexdigest()


class FeatureCache:
    """The features of one network with one set of settings.

    Args:
        folder: of all networks.
        settings: everything that features depend on beside the clip; goes to json.

    Attributes:
        num_frames: of each clip's sound, whole.

    Raises:
        ValueError: a part is damaged.
    """

    def __init__(self, folder: Path, settings: dict[str, Any]):
        text = json.dumps(settings, sort_keys=True, indent=2, default=str)
        self.folder = folder / _text_checksum(text)
        self.folder.mkdir(parents=True, exist_ok=True)
        if not (self.folder / "settings.json").exists():
            with atomic_writer(self.folder / "settings.json") as handle:
                handle.write(text + "\n")
        self._rows: dict[str, np.ndarray] = {}
        self._waiting: dict[str, np.ndarray] = {}
        self.num_frames: dict[str, int] = {}
        for index in sorted(self.folder.glob("part-*.json")):
            self._open(index)

    def __contains__(self, checksum: str) -> bool:
        return checksum in self._rows or checksum in self._waiting

    def __getitem__(self, checksum: str) -> np.ndarray:
        """(rows, L, D) of a clip."""
        return self._rows[checksum] if checksum in self._rows else self._waiting[checksum]

    def put(self, checksum: str, rows: np.ndarray, num_frames: int) -> None:
        """Takes a clip's features, (rows, L, D), and its length; :meth:`flush` writes the last."""
        self._waiting[checksum] = rows
        self.num_frames[checksum] = num_frames
        if sum(waiting.nbytes for waiting in self._waiting.values()) >= PART_BYTES:
            self.flush()

    def flush(self) -> None:
        """Writes what waits."""
        if not self._waiting:
            return
        index = self.folder / f"part-{_text_checksum(' '.join(self._waiting))}.json"
        with atomic_binary(index.with_suffix(".npy")) as file:
            np.save(file, np.concatenate(list(self._waiting.values())))
        with atomic_writer(index) as handle:
            json.dump({key: [len(rows), self.num_frames[key]] for key, rows in self._waiting.items()}, handle)
        self._waiting.clear()
        self._open(index)

    def _open(self, index: Path) -> None:
        values = index.with_suffix(".npy")
        try:
            lengths: dict[str, list[int]] = json.loads(index.read_text(encoding="utf-8"))
            rows = np.load(values, mmap_mode="r")
            ends = np.cumsum([count for count, _ in lengths.values()])
            if len(rows) != ends[-1]:
                raise ValueError(f"{len(rows)} rows, expected {ends[-1]}")
        except (ValueError, OSError, EOFError, TypeError, AttributeError, IndexError, RecursionError) as error:
            raise ValueError(f"{values}: damaged ({error}); remove it and {index.name}") from error
        self._rows.update(zip(lengths, np.split(rows, ends[:-1]), strict=True))
        self.num_frames.update({checksum: num_frames for checksum, (_, num_frames) in lengths.items()})


def missing(cache: FeatureCache, checksums: Iterable[str]) -> list[int]:
    """Places of the clips that are to be computed; of several with the same sound the first."""
    first: dict[str, int] = {}
    for place, checksum in enumerate(checksums):
        if checksum not in cache:
            first.setdefault(checksum, place)
    return list(first.values())
