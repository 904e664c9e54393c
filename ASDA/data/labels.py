"""Label tables and the labels of a manifest's clips.

`label_descriptors.csv` has a row `index,mid,"display name"` for each class, in the order of the model's outputs.
`{split}.lbl` has a line `clip-id<TAB>label[,label...]` for each clip. Lines are matched to manifest rows by clip id,
never by their number, so a manifest whose rows were filtered or reordered still gets the right labels.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ..audio.finding import AUDIO_SUFFIXES
from .manifest import Manifest, ManifestError, clip_id, open_table


class LabelError(ManifestError):
    """A label file or table that cannot be used; the message names the file, the line and the label or clip."""


class LabelTable:
    """The classes of a data set, in the order of the model's outputs."""

    def __init__(self, mids: list[str], names: list[str], file: Path | None = None):
        self.mids = mids
        self.names = names
        self.file = file
        self._index_of_mid = {mid: index for index, mid in enumerate(mids)}
        self._index_of_name = {name: index for index, name in enumerate(names)}

    @classmethod
    def read(cls, file: str | os.PathLike) -> LabelTable:
        """Reads `index,mid,"display name"` rows; a heading row (`index,mid,display_name`) is accepted.

        Raises:
            ManifestError: the file is not UTF-8.
            LabelError: missing file, a row of another form, an index out of order, a class named twice.
        """
        file = Path(file)
        if not file.is_file():
            raise LabelError(f"{file}: no such label table")
        mids: list[str] = []
        names: list[str] = []
        seen: dict[str, int] = {}
        with open_table(file) as handle:
            reader = csv.reader(handle, skipinitialspace=True)
            for row in reader:
                line = reader.line_num
                if not row or (not mids and row[0].strip().lower() == "index"):
                    continue
                if len(row) != 3:
                    raise LabelError(f'{file}:{line}: expected `index,mid,"display name"`, got {",".join(row)!r}')
                if row[0].strip() != str(len(mids)):
                    raise LabelError(f"{file}:{line}: expected index {len(mids)}, got {row[0]!r}; classes go in order")
                mid = row[1].strip()
                if mid in seen:
                    raise LabelError(f"{file}:{line}: class {mid!r} already stands in line {seen[mid]}")
                seen[mid] = line
                mids.append(mid)
                names.append(row[2].strip())
        if not mids:
            raise LabelError(f'{file}: the label table is empty; expected rows of `index,mid,"display name"`')
        return cls(mids, names, file)

    def __len__(self) -> int:
        return len(self.mids)

    def __contains__(self, label: str) -> bool:
        return label in self._index_of_mid or label in self._index_of_name

    def index(self, label: str, where: str = "") -> int:
        """Class number of a label, given by mid or by display name.

        Args:
            where: `file:line` that holds the label, for the message.

        Raises:
            LabelError: no such class.
        """
        index = self._index_of_mid.get(label)
        if index is None:
            index = self._index_of_name.get(label)
        if index is None:
            place = f" ({where})" if where else ""
            raise LabelError(
                f'label "{label}"{place} is not in {self.file or "the label table"}, which has {len(self)} classes; '
                "add it there or use the table that belongs to these labels"
            )
        return index


class ClipLabels:
    """Class numbers of each clip of a manifest, held in two arrays (compressed rows)."""

    def __init__(self, offsets: np.ndarray, classes: np.ndarray, num_classes: int):
        self.offsets = offsets
        self.classes = classes
        self.num_classes = num_classes

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def targets(self, index: int) -> list[int]:
        """Class numbers of one clip, in the order of the label file."""
        return self.classes[self.offsets[index] : self.offsets[index + 1]].tolist()

    def class_counts(self) -> np.ndarray:
        """(C,) int64, how many clips carry each class."""
        return np.bincount(self.classes, minlength=self.num_classes)


def read_clip_labels(file: str | os.PathLike, manifest: Manifest, table: LabelTable) -> ClipLabels:
    """Reads a `.lbl` file and matches its lines to the clips of a manifest by id.

    A line's id may be the clip's relative path or only its name, each with or without the audio ending. Lines about
    clips that the manifest does not list are allowed: a manifest can be filtered without touching its label file.

    Raises:
        LabelError: missing file, a line of another form, an unknown label, a clip without a line, an id that stands
            twice or fits several clips.
    """
    file = Path(file)
    line_of_row, fields = match_by_id(file, manifest, expected="clip-id<TAB>label[,label...]")
    offsets = np.zeros(len(manifest) + 1, dtype=np.int64)
    classes: list[int] = []
    known: dict[str, list[int]] = {}
    for row, line in enumerate(line_of_row):
        text = fields[line]
        if text not in known:
            known[text] = _parse_labels(text, table, f"{file.name}:{line + 1}")
        classes.extend(known[text])
        offsets[row + 1] = len(classes)
    return ClipLabels(offsets, np.asarray(classes, dtype=np.int32), len(table))


def _parse_labels(text: str, table: LabelTable, where: str) -> list[int]:
    if not text.strip():
        raise LabelError(f"{where}: the clip has no label; expected `clip-id<TAB>label[,label...]`")
    if text in table:  # display names may hold commas themselves
        return [table.index(text)]
    labels = [label.strip() for label in text.split(",")]
    return list(dict.fromkeys(table.index(label, where) for label in labels))


def match_by_id(file: Path, manifest: Manifest, expected: str) -> tuple[np.ndarray, list[str]]:
    """Finds, for each clip of a manifest, its line in a file of `clip-id<TAB>field` lines.

    Returns:
        (n,) int64 line positions, counted from 0, and the second column of every line.

    Raises:
        LabelError: see `read_clip_labels`.
    """
    if not file.is_file():
        raise LabelError(f"{file}: no such file")
    ids, fields = [], []
    for number, line in _lines(file):
        name, tab, field = line.partition("\t")
        if not tab or not name or "\t" in field:
            raise LabelError(f"{file}:{number}: expected `{expected}`, got {line!r}")
        ids.append(name)
        fields.append(field)
    if len(ids) >= len(manifest) and all(_names(manifest, row, ids[row]) for row in range(len(manifest))):
        _refuse_repeated_clips(file, manifest, ids)
        return np.arange(len(manifest)), fields
    return _match_in_any_order(file, manifest, ids), fields


def _lines(file: Path) -> Iterator[tuple[int, str]]:
    with file.open(encoding="utf-8-sig", errors="surrogateescape", newline="\n") as handle:
        blank = 0
        for number, line in enumerate(handle, start=1):
            line = line.rstrip("\r\n")
            if not line:
                blank = blank or number
                continue
            if blank:
                raise LabelError(f"{file}:{blank}: the line is empty")
            yield number, line


def _names(manifest: Manifest, row: int, name: str) -> bool:
    """Whether an id means this row: the end of its path, at a folder border, with or without the audio ending."""
    path = manifest.relative_path(row)
    if not path.endswith(name):
        stem, _, suffix = path.rpartition(".")
        if f".{suffix.lower()}" not in AUDIO_SUFFIXES or not stem.endswith(name):
            return False
        path = stem
    return len(path) == len(name) or path[-len(name) - 1] == "/"


def _refuse_repeated_clips(file: Path, manifest: Manifest, ids: list[str]) -> None:
    """Rows and lines agree one by one; equal ids are then only wrong when they mean the same clip."""
    first_of_id: dict[str, int] = {}
    for row in range(len(manifest)):
        first = first_of_id.setdefault(ids[row], row)
        if first != row and manifest.relative_path(first) == manifest.relative_path(row):
            raise LabelError(
                f'clip "{manifest.relative_path(row)}" stands twice in {manifest.file} (lines {manifest.line(first)} '
                f"and {manifest.line(row)}) and in {file} (lines {first + 1} and {row + 1}); remove one"
            )


def _match_in_any_order(file: Path, manifest: Manifest, ids: list[str]) -> np.ndarray:
    line_of_id: dict[str, int] = {}
    for line, name in enumerate(ids):
        if name in line_of_id:
            raise LabelError(f'id "{name}" stands twice in {file}, in lines {line_of_id[name] + 1} and {line + 1}')
        line_of_id[name] = line
    row_of_line: dict[int, int] = {}
    result = np.empty(len(manifest), dtype=np.int64)
    for row in range(len(manifest)):
        path = manifest.relative_path(row)
        folder, name, stem = path[: path.rfind("/") + 1], path.rsplit("/", 1)[-1], clip_id(path)
        found = next((line_of_id[i] for i in (path, folder + stem, name, stem) if i in line_of_id), None)
        if found is None:
            there = (
                f'; line {row + 1} there is about "{ids[row]}"' if row < len(ids) else f", which has {len(ids)} lines"
            )
            raise LabelError(f'clip "{path}" ({manifest.where(row)}) has no line in {file}{there}')
        if found in row_of_line:
            other = row_of_line[found]
            raise LabelError(
                f'id "{ids[found]}" ({file.name}:{found + 1}) fits two clips: "{manifest.relative_path(other)}" '
                f'({manifest.where(other)}) and "{path}" ({manifest.where(row)}); use relative paths as ids'
            )
        row_of_line[found] = row
        result[row] = found
    return result
