"""Which clips a program is to work on: files, folders, manifests, lists from another program."""

from __future__ import annotations

import logging
import os
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import TextIO

from ..audio.finding import PassedOver, audio_file_names
from ..data.containers import CONTAINER_SUFFIXES
from ..data.manifest import Manifest
from ..data.parquet_layout import PARQUET_SUFFIX, ParquetError, ParquetLayout

logger = logging.getLogger(__name__)


class InputError(ValueError):
    """Something that was named as input is not there or holds no audio."""


@dataclass(frozen=True)
class Clip:
    """One clip.

    Attributes:
        path: what to read; may lie in a container (see ASDA/data/containers.py).
        name: relative to the folder or manifest it was found in; outputs are named after it.
    """

    path: str
    name: str


class ClipList(ABC):
    """Clips by their number; each is made when it is asked for."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, index: int) -> Clip: ...

    def __iter__(self) -> Iterator[Clip]:
        return (self[index] for index in range(len(self)))


class _Folder(ClipList):
    """The audio files of a folder; holds only their names, as there may be millions."""

    def __init__(self, root: str, names: list[str]):
        self.root, self.names = root, names

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Clip:
        return Clip(os.path.join(self.root, self.names[index]), self.names[index])


class _Listed(ClipList):
    """Files given one by one, named after their path below the folder they have in common."""

    def __init__(self, paths: list[str]):
        self.paths = paths
        if paths:
            # All others lie between the first and the last in alphabetical order, so these two decide.
            ends = [os.path.dirname(os.path.abspath(end(paths, key=os.path.abspath))) for end in (min, max)]
            self._start = len(os.path.join(os.path.commonpath(ends), ""))

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Clip:
        path = self.paths[index]
        return Clip(path, os.path.abspath(path)[self._start :])


class _Rows(ClipList):
    """The clips of a manifest."""

    def __init__(self, manifest: Manifest):
        self.manifest = manifest

    def __len__(self) -> int:
        return len(self.manifest)

    def __getitem__(self, index: int) -> Clip:
        return Clip(self.manifest.path(index), self.manifest.relative_path(index).lstrip("/"))


class Clips(ClipList):
    """All clips of a run, in the order given; made by `find_clips`."""

    def __init__(self, parts: list[ClipList]):
        self._parts = parts
        self._ends = list(accumulate(len(part) for part in parts))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, index: int) -> Clip:
        if not 0 <= index < len(self):
            raise IndexError(f"clip {index} of {len(self)}")
        part = bisect_right(self._ends, index)
        return self._parts[part][index - (self._ends[part - 1] if part else 0)]


def find_clips(inputs: Iterable[str], pattern: str = "**/*", stdin: TextIO | None = None) -> Clips:
    """Lists the clips that the given inputs stand for.

    Args:
        inputs: audio files, folders (searched for `pattern`), manifests (`.tsv`), Parquet files with a column of audio,
            or `-`: one path per line of `stdin`. A file that is not there stays in the list: it is reported like any
            other unreadable clip.
        pattern: glob, relative to a folder.
        stdin: what `-` reads.

    What a folder holds beside and cannot be read here is logged: recordings in other formats, containers, folders that
    cannot be entered.

    Raises:
        InputError: a folder without audio files, `-` without a line, a Parquet file without clips.
        ManifestError: a manifest that cannot be read.
    """
    parts: list[ClipList] = []
    single: list[str] = []

    def flush() -> None:
        parts.append(_Listed(list(single)))
        single.clear()

    for entry in inputs:
        path = Path(entry)
        if entry == "-":
            flush()
            parts.append(_Listed([named for line in stdin or () if (named := line.rstrip("\r\n"))]))
            if not parts[-1]:
                raise InputError("-: expected one path per line on the standard input, got none")
        elif path.is_dir():
            flush()
            passed_over = PassedOver(CONTAINER_SUFFIXES)
            names = audio_file_names(path, pattern, passed_over)
            remarks = list(passed_over.messages(path))
            if not names:
                raise InputError("; ".join([f'{entry}: no audio files match "{pattern}" in this folder', *remarks]))
            for remark in remarks:
                logger.warning("%s", remark)
            parts.append(_Folder(str(path), names))
        elif path.suffix == ".tsv":
            flush()
            parts.append(_Rows(Manifest.read(path)))
        elif path.suffix == PARQUET_SUFFIX and path.is_file():
            single += _rows_of(entry)
        else:
            single.append(entry)
    flush()
    return Clips(parts)


def _rows_of(file: str) -> list[str]:
    """The clips of a Parquet file, by what `ClipReader` calls them."""
    try:
        column = ParquetLayout.open(file).audio_column()
    except ParquetError as error:
        raise InputError(f"{file}: {error}; asda-manifest parquet makes a manifest of what it is told") from error
    if not column.num_rows:
        raise InputError(f"{file}: column {column.name!r} has no rows")
    return [f"{file}/{column.name}[{row}]" for row in range(column.num_rows)]
