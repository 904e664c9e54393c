"""Labels and splits that a csv file lists, for clips of any folder."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from ...audio.spelling import same_name
from ..corpora.tables import read_csv
from ..manifest import ManifestError
from .finding import FoundClip
from .plan import PlannedClip, Problem


def labelled_by_csv(
    found: list[FoundClip], file: Path, split_column: str | None, problems: list[Problem], warnings: list[str]
) -> list[PlannedClip]:
    """The clips that a file with the columns `file,label` names, with its labels, `label;label` or none.

    Args:
        split_column: one that has to name a split for each clip.
        problems: gets clips that are listed but not there, and those that are not listed and left out.
        warnings: gets how many clips are listed without a label.

    Raises:
        ManifestError: the file is no such table, names a clip twice or in a way that fits several, or labels none.
    """
    where_of: dict[str, str] = {}
    planned: dict[str, PlannedClip] = {}
    lookup = _by_any_name(found)
    columns = ("file", "label", split_column) if split_column else ("file", "label")
    for where, row in read_csv(file, columns):
        clip = lookup(row["file"], where)
        if clip is None:
            problems.append(Problem("missing", row["file"], f"{where} names it"))
            continue
        if clip.row in where_of:
            raise ManifestError(f"{where}: {row['file']!r} already stands in {where_of[clip.row]}")
        labels = tuple(label.strip() for label in row["label"].split(";") if label.strip())
        split = row[split_column].strip() if split_column else ""
        if split_column and (not split or "/" in split):
            raise ManifestError(f"{where}: {split!r} cannot name a split")
        where_of[clip.row] = where
        planned[clip.row] = PlannedClip(clip.row, labels, clip.name, row)
    for clip in found:
        if clip.row not in planned:
            problems.append(Problem("unlabelled", clip.row, f"{file} does not name it; left out"))
    _judge_unlabelled(planned, where_of, warnings)
    return [planned[clip.row] for clip in found if clip.row in planned]


def _judge_unlabelled(planned: dict[str, PlannedClip], where_of: dict[str, str], warnings: list[str]) -> None:
    without = [
        f"{where_of[row]}: {(clip.columns or {})['file']!r} has no label"
        for row, clip in planned.items()
        if not clip.labels
    ]
    if without and len(without) == len(planned):
        raise ManifestError(f"{without[0]}, nor has any other clip; to pre-train, leave --labels out")
    if without:
        warnings.append(
            f"{len(without)} of {len(planned)} clips are of no class, which only multi-label training takes; the "
            f"first: {without[0]}"
        )


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
