"""Which clips belong together, such as those of one speaker, so that no division may part them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from ..manifest import ManifestError
from .folder_levels import folder_at, folders_of, parse_level, place_of, say_level
from .plan import PlannedClip


class Grouping(Protocol):
    """A rule that says the group of a clip."""

    def group_of(self, clip: PlannedClip) -> str:
        """The group's name; empty if the rule finds none."""

    def remedy(self) -> str:
        """What to do about clips without a group."""


@dataclass(frozen=True)
class ByFolder:
    """Groups are folders, by name wherever they lie: a speaker may have a folder in each class.

    Attributes:
        level: which folder; None: the outermost that is neither a split nor a class.
        skipped: how many folders of splits are on the way.
        label_level: level of the folders that are classes; None: none are.
    """

    level: int | None = None
    skipped: int = 0
    label_level: int | None = None

    def group_of(self, clip: PlannedClip) -> str:
        folders = folders_of(clip.name, self.skipped)
        if self.level is not None:
            return folder_at(folders, self.level) or ""
        classes = None if self.label_level is None else place_of(self.label_level, len(folders))
        return next((folder for place, folder in enumerate(folders) if place != classes), "")

    def remedy(self) -> str:
        if self.level is not None:
            return f"it has no {say_level(self.level)} folder; name another with folder:N"
        also = "" if self.label_level is None else " beside that of its class"
        return f"it lies in no folder{also}; name a column or a pattern instead (column:NAME, regex:PATTERN)"


@dataclass(frozen=True)
class ByColumn:
    """Groups stand in a column of the table that lists the clips."""

    column: str

    def group_of(self, clip: PlannedClip) -> str:
        return ((clip.columns or {}).get(self.column) or "").strip()

    def remedy(self) -> str:
        return f"the table that lists it says nothing in the column {self.column!r}"


@dataclass(frozen=True)
class ByPattern:
    """Groups are what a regular expression finds in a clip's path: its first bracket that matched, or all of it."""

    pattern: re.Pattern

    def group_of(self, clip: PlannedClip) -> str:
        found = self.pattern.search(clip.name)
        if found is None:
            return ""
        return next((part for part in found.groups() if part), found[0])

    def remedy(self) -> str:
        return f"the pattern {self.pattern.pattern!r} does not match it"


def parse_grouping(text: str) -> Grouping:
    """`folder`, `folder:N`, `column:NAME` or `regex:PATTERN`.

    Raises:
        ValueError: nothing of the kind, or no regular expression.
    """
    kind, colon, value = text.partition(":")
    if kind == "folder" and bool(colon) == bool(value):
        return ByFolder(parse_level(value) if value else None)
    if kind == "column" and value:
        return ByColumn(value)
    if kind == "regex" and value:
        try:
            return ByPattern(re.compile(value))
        except re.error as error:
            raise ValueError(f"{value!r} is no regular expression: {error}") from None
    raise ValueError(f"expected folder, folder:N, column:NAME or regex:PATTERN, got {text!r}")


def grouped(clips: Sequence[PlannedClip], grouping: Grouping) -> list[PlannedClip]:
    """The clips with their groups.

    Raises:
        ManifestError: no table has the column, or a clip has no group.
    """
    if isinstance(grouping, ByColumn) and clips:
        known: Iterable[str] = (clips[0].columns or {}).keys()
        if not known:
            raise ManifestError("--group-by column:NAME needs clips that are listed in a csv file with a heading")
        if grouping.column not in known:
            raise ManifestError(f"no column {grouping.column!r} to group by, only {', '.join(map(str, known))}")
    found = [replace(clip, group=grouping.group_of(clip)) for clip in clips]
    without = [clip for clip in found if not clip.group]
    if without:
        raise ManifestError(
            f"{len(without)} of the {len(found)} clips belong to no group, the first is {without[0].name!r}: "
            f"{grouping.remedy()}"
        )
    return found


def shared_groups(splits: dict[str, list[PlannedClip]]) -> list[str]:
    """Warnings of groups that a data set's own division has parted; splits of other folds are not compared."""
    split_of: dict[tuple[str, str], str] = {}
    shared: dict[tuple[str, str], set[str]] = {}
    for split, clips in splits.items():
        folder = split.rpartition("/")[0]
        for clip in clips:
            if clip.group is None:
                continue
            first = split_of.setdefault((folder, clip.group), split)
            if first != split:
                shared.setdefault((first, split), set()).add(clip.group)
    return [
        f"{len(groups)} groups are both in {first} and in {second}, as the data set divides them: {min(groups)}"
        + (", ..." if len(groups) > 1 else "")
        for (first, second), groups in shared.items()
    ]
