"""Any tree of audio: labels from folders or a csv file, splits by ratio, by folder, by a column, or folds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..labels import LabelTable
from ..manifest import ManifestError
from .csv_labels import labelled_by_csv
from .finding import FoundClip, find_clips
from .folder_labels import doubts, labelled_by_folders, other_levels
from .folder_levels import OUTERMOST, say_level
from .grouping import ByFolder, Grouping, grouped
from .plan import Plan, PlannedClip, require_several, with_classes
from .splitting import split_by_ratio, split_into_folds

FOLDERS = "folders"
"""Labels are the names of folders."""


@dataclass(frozen=True)
class Division:
    """How clips come into splits; by default all of them are `train`.

    Attributes:
        ratios: share of each split.
        column: column of the csv file that holds each clip's split.
        folders: the folders directly under the root are the splits.
        num_folds: make folds for cross-validation.
        seed: of random divisions.
    """

    ratios: dict[str, float] | None = None
    column: str | None = None
    folders: bool = False
    num_folds: int | None = None
    seed: int = 1

    def __post_init__(self):
        ways = (self.ratios is not None, self.column is not None, self.folders, self.num_folds is not None)
        if sum(ways) > 1:
            raise ManifestError("choose one way to split: by ratio, by column, by folder or into folds")

    @property
    def skipped(self) -> int:
        """How many folders on the way to a clip are those of splits."""
        return 1 if self.folders else 0

    def divide(self, clips: Sequence[PlannedClip], warnings: list[str]) -> dict[str, list[PlannedClip]]:
        """The clips of each split.

        Args:
            warnings: gets what the groups of the clips do not allow.

        Raises:
            ManifestError: a split that cannot be made.
        """
        if self.num_folds is not None:
            return split_into_folds(clips, self.num_folds, self.seed, warnings)
        if self.column is None and not self.folders:
            return split_by_ratio(clips, self.ratios or {"train": 1.0}, self.seed, warnings)
        splits: dict[str, list[PlannedClip]] = {}
        for clip in clips:
            splits.setdefault(self._given(clip), []).append(clip)
        return splits

    def _given(self, clip: PlannedClip) -> str:
        if self.column is not None:
            return (clip.columns or {})[self.column].strip()
        folder, slash, _ = clip.name.partition("/")
        if not slash:
            raise ManifestError(f"{clip.row}: lies directly in the root, where only folders of splits should be")
        return folder


def plan_folder(
    root: Path,
    labels: str | None = None,
    table: LabelTable | None = None,
    division: Division | None = None,
    label_level: int | None = None,
    grouping: Grouping | None = None,
) -> Plan:
    """Reads a tree of audio.

    Args:
        labels: None for clips without labels, `folders` for the name of a folder on the way to the clip, or a csv file
            with the columns `file,label`, where a clip may carry several labels, separated by `;`, or none.
        table: the classes and their order; by default the labels found, sorted.
        division: into splits.
        label_level: which folder names the class, see `folder_levels.parse_level`; by default the outermost below the
            root, or below the folders of splits.
        grouping: what is not to be divided.

    Raises:
        ManifestError: no audio, a label, group or split that cannot be told, a single class, options that contradict
            each other.
    """
    division = division or Division()
    if division.column is not None and labels in (None, FOLDERS):
        raise ManifestError("a split column needs a csv file with labels")
    if label_level is not None and labels != FOLDERS:
        raise ManifestError("--label-level says which folders are classes: it needs --labels folders")
    plan = Plan(root, {})
    found = find_clips(root, plan.problems)
    if not found:
        passed_over = "".join(f"; {problem.clip}: {problem.detail}" for problem in plan.problems[:3])
        raise ManifestError(f"{root}: no audio file below this folder{passed_over}")
    if labels is None:
        clips = [PlannedClip(clip.row, name=clip.name) for clip in found]
    elif labels == FOLDERS:
        clips = _by_folders(plan, found, table, label_level or OUTERMOST, division.folders)
    else:
        clips = labelled_by_csv(found, Path(labels), division.column, plan.problems, plan.warnings)
        clips = with_classes(plan, clips, table, f"{root}: none of the {len(found)} clips has a label")
        require_several(plan, clips, f"add clips of another class to {labels}, or clips of none, with an empty label")
        plan.labels_from = f"listed in {labels}"
    if isinstance(grouping, ByFolder):
        level = (label_level or OUTERMOST) if labels == FOLDERS else None
        grouping = replace(grouping, skipped=division.skipped, label_level=level)
    if grouping is not None:
        clips = grouped(clips, grouping)
    plan.splits = division.divide(clips, plan.warnings)
    return plan


def _by_folders(
    plan: Plan, found: list[FoundClip], table: LabelTable | None, level: int, split_folders: bool
) -> list[PlannedClip]:
    """The clips with the folders of a level as their labels; the plan gets the table and what to say about it."""
    skipped = 1 if split_folders else 0
    others = other_levels([clip.name for clip in found], level, skipped)
    hint = f"; {others}" if others else ""
    clips = labelled_by_folders(found, level, skipped, plan.problems)
    clips = with_classes(plan, clips, table, f"{plan.root}: none of the {len(found)} clips has a label{hint}")
    below = "the folders of splits" if split_folders else plan.root
    remedy = f"put the clips of each class into a folder of its own below {below}, or list labels in a csv file"
    require_several(plan, clips, others or remedy)
    plan.labels_from = f"named by the {say_level(level)} folders below {below}{hint}"
    if table is None and plan.table is not None:
        plan.warnings += doubts(plan.table.names, split_folders)
    return clips
