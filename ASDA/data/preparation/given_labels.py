"""Clips whose container says what they are: from numbers, names and lists to classes, splits or folds to a plan."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from ..labels import LabelTable
from ..manifest import ManifestError
from .finding import FoundClip
from .plan import Plan, PlannedClip, Problem, require_several, table_in_order, with_classes
from .splitting import cross_validation

USUAL_LABELS = ("labels", "label", "human_labels", "category", "class", "classes", "class_name", "target")
"""Names of columns and fields that hold labels, the first that is there counts."""

NO_LABEL = -1
"""What the hub's test sets have where the label is withheld."""


class Sample(NamedTuple):
    """A clip and what its container says about it; there may be millions.

    Attributes:
        split: by the name of the container.
        clip: how a manifest names it.
        file: the container.
        place: its row there, or the key of its members.
        label: as given; None if there is none.
        said_by: the column or member of the label.
        columns: what else is said of it.
    """

    split: str
    clip: FoundClip
    file: Path
    place: int | str
    label: Any = None
    said_by: str = ""
    columns: Mapping[str, str] | None = None

    @property
    def where(self) -> str:
        """For messages."""
        place = f"row {self.place}" if isinstance(self.place, int) else repr(self.place)
        return f"{self.file}, {place}" + (f", {self.said_by}" if self.said_by else "")


@dataclass(frozen=True)
class GivenLabels:
    """How labels are to be read.

    Attributes:
        source: the column, field or member; None: one of the usual names, if it is there.
        wanted: whether to read any.
        table: the classes and their order, which numbers count; None: the names that the file gives, else the labels.
        separator: between several labels in one text; None: a text is one label.
        left_out: labels of clips that do not belong to the task.
        folds: column that says the fold of each clip.
        usual_folds: the same, if it is there.
        usual: names to look for.
    """

    source: str | None = None
    wanted: bool = True
    table: LabelTable | None = None
    separator: str | None = None
    left_out: frozenset[str] = frozenset()
    folds: str | None = None
    usual_folds: str | None = None
    usual: Sequence[str] = USUAL_LABELS

    def usual_in(self, names: Iterable[str]) -> str | None:
        """The first of the usual names that is among others."""
        there = set(names)
        return next((name for name in self.usual if name in there), None)


@dataclass(frozen=True)
class Choice:
    """What of a data set's containers is meant: of Parquet files, or of tars of webdataset.

    Attributes:
        labels: how labels are read; their source is a column, the ending of a member, or `json:FIELD`.
        audio: the column or ending of the clips; None: the only one.
        splits: (split, pattern) of the files; none: by the words in their names.
        columns: others, or fields of the json members, that are wanted to group by.
    """

    labels: GivenLabels = GivenLabels()
    audio: str | None = None
    splits: tuple[tuple[str, str], ...] = ()
    columns: tuple[str, ...] = ()

    @property
    def beside_labels(self) -> tuple[str, ...]:
        """What else is read of each clip: to group by, and its fold."""
        return tuple(dict.fromkeys([*self.columns, *filter(None, [self.labels.folds])]))

    def with_usual_folds(self, names: Iterable[str]) -> Choice:
        """The same with the folds of a known data set, if they are among the columns or fields and none are named."""
        given = self.labels
        if given.folds is not None or given.usual_folds is None or given.usual_folds not in names:
            return self
        return replace(self, labels=replace(given, folds=given.usual_folds))


def as_text(value: Any) -> str:
    """What a column or field says, as groups and folds take it; nothing of null."""
    return "" if value is None else str(value)


def divide_samples(
    plan: Plan, samples: Sequence[Sample], given: GivenLabels, class_names: list[str] | None, said_by: str
) -> None:
    """Gives a plan its splits, or folds, and with labels its table; clips without a label become its problems.

    Args:
        class_names: what numbers stand for, by the file.
        said_by: what the labels are read from, for messages; empty for none.

    Raises:
        ManifestError: a label that is none, or outside its names; no label at all; a single class.
    """
    clips = {sample.clip.row: PlannedClip(sample.clip.row, (), sample.clip.name, sample.columns) for sample in samples}
    if said_by:
        labelled = _with_labels(plan, samples, given, class_names)
        if not labelled:
            raise ManifestError(f"{plan.root}: none of the {len(samples)} clips has a label in {said_by}")
        table = given.table or _table(labelled, samples, class_names)
        clips = {clip.row: clip for clip in with_classes(plan, labelled, table, "")}
        require_several(plan, list(clips.values()), "name other labels (--labels)", "give --no-labels")
        plan.labels_from = f"from {said_by}"
    parts: dict[str, list[PlannedClip]] = {sample.split: [] for sample in samples}
    for sample in samples:
        if sample.clip.row in clips:
            parts[sample.split].append(clips[sample.clip.row])
    for split in [split for split, members in parts.items() if not members]:
        plan.warnings.append(f"split {split!r} is left out: none of its clips has a label that is used")
        del parts[split]
    plan.splits = parts if given.folds is None else _folds(plan, parts, given.folds)


def class_labels(
    value: Any, where: str, class_names: Sequence[str] | None, separator: str | None
) -> tuple[str, ...] | None:
    """The labels that a value means: a number, a text or a list of them.

    Returns:
        Their names; None if there is no label.

    Raises:
        ManifestError: a value of another kind, or a number without a name.
    """
    if isinstance(value, (list, tuple)):
        names = [_one_label(entry, where, class_names) for entry in value]
        repeated = next((name for place, name in enumerate(names) if name in names[:place]), None)
        if repeated is not None and all(isinstance(entry, int) for entry in value):
            raise ManifestError(
                f"{where}: expected the numbers of a clip's classes, each once, but {repeated!r} stands there twice; a "
                "row of zeros and ones for all classes is not read"
            )
        return tuple(dict.fromkeys(name for name in names if name is not None))
    if isinstance(value, str) and separator is not None:
        return tuple(dict.fromkeys(part.strip() for part in value.split(separator) if part.strip()))
    name = _one_label(value, where, class_names)
    return None if name is None else (name,)


def _one_label(value: Any, where: str, class_names: Sequence[str] | None) -> str | None:
    if value is None or value == "":
        return None
    if isinstance(value, str):
        return value.strip() or None
    if not isinstance(value, int) or isinstance(value, bool):
        raise ManifestError(
            f"{where}: expected a label as a whole number, a text or a list of these, got {value!r}, a "
            f"{type(value).__name__}"
        )
    if class_names is None:
        return str(value)
    if value == NO_LABEL:
        return None
    if not 0 <= value < len(class_names):
        raise ManifestError(
            f"{where}: expected the number of one of the {len(class_names)} classes, 0 to {len(class_names) - 1}, got "
            f"{value}"
        )
    return class_names[value].strip()


def _with_labels(
    plan: Plan, samples: Sequence[Sample], given: GivenLabels, class_names: list[str] | None
) -> list[PlannedClip]:
    names = class_names or (given.table.names if given.table else None)
    clips, num_without = [], 0
    for sample in samples:
        labels = class_labels(sample.label, sample.where, names, given.separator)
        if labels is None:
            plan.problems.append(Problem("unlabelled", sample.clip.row, f"{sample.where}: no label; left out"))
            num_without += 1
        elif given.left_out.intersection(labels):
            plan.problems.append(Problem("other", sample.clip.row, f"{sample.where}: {labels[0]!r} is not of the task"))
        else:
            clips.append(PlannedClip(sample.clip.row, labels, sample.clip.name, sample.columns))
    if num_without:
        plan.warnings.append(f"{num_without} of {len(samples)} clips have no label and are left out")
    no_class = sum(not clip.labels for clip in clips)
    if no_class:
        plan.warnings.append(
            f"{no_class} of {len(samples)} clips are of no class, which only multi-label training takes"
        )
    return clips


def _table(clips: list[PlannedClip], samples: Sequence[Sample], class_names: list[str] | None) -> LabelTable | None:
    """The classes in the order that the file gives them, or of their numbers; None: sorted by name."""
    if class_names is not None:
        return table_in_order([name.strip() for name in class_names])[0]
    if all(isinstance(entry, int) for sample in samples for entry in _entries(sample.label)):
        return table_in_order(sorted({label for clip in clips for label in clip.labels}, key=int))[0]
    return None


def _entries(label: Any) -> Sequence[Any]:
    return label if isinstance(label, (list, tuple)) else () if label is None else (label,)


def _folds(plan: Plan, parts: dict[str, list[PlannedClip]], column: str) -> dict[str, list[PlannedClip]]:
    """`fold1/train`, `fold1/eval`, ... by what a column says.

    Raises:
        ManifestError: fewer than two folds, or a clip of none.
    """
    folds: dict[str, list[PlannedClip]] = {}
    for clip in (clip for clips in parts.values() for clip in clips):
        fold = (clip.columns or {}).get(column, "").strip()
        if not fold or "/" in fold:
            raise ManifestError(f"{clip.row}: expected the name of its fold in {column!r}, got {fold!r}")
        folds.setdefault(fold, []).append(clip)
    if len(folds) < 2:
        raise ManifestError(f"{plan.root}: expected several folds in {column!r}, all clips are of {', '.join(folds)}")
    in_order = sorted(folds, key=lambda fold: (int(fold) if fold.isdecimal() else -1, fold))
    return cross_validation({fold: folds[fold] for fold in in_order})
