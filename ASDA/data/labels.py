"""Label tables and the labels of a manifest's clips.

`label_descriptors.csv` has a row `index,mid,"display name"` for each class, in the order of the model's outputs.
`{split}.lbl` has a line `clip-id<TAB>label[,label...]` for each clip; a clip without any label has `clip-id<TAB>` and
nothing behind the tab. (An id without a tab is refused: it may be a line whose tab became a space.) Lines are matched
to manifest rows by clip id, never by their number, so a manifest whose rows were filtered or reordered still gets the
right labels.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ..audio.finding import AUDIO_SUFFIXES
from ..audio.spelling import same_name
from .manifest import Manifest, ManifestError, open_table


class LabelError(ManifestError):
    """A label file or table that cannot be used; the message names the file, the line and the label or clip."""


class LabelTable:
    """The classes of a data set, in the order of the model's outputs."""

    def __init__(self, mids: list[str], names: list[str], file: Path | None = None, lines: list[int] | None = None):
        """A table of classes.

        Args:
            mids: of the classes, in order.
            names: their display names; an empty one is the mid.
            file: where they come from, for messages.
            lines: the line of each class there; by default one class a line.

        Raises:
            LabelError: a mid or name that stands for two classes, so that a label could mean either.
        """
        names = [name or mid for mid, name in zip(mids, names, strict=True)]
        self.mids = mids
        self.names = names
        self.file = file
        lines = lines or list(range(1, len(mids) + 1))
        self._index_of_mid = self._unique(mids, {}, lines)
        self._index_of_name = self._unique(names, self._index_of_mid, lines)

    def _unique(self, words: list[str], others: dict[str, int], lines: list[int]) -> dict[str, int]:
        """Class of each word; ``others`` may not name another class by it."""
        index_of: dict[str, int] = {}
        for index, word in enumerate(words):
            first = others.get(word, index_of.get(word, index))
            if first != index or not word:
                fault = f"class {word!r} already stands in line {lines[first]}" if word else "the class has no name"
                raise LabelError(f"{self.file or 'label table'}:{lines[index]}: {fault}")
            index_of[word] = index
        return index_of

    @classmethod
    def read(cls, file: str | os.PathLike) -> LabelTable:
        """Reads `index,mid,"display name"` rows; a heading row (`index,mid,display_name`) is accepted.

        Raises:
            ManifestError: the file is not UTF-8.
            LabelError: missing file, a row of another form, an index out of order, a mid or name of two classes.
        """
        file = Path(file)
        if not file.is_file():
            raise LabelError(f"{file}: no such label table")
        mids: list[str] = []
        names: list[str] = []
        lines: list[int] = []
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
                mids.append(row[1].strip())
                names.append(row[2].strip())
                lines.append(line)
        if not mids:
            raise LabelError(f'{file}: the label table is empty; expected rows of `index,mid,"display name"`')
        return cls(mids, names, file, lines)

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

    @property
    def labels_per_clip(self) -> np.ndarray:
        """(n,) int64, how many classes each clip carries."""
        return np.diff(self.offsets)

    @property
    def max_labels_per_clip(self) -> int:
        """Above 1 the data can only be multi-label."""
        return int(self.labels_per_clip.max(initial=0))

    @property
    def num_unlabelled(self) -> int:
        """How many clips carry no class at all; above 0 the data can only be multi-label."""
        return int((self.labels_per_clip == 0).sum())

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def targets(self, index: int) -> list[int]:
        """Class numbers of one clip, in the order of the label file."""
        return self.classes[self.offsets[index] : self.offsets[index + 1]].tolist()

    @property
    def is_multi_label(self) -> bool:
        """Whether some clip has several labels, or none: then each class is a question of its own."""
        return self.max_labels_per_clip > 1 or self.num_unlabelled > 0

    def class_counts(self) -> np.ndarray:
        """(C,) int64, how many clips carry each class."""
        return np.bincount(self.classes, minlength=self.num_classes)


def read_clip_labels(file: str | os.PathLike, manifest: Manifest, table: LabelTable) -> ClipLabels:
    """Reads a `.lbl` file and matches its lines to the clips of a manifest by id.

    A line's id may be the clip's relative path or the end of it, such as its name, each with or without the audio
    ending; the id that says most of the path counts. Lines about clips that the manifest does not list are allowed: a
    manifest can be filtered without touching its label file. A line with nothing behind its tab is a clip of no class.

    Raises:
        LabelError: missing file, a line of another form, an unknown label, a clip without a line, an id that stands
            twice or fits several clips.
    """
    file = Path(file)
    line_of_row, fields = match_by_id(
        file,
        manifest,
        expected="clip-id<TAB>label[,label...]",
        no_tab="; a clip without any label is `clip-id<TAB>`, with a tab and nothing behind it",
    )
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
    if not text.strip():  # a clip of no class
        return []
    if text in table:  # display names may hold commas themselves
        return [table.index(text)]
    labels = [label.strip() for label in text.split(",")]
    return list(dict.fromkeys(table.index(label, where) for label in labels))


def match_by_id(file: Path, manifest: Manifest, expected: str, no_tab: str = "") -> tuple[np.ndarray, list[str]]:
    """Finds, for each clip of a manifest, its line in a file of `clip-id<TAB>field` lines.

    Args:
        expected: the form of a line, for messages.
        no_tab: what a message about a line without a tab ends with.

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
            raise LabelError(f"{file}:{number}: expected `{expected}`, got {line!r}{no_tab if not tab else ''}")
        ids.append(same_name(name))
        fields.append(field)
    return _match(file, manifest, ids), fields


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


def _match(file: Path, manifest: Manifest, ids: list[str]) -> np.ndarray:
    """(n,) the line of each row: the one whose id says most of the row's path. An id that two clips share is refused.

    Where names repeat (`yes/a.wav`, `no/a.wav`), lines and rows that happen to agree one by one prove nothing: a
    manifest that was filtered or sorted again may agree with the lines of other clips.
    """
    line_of_id: dict[str, int] = {}
    for index, name in enumerate(ids):
        if name in line_of_id:
            raise LabelError(
                f'id "{name}" stands twice in {file}, in lines {line_of_id[name] + 1} and {index + 1}, and does not '
                "say which clip each is about; use relative paths as ids"
            )
        line_of_id[name] = index
    max_folders = max((name.count("/") for name in ids), default=0)
    row_of_line = np.full(len(ids), -1, dtype=np.int64)
    result = np.empty(len(manifest), dtype=np.int64)
    for row in range(len(manifest)):
        path = same_name(manifest.relative_path(row))
        line = next((line_of_id[name] for name in _ids_of(path, max_folders) if name in line_of_id), None)
        if line is None:
            there = (
                f'; line {row + 1} there is about "{ids[row]}"' if row < len(ids) else f", which has {len(ids)} lines"
            )
            raise LabelError(f'clip "{path}" ({manifest.where(row)}) has no line in {file}{there}')
        if row_of_line[line] >= 0:
            _refuse_shared_id(file, manifest, ids[line], line, int(row_of_line[line]), row)
        row_of_line[line] = row
        result[row] = line
    return result


def _ids_of(path: str, max_folders: int) -> list[str]:
    """What may stand for a clip, most of its path first: ends at a folder border, with and without the audio ending.

    Args:
        max_folders: no id says more of them.
    """
    *folders, name = path.rsplit("/", max_folders + 1)
    if len(folders) > max_folders:  # the first is all that no id can say
        folders = folders[1:]
    stem, dot, suffix = name.rpartition(".")
    names = (name, stem) if stem and f".{suffix.lower()}" in AUDIO_SUFFIXES else (name,)
    starts = ["/".join(folders[first:]) + "/" for first in range(len(folders))] + [""]
    return [start + end for start in starts for end in names]


def _refuse_shared_id(file: Path, manifest: Manifest, name: str, line: int, first: int, second: int) -> None:
    path, other = manifest.relative_path(second), manifest.relative_path(first)
    if path == other:
        raise LabelError(
            f'clip "{path}" stands twice in {manifest.file} (lines {manifest.line(first)} and '
            f"{manifest.line(second)}); remove one"
        )
    raise LabelError(
        f'id "{name}" ({file.name}:{line + 1}) fits two clips: "{other}" ({manifest.where(first)}) and "{path}" '
        f"({manifest.where(second)}); use relative paths as ids"
    )
