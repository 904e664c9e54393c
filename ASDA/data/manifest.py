"""Manifests: which clips a split holds.

A manifest is a text file, `{split}.tsv`: the first line is the root folder, every other line is
`relative/path<TAB>number of samples`. It may list tens of millions of clips, so the file is mapped into memory and
indexed with two numpy arrays (`BYTES_PER_ROW` bytes for each row); no Python object exists per row, and forked
data-loader workers share all of it. A manifest that a run uses must not be cut short in place: write a new file and
rename it, as `write_manifest` and most editors do.
"""

from __future__ import annotations

import csv
import mmap
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, TextIO

import numpy as np

from ..atomic import atomic_writer
from ..audio.finding import AUDIO_SUFFIXES

BYTES_PER_ROW = 16
"""Private memory for each row: its place in the file and its number of samples, both int64."""

_BLOCK_BYTES = 1 << 25
_MAX_DIGITS = 15
_BOM = b"\xef\xbb\xbf"
_TAB, _NEWLINE, _RETURN, _ZERO = 9, 10, 13, 48


class ManifestError(ValueError):
    """A manifest, label or weights file that cannot be used; the message names the file and the line."""


@contextmanager
def open_table(file: Path) -> Iterator[TextIO]:
    """Opens a csv file, with or without a byte order mark, for the csv module.

    Raises:
        ManifestError: what is read inside the block is not UTF-8, or no csv.
    """
    with file.open(encoding="utf-8-sig", newline="") as handle:
        try:
            yield handle
        except UnicodeDecodeError as error:
            raise ManifestError(f"{file}: not UTF-8 text ({error})") from error
        except csv.Error as error:  # a field without end, as an open quotation mark makes one
            raise ManifestError(f"{file}: not a csv file ({error})") from error


def clip_id(relative_path: str) -> str:
    """The name under which label files know a clip: its file name (or key in a container) without the audio ending.

    A `file.zip:offset:length` row has no name of its own, so that whole text is its id.
    """
    name = relative_path.rsplit("/", 1)[-1]
    stem, dot, suffix = name.rpartition(".")
    return stem if dot and f".{suffix.lower()}" in AUDIO_SUFFIXES else name


class Part(NamedTuple):
    """What one file contributes to a list of clips: its manifest, and the rows of the list that are its."""

    manifest: Manifest
    rows: range


class Manifest:
    """The rows of one `{split}.tsv`, in file order.

    Made by `Manifest.read`. Pickling (data-loader workers that are spawned instead of forked) re-opens the file.
    """

    def __init__(self, file: Path, root: str, data: mmap.mmap, starts: np.ndarray, num_samples: np.ndarray):
        self.file = file
        self.root = root
        self._data = data
        self._starts = starts
        self._num_samples = num_samples

    @classmethod
    def read(cls, file: str | os.PathLike) -> Manifest:
        """Maps and indexes a manifest, and checks the form of every row.

        A relative root is taken relative to the manifest's own folder. Windows line ends and a byte order mark are
        accepted.

        Raises:
            ManifestError: missing or empty file, wrong first line, no row, or a row that is not
                `path<TAB>number of samples`; with file and line.
        """
        file = Path(file)
        if not file.is_file():
            raise ManifestError(f"{file}: no such manifest")
        if file.stat().st_size == 0:
            raise ManifestError(f"{file}: the manifest is empty; its first line must be the root folder")
        with file.open("rb") as handle:
            data = mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ)
        root, first_row = _read_root(file, data)
        starts, num_samples = _index_rows(file, data, first_row)
        return cls(file, root, data, starts, num_samples)

    def __reduce__(self):
        return Manifest.read, (self.file,)

    def __len__(self) -> int:
        return len(self._starts)

    @property
    def parts(self) -> tuple[Part, ...]:
        """The files that the rows come from: this one alone, or those of a `JoinedManifest`."""
        return (Part(self, range(len(self))),)

    def parts_of(self, indices: np.ndarray) -> np.ndarray:
        """For each row the number of its part, from 0; int64 of the same shape."""
        return np.zeros_like(indices, dtype=np.int64)

    def line(self, index: int) -> int:
        """Line number of a row in the file, counted from 1."""
        return self._checked(index) + 2

    def where(self, index: int) -> str:
        """`train.tsv:17`, for messages."""
        return f"{self.file.name}:{self.line(index)}"

    def relative_path(self, index: int) -> str:
        """Path of a clip as it stands in the row."""
        start = int(self._starts[self._checked(index)])
        return os.fsdecode(self._data[start : self._data.find(b"\t", start)])

    def path(self, index: int) -> str:
        """Absolute path of a clip; an absolute path in the row stays as it is."""
        return os.path.join(self.root, self.relative_path(index))

    def clip_id(self, index: int) -> str:
        """The clip's id in label files, see `clip_id`."""
        return clip_id(self.relative_path(index))

    def num_samples(self, index: int) -> int:
        """Number of samples of a clip at the file's own rate, as the row states it."""
        return int(self._num_samples[self._checked(index)])

    @property
    def all_num_samples(self) -> np.ndarray:
        """(n,) int64, the second column."""
        return self._num_samples

    def _checked(self, index: int) -> int:
        index = int(index)
        if not 0 <= index < len(self._starts):
            raise IndexError(f"row {index} of {self.file}, which has {len(self._starts)} rows")
        return index


def write_manifest(file: str | os.PathLike, root: str | os.PathLike, rows: Iterable[tuple[str, int]]) -> int:
    """Writes a manifest; it appears under its name only when it is complete.

    Args:
        rows: (path relative to root, number of samples).

    Returns:
        The number of rows written.

    Raises:
        ManifestError: a path holds a tab or a line break, which the format cannot express, or nothing.
    """
    check_writable(os.fspath(root))
    count = 0
    with atomic_writer(file) as handle:
        handle.write(f"{root}\n")
        for path, num_samples in rows:
            check_writable(path)
            if not 0 <= num_samples < 10**_MAX_DIGITS:
                raise ManifestError(f"{path!r}: {num_samples} samples cannot be the length of a clip")
            handle.write(f"{path}\t{num_samples}\n")
            count += 1
    return count


def check_writable(path: str) -> None:
    """Refuses names that a manifest cannot hold (spaces are fine).

    Raises:
        ManifestError: the path holds a tab or a line break, or nothing.
    """
    if not path.strip():
        raise ManifestError(f"{path!r}: no name; a manifest cannot hold it")
    for character, name in (("\t", "a tab"), ("\n", "a line break"), ("\r", "a carriage return")):
        if character in path:
            raise ManifestError(f"{path!r}: the name holds {name}, which separates columns in a manifest; rename it")


def _read_root(file: Path, data: mmap.mmap) -> tuple[str, int]:
    start = len(_BOM) if data[: len(_BOM)] == _BOM else 0
    end = data.find(b"\n", start)
    end = len(data) if end < 0 else end
    line = os.fsdecode(data[start:end]).rstrip("\r")
    if "\t" in line or not line.strip():
        raise ManifestError(
            f"{file}:1: the first line must be the root folder of the clips, but it is {line!r}; "
            "write the folder there (`/` when the rows hold absolute paths)"
        )
    root = os.path.normpath(os.path.join(file.resolve().parent, line))
    if not os.path.exists(root):
        raise ManifestError(f"{file}:1: the root folder {root} does not exist; correct the first line of the manifest")
    return root, end + 1


def _index_rows(file: Path, data: mmap.mmap, first_row: int) -> tuple[np.ndarray, np.ndarray]:
    """Start of each row in the file and its number of samples, block by block to bound the working memory."""
    end = len(data)
    while end > first_row and data[end - 1] in b"\r\n":  # blank lines at the end mean nothing
        end -= 1
    if end <= first_row:
        raise ManifestError(f"{file}: the manifest lists no clip; expected rows of `path<TAB>number of samples`")
    all_bytes = np.frombuffer(data, dtype=np.uint8)
    starts, num_samples, line = [], [], 2
    position = first_row
    while position < end:
        newline = data.find(b"\n", min(position + _BLOCK_BYTES, end), end)
        stop = end if newline < 0 else newline
        block_starts, block_num_samples = _parse_block(file, all_bytes[position:stop], line)
        starts.append(block_starts + position)
        num_samples.append(block_num_samples)
        line += len(block_starts)
        position = stop + 1
    return np.concatenate(starts), np.concatenate(num_samples)


def _parse_block(file: Path, block: np.ndarray, first_line: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of a block that starts and ends at row borders (its last newline excluded)."""
    ends = np.append(np.flatnonzero(block == _NEWLINE), len(block))
    starts = np.append(0, ends[:-1] + 1)
    ends = ends - ((ends > starts) & (block[ends - 1] == _RETURN))
    tabs = np.flatnonzero(block == _TAB)
    if len(tabs) != len(starts) or np.any(tabs < starts) or np.any(tabs >= ends):
        per_row = np.searchsorted(tabs, ends) - np.searchsorted(tabs, starts)
        _raise_row(file, block, starts, ends, int(np.argmax(per_row != 1)), first_line)
    num_digits = ends - tabs - 1
    wrong = (num_digits < 1) | (num_digits > _MAX_DIGITS) | (tabs == starts)
    values = np.zeros(len(starts), dtype=np.int64)
    for place in range(int(min(num_digits.max(), _MAX_DIGITS))):
        inside = num_digits > place
        digits = block[np.where(inside, tabs + 1 + place, 0)].astype(np.int64) - _ZERO
        wrong |= inside & ((digits < 0) | (digits > 9))
        values = np.where(inside, values * 10 + digits, values)
    if wrong.any():
        _raise_row(file, block, starts, ends, int(np.argmax(wrong)), first_line)
    return starts, values


def _raise_row(file: Path, block: np.ndarray, starts: np.ndarray, ends: np.ndarray, row: int, first_line: int):
    text = os.fsdecode(block[starts[row] : ends[row]].tobytes())
    raise ManifestError(f"{file}:{first_line + row}: expected `path<TAB>number of samples`, got {text!r}")
