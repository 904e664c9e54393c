"""Any tree of audio: labels from sub-folders or a csv file, splits by ratio, by folder, by a column, or folds."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from ...audio.spelling import same_name
from ..containers import CONTAINER_SUFFIXES
from ..corpora.tables import read_csv
from ..labels import LabelTable
from ..manifest import ManifestError
from .finding import FoundClip, find_clips
from .plan import Plan, PlannedClip, Problem, table_of
from .splitting import split_by_ratio, split_into_folds


@dataclass(frozen=True)
class _Description:
    """What is known about a clip before its place in a split is decided."""

    clip: FoundClip
    labels: tuple[str, ...] = ()
    split: str = ""


def plan_folder(
    root: Path,
    labels: str | None = None,
    table: LabelTable | None = None,
    ratios: dict[str, float] | None = None,
    split_column: str | None = None,
    split_folders: bool = False,
    num_folds: int | None = None,
    seed: int = 1,
) -> Plan:
    """Reads a tree of audio.

    Args:
        labels: None for clips without labels, `folders` for the name of the folder that a clip lies in, or a csv file
            with the columns `file,label`, where a clip may carry several labels, separated by `;`.
        table: the classes and their order; by default the labels found, sorted.
        ratios: share of each split; by default everything is `train`.
        split_column: column of the csv file that holds each clip's split.
        split_folders: the folders directly under the root are the splits.
        num_folds: make folds for cross-validation.
        seed: of random divisions.

    Raises:
        ManifestError: no audio, a label or split that cannot be told, options that contradict each other.
    """
    if (
        sum(choice is not None and choice is not False for choice in (ratios, split_column, split_folders, num_folds))
        > 1
    ):
        raise ManifestError("choose one way to split: by ratio, by column, by folder or into folds")
    if split_column is not None and labels in (None, "folders"):
        raise ManifestError("a split column needs a csv file with labels")
    problems: list[Problem] = []
    found = find_clips(root, problems)
    if not found:
        passed_over = "".join(f"; {problem.clip}: {problem.detail}" for problem in problems[:3])
        raise ManifestError(f"{root}: no audio file below this folder{passed_over}")
    if labels is None:
        described = [_Description(clip) for clip in found]
    elif labels == "folders":
        described = list(_labels_from_folders(found, 1 if split_folders else 0, problems))
    else:
        described = list(_labels_from_csv(found, Path(labels), split_column, problems))
    if not described:
        raise ManifestError(f"{root}: none of the {len(found)} clips has a label")
    table, planned = _planned(described, table, labels is not None)
    splits = _divide(described, planned, ratios, split_column, split_folders, num_folds, seed)
    return Plan(root, splits, table, problems)


def _labels_from_folders(found: Iterable[FoundClip], depth: int, problems: list[Problem]) -> Iterable[_Description]:
    for clip in found:
        folders = [name for name in clip.name.split("/")[depth:-1] if Path(name).suffix not in CONTAINER_SUFFIXES]
        if folders:
            yield _Description(clip, (folders[-1],))
        else:
            problems.append(
                Problem("unlabelled", clip.row, "lies in no sub-folder that could name its class; left out")
            )


def _labels_from_csv(
    found: list[FoundClip], file: Path, split_column: str | None, problems: list[Problem]
) -> Iterable[_Description]:
    described: dict[str, tuple[str, _Description]] = {}
    lookup = _by_any_name(found)
    columns = ("file", "label", split_column) if split_column else ("file", "label")
    for where, row in read_csv(file, columns):
        clip = lookup(row["file"], where)
        if clip is None:
            problems.append(Problem("missing", row["file"], f"{where} names it"))
            continue
        if clip.row in described:
            raise ManifestError(f"{where}: {row['file']!r} already stands in {described[clip.row][0]}")
        labels = tuple(dict.fromkeys(label.strip() for label in row["label"].split(";") if label.strip()))
        if not labels:
            raise ManifestError(f"{where}: {row['file']!r} has no label")
        split = row[split_column].strip() if split_column else ""
        if split_column and (not split or "/" in split):
            raise ManifestError(f"{where}: {split!r} cannot name a split")
        described[clip.row] = (where, _Description(clip, labels, split))
    for clip in found:
        if clip.row not in described:
            problems.append(Problem("unlabelled", clip.row, f"{file} does not name it; left out"))
    return [described[clip.row][1] for clip in found if clip.row in described]


def _by_any_name(found: list[FoundClip]) -> Callable[[str, str], FoundClip | None]:
    """Finds clips by relative path or by name alone, with or without the ending, in whichever Unicode spelling."""
    clips: dict[str, list[FoundClip]] = {}
    for clip in found:
        for path in {clip.name, clip.row}:
            for name in {path, os.path.splitext(path)[0], os.path.basename(path), Path(path).stem}:
                for spelling in {name, same_name(name)}:
                    clips.setdefault(spelling, []).append(clip)

    def lookup(name: str, where: str) -> FoundClip | None:
        name = name.removeprefix("./")
        fitting = clips.get(name) or clips.get(same_name(name), [])
        exact = [clip for clip in fitting if name in (clip.name, clip.row)]  # another may only be spelled otherwise
        fitting = exact if len(exact) == 1 else fitting
        if len(fitting) > 1:
            raise ManifestError(
                f"{where}: {name!r} fits {fitting[0].name!r} and {fitting[1].name!r}; give more of the path"
            )
        return fitting[0] if fitting else None

    return lookup


def _planned(
    described: list[_Description], table: LabelTable | None, labelled: bool
) -> tuple[LabelTable | None, list[PlannedClip]]:
    if not labelled:
        return None, [PlannedClip(item.clip.row) for item in described]
    if table is None:
        table, mid_of = table_of(label for item in described for label in item.labels)
    else:
        names = {label: item.clip.name for item in described for label in item.labels}
        mid_of = {label: table.mids[table.index(label, where)] for label, where in names.items()}
    return table, [PlannedClip(item.clip.row, tuple(mid_of[label] for label in item.labels)) for item in described]


def _divide(
    described: list[_Description],
    planned: list[PlannedClip],
    ratios: dict[str, float] | None,
    split_column: str | None,
    split_folders: bool,
    num_folds: int | None,
    seed: int,
) -> dict[str, list[PlannedClip]]:
    if num_folds is not None:
        return split_into_folds(planned, num_folds, seed)
    if split_column is None and not split_folders:
        return split_by_ratio(planned, ratios or {"train": 1.0}, seed)
    splits: dict[str, list[PlannedClip]] = {}
    for item, clip in zip(described, planned, strict=True):
        folder, slash, _ = item.clip.name.partition("/")
        if split_folders and not slash:
            raise ManifestError(f"{clip.row}: lies directly in the root, where only folders of splits should be")
        splits.setdefault(folder if split_folders else item.split, []).append(clip)
    return splits
