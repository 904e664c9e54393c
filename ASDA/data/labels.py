"""Label tables and the labels of a manifest's clips.

`label_descriptors.csv` has a row `index,mid,"display name"` for each class, in the order of the model's outputs.
`{split}.lbl` has a line `clip-id<TAB>label[,label...]` for each clip; a clip without any label has `clip-id<TAB>` and
nothing behind the tab. (An id without a tab is refused: it may be a line whose tab became a space.) Lines are matched
to manifest rows by clip id, never by their number, so a manifest whose rows were filtered or reordered still gets the
right labels.

Labels may be partial: not every clip was judged for every class. Each line then has a third column,
`clip-id<TAB>present[,present...]<TAB>absent[,absent...]`, with the classes that the clip was judged not to have. A
class in neither column was never judged for this clip: its target is NaN, and it enters neither loss nor metric.
"""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np

from .clip_ids import LabelError, match_by_id
from .manifest import Manifest, open_table

__all__ = ["ClipLabels", "LabelError", "LabelTable", "read_clip_labels"]


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
    """Class numbers of each clip of a manifest, held in two arrays (compressed rows).

    Args:
        offsets: (n + 1,), where each clip's classes begin.
        classes: class numbers of all clips, one clip behind the other.
        num_classes: C.
        absent: of partial labels, the classes that each clip was judged not to have; None: all that it does not carry.
    """

    def __init__(self, offsets: np.ndarray, classes: np.ndarray, num_classes: int, absent: ClipLabels | None = None):
        self.offsets = offsets
        self.classes = classes
        self.num_classes = num_classes
        self.absent = absent

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

    def multi_hot(self, index: int) -> np.ndarray:
        """Targets of one clip: (C,) float32, 1 for a class that it has, 0 if it has not, NaN if that was not judged."""
        target = np.zeros(self.num_classes, dtype=np.float32)
        if self.absent is not None:
            target[:] = np.nan
            target[self.absent.targets(index)] = 0.0
        target[self.targets(index)] = 1.0
        return target

    def multi_hots(self) -> np.ndarray:
        """Targets of all clips, (n, C) float32."""
        found = np.empty((len(self), self.num_classes), dtype=np.float32)
        for index in range(len(self)):
            found[index] = self.multi_hot(index)
        return found

    @property
    def is_multi_label(self) -> bool:
        """Whether each class is a question of its own: some clip has several labels or none, or labels are partial."""
        return self.max_labels_per_clip > 1 or self.num_unlabelled > 0 or self.absent is not None

    @property
    def judged_share(self) -> float:
        """Share of the pairs of a clip and a class that were judged; 1 unless labels are partial."""
        if self.absent is None:
            return 1.0
        return (len(self.classes) + len(self.absent.classes)) / (len(self) * self.num_classes)

    def class_counts(self) -> np.ndarray:
        """(C,) int64, how many clips carry each class."""
        return np.bincount(self.classes, minlength=self.num_classes)


def read_clip_labels(file: str | os.PathLike, manifest: Manifest, table: LabelTable) -> ClipLabels:
    """Reads a `.lbl` file and matches its lines to the clips of a manifest by id.

    A line's id may be the clip's relative path or the end of it, such as its name, each with or without the audio
    ending; the id that says most of the path counts. Lines about clips that the manifest does not list are allowed: a
    manifest can be filtered without touching its label file. A line with nothing behind its tab is a clip of no class;
    a third column makes labels partial, see above.

    Raises:
        LabelError: missing file, a line of another form, an unknown label, a clip without a line, an id that stands
            twice or fits several clips, a class that a clip has and has not.
    """
    file = Path(file)
    line_of_row, fields = match_by_id(
        file,
        manifest,
        expected="clip-id<TAB>label[,label...]",
        no_tab="; a clip without any label is `clip-id<TAB>`, with a tab and nothing behind it",
        max_fields=2,
    )
    partial = _is_partial(file, fields)
    present, absent = _Rows(len(manifest)), _Rows(len(manifest))
    known: dict[str, tuple[list[int], list[int]]] = {}
    for row, line in enumerate(line_of_row):
        text = fields[line]
        if text not in known:
            known[text] = _parse_line(text, table, f"{file.name}:{line + 1}")
        present.add(row, known[text][0])
        absent.add(row, known[text][1])
    return present.labels(len(table), absent.labels(len(table)) if partial else None)


class _Rows:
    """Collects the class numbers of clip after clip."""

    def __init__(self, num_clips: int):
        self._offsets = np.zeros(num_clips + 1, dtype=np.int64)
        self._classes: list[int] = []

    def add(self, row: int, classes: list[int]) -> None:
        self._classes.extend(classes)
        self._offsets[row + 1] = len(self._classes)

    def labels(self, num_classes: int, absent: ClipLabels | None = None) -> ClipLabels:
        return ClipLabels(self._offsets, np.asarray(self._classes, dtype=np.int32), num_classes, absent)


def _is_partial(file: Path, fields: list[str]) -> bool:
    """Whether the lines have a third column.

    Raises:
        LabelError: some have: what a line without it means could not be told.
    """
    has_third = ["\t" in text for text in fields]
    if any(has_third) and not all(has_third):
        line = has_third.index(not has_third[0]) + 1
        counts = ("two columns", "three")[:: -1 if has_third[0] else 1]
        raise LabelError(
            f"{file}:{line}: {counts[1]} instead of {counts[0]} as in the lines before; partial labels say in each "
            "line which classes are absent, if need be none: `clip-id<TAB>present<TAB>`"
        )
    return any(has_third)


def _parse_line(text: str, table: LabelTable, where: str) -> tuple[list[int], list[int]]:
    """Classes that are present and absent, by what stands behind the id.

    Raises:
        LabelError: an unknown label, or one that is both.
    """
    present, absent = (_parse_labels(column, table, where) for column in (text.split("\t") + [""])[:2])
    for index in absent:
        if index in present:
            raise LabelError(f'{where}: "{table.names[index]}" is said to be present and to be absent; leave one')
    return present, absent


def _parse_labels(text: str, table: LabelTable, where: str) -> list[int]:
    if not text.strip():  # a clip of no class
        return []
    if text in table:  # display names may hold commas themselves
        return [table.index(text)]
    labels = [label.strip() for label in text.split(",")]
    return list(dict.fromkeys(table.index(label, where) for label in labels))
