"""What a data set's layout says about its clips, before any of them is opened."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ..labels import LabelTable
from ..manifest import ManifestError


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
    """

    row: str
    labels: tuple[str, ...] = ()

    def __post_init__(self):
        object.__setattr__(self, "labels", tuple(dict.fromkeys(self.labels)))


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
    """

    root: Path
    splits: dict[str, list[PlannedClip]]
    table: LabelTable | None = None
    problems: list[Problem] = field(default_factory=list)
    weighted_splits: tuple[str, ...] = ()
    short_below_s: float = 0.1


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
    names = sorted(label_of)
    prefix = "class_"
    while any(name.startswith(prefix) for name in names):
        prefix = f"_{prefix}"
    holds = [bool(name) and not any(c in name for c in ',\t\n\r"') for name in names]
    mids = [name if fits else f"{prefix}{i}" for i, (name, fits) in enumerate(zip(names, holds, strict=True))]
    return LabelTable(mids, names), {label_of[name]: mid for name, mid in zip(names, mids, strict=True)}
