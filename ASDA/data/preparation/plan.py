"""What a data set's layout says about its clips, before any of them is opened."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..labels import LabelTable
from ..manifest import ManifestError
from .lengths import LengthDistribution


@dataclass(frozen=True)
class Problem:
    """Something the user should know about one clip."""

    kind: str
    clip: str
    detail: str


@dataclass(frozen=True)
class PlannedClip:
    """A clip as its manifest row will name it.

    Args:
        row: path relative to the root, or absolute, in the manifest's forms for containers.
        labels: mids of its classes; one that is given twice counts once.
        absent: of partial labels, the mids of the classes that it was judged not to have; None: all others.
        name: its path as a reader of the folder would say it, where the row says it otherwise (members of a zip).
        columns: the row of the table that lists the clip, by column; None if there is none.
        group: what must not be divided, such as its speaker; None: the clip goes by itself.
    """

    row: str
    labels: tuple[str, ...] = ()
    name: str = ""
    columns: Mapping[str, str] | None = field(default=None, compare=False, repr=False)
    group: str | None = None
    absent: tuple[str, ...] | None = None

    def __post_init__(self):
        object.__setattr__(self, "labels", tuple(dict.fromkeys(self.labels)))
        object.__setattr__(self, "name", self.name or self.row)


@dataclass
class Plan:
    """The manifests to write.

    Args:
        root: first line of every manifest.
        splits: clips of each split. A name such as `fold1/train` puts the split into a folder of its own.
        table: the classes, written beside the splits; None for clips without labels.
        problems: found so far; reading the clips adds to them.
        weighted_splits: splits that get a file of class-balancing clip weights, `weight_{split}_all.csv`.
        short_below_s: clips shorter than this are reported (and kept).
        labels_from: where the labels come from, if that was a choice.
        warnings: what may not be meant, about the plan as a whole.
        lengths: of the clips that can be read; reading their headers fills it.
        title: the data set's name in a sentence, if it has one.
        published: how many clips the data set is published with, of the splits for which that is known.
    """

    root: Path
    splits: dict[str, list[PlannedClip]]
    table: LabelTable | None = None
    problems: list[Problem] = field(default_factory=list)
    weighted_splits: tuple[str, ...] = ()
    short_below_s: float = 0.1
    labels_from: str = ""
    warnings: list[str] = field(default_factory=list)
    lengths: LengthDistribution = field(default_factory=LengthDistribution)
    title: str = ""
    published: Mapping[str, int] = field(default_factory=dict)

    def clips_of_classes(self) -> dict[str, int]:
        """How many clips each class has, by its name, in the order of the table; each clip counts once."""
        if self.table is None:
            return {}
        counts = [0] * len(self.table)
        for clip in {clip.row: clip for clips in self.splits.values() for clip in clips}.values():
            for label in clip.labels:
                counts[self.table.index(label)] += 1
        return dict(zip(self.table.names, counts, strict=True))


def table_of(labels: Iterable[str]) -> tuple[LabelTable, dict[str, str]]:
    """Makes a label table of names in sorted order; names that differ in the space around them are one class.

    Returns:
        The table, and the mid of each label: the name itself where label files and tables can hold it.

    Raises:
        ManifestError: two labels that differ in nothing but the spaces around them.
    """
    label_of: dict[str, str] = {}
    for label in sorted(set(labels)):
        name = label.encode("utf-8", "backslashreplace").decode().strip()
        if label_of.setdefault(name, label) != label:
            raise ManifestError(f"the classes {label_of[name]!r} and {label!r} would have one name; rename one")
    table, mid_of = table_in_order(sorted(label_of))
    return table, {label: mid_of[name] for name, label in label_of.items()}


def table_in_order(names: Sequence[str]) -> tuple[LabelTable, dict[str, str]]:
    """Makes a label table of names in the order given, and the mid of each, see `table_of`."""
    prefix = "class_"
    while any(name.startswith(prefix) for name in names):
        prefix = f"_{prefix}"
    holds = [bool(name) and not any(c in name for c in ',\t\n\r"') for name in names]
    mids = [name if fits else f"{prefix}{i}" for i, (name, fits) in enumerate(zip(names, holds, strict=True))]
    return LabelTable(mids, list(names)), dict(zip(names, mids, strict=True))


def with_classes(plan: Plan, clips: list[PlannedClip], table: LabelTable | None, if_none: str) -> list[PlannedClip]:
    """The clips with the mids of their labels; the plan gets the table that they belong to.

    Args:
        table: the classes and their order; None: the labels themselves, sorted.
        if_none: what to say if there are no clips.

    Raises:
        ManifestError: no clips, or a label that the table does not have.
    """
    if not clips:
        raise ManifestError(if_none)
    if table is None:
        plan.table, mid_of = table_of(label for clip in clips for label in clip.labels)
    else:
        names = {label: clip.name for clip in clips for label in clip.labels}
        plan.table, mid_of = table, {label: table.mids[table.index(label, name)] for label, name in names.items()}
    return [replace(clip, labels=tuple(mid_of[label] for label in clip.labels)) for clip in clips]


def require_several(
    plan: Plan, clips: list[PlannedClip], remedy: str, without_labels: str = "leave --labels out"
) -> None:
    """Refuses a single class, unless there are clips without a label to tell it from.

    Args:
        remedy: what to do about it.
        without_labels: what to do to have no labels at all.

    Raises:
        ManifestError: it is all there is.
    """
    if plan.table is not None and len(plan.table) == 1 and all(clip.labels for clip in clips):
        raise ManifestError(
            f"{plan.root}: all {len(clips)} clips are of one class, {plan.table.names[0]!r}, which leaves nothing to "
            f"tell apart; {remedy}; to pre-train, {without_labels}"
        )
