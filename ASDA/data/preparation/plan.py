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
        labels: mids of its classes.
    """

    row: str
    labels: tuple[str, ...] = ()


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
    """Makes a label table of names in sorted order.

    Returns:
        The table, and the mid of each name: the name itself where a label file can hold it.

    Raises:
        ManifestError: two names that differ in nothing but the spaces around them.
    """
    names = sorted(set(labels))
    shown = [name.encode("utf-8", "backslashreplace").decode().strip() for name in names]
    first: dict[str, str] = {}
    for name, text in zip(names, shown, strict=True):
        if first.setdefault(text, name) != name:
            raise ManifestError(f"the classes {first[text]!r} and {name!r} would have one name; rename one")
    mids = []
    for index, (name, text) in enumerate(zip(names, shown, strict=True)):
        mid = name if name == text and not any(c in name for c in ',"\t\n\r') else f"class_{index}"
        while mid != name and mid in first:  # a class is really called so
            mid += "_"
        mids.append(mid)
    return LabelTable(mids, shown), dict(zip(names, mids, strict=True))
