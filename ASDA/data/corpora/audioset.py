"""AudioSet: Google's segment lists joined with the clips that could be downloaded.

A segment list has lines `YTID, start_seconds, end_seconds, "mid,mid,..."` after comments. Clips are recognised by
name in the usual forms, as files or as keys and members of containers: `<id>`, `Y<id>`, either followed by `_<start>`
or `_<start>_<end>`, in seconds or milliseconds. Times with a decimal point are seconds; of whole numbers the distance
between the two says which they are, since a clip lasts seconds. A start alone is taken for milliseconds only where it
agrees with the list to the millisecond.
"""

from __future__ import annotations

import csv
import math
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..labels import LabelTable
from ..manifest import ManifestError, open_table
from ..preparation.finding import FoundClip, find_clips
from ..preparation.plan import Plan, PlannedClip, Problem
from .tables import mids_of

START_TOLERANCE_S = 1.0
LONGEST_CLIP_S = 60.0
"""Names whose times lie further apart, as numbers of seconds, state milliseconds; segments last up to 10 s."""
SHORT_BELOW_S = 1.0

_TIMES = r"(?:_(?P<start>\d+(?:\.\d+)?)(?:_(?P<end>\d+(?:\.\d+)?))?)?"
_NAME_FORMS = tuple(re.compile(rf"{prefix}(?P<id>[\w-]{{11}}){_TIMES}", re.ASCII) for prefix in ("", "Y"))


@dataclass(frozen=True)
class Segment:
    """One labelled excerpt of a video."""

    video: str
    start_s: float
    labels: tuple[str, ...]


def plan_audioset(
    root: Path, segment_lists: dict[str, list[Path]], table: LabelTable, short_below_s: float = SHORT_BELOW_S
) -> Plan:
    """Joins segment lists with the clips below a folder.

    Args:
        segment_lists: the lists of each split, e.g. `{"train": [balanced, unbalanced], "eval": [eval]}`.
        short_below_s: shorter clips are reported.
    """
    plan = Plan(root, {}, table, weighted_splits=("train",), short_below_s=short_below_s)
    clips = _index_clips(find_clips(root, plan.problems))
    split_of: dict[str, str] = {}
    for split, files in segment_lists.items():
        planned = []
        for file in files:
            for segment in read_segments(file, table):
                if segment.video in split_of:
                    detail = f"listed in split {split_of[segment.video]!r} and again in {file.name}; kept in the first"
                    plan.problems.append(Problem("duplicate", segment.video, detail))
                    continue
                split_of[segment.video] = split
                clip = _choose(segment, clips.get(segment.video, []), plan.problems)
                if clip is not None:
                    planned.append(PlannedClip(clip.row, segment.labels, clip.name))
        if not planned:
            raise ManifestError(f"{root}: none of the clips of split {split!r} is there")
        plan.splits[split] = planned
    return plan


def read_segments(file: Path, table: LabelTable) -> Iterator[Segment]:
    """Reads one of Google's segment lists.

    Raises:
        ManifestError: a line of another form or an unknown label, with its line number.
    """
    if not file.is_file():
        raise ManifestError(f"{file}: no such segment list")
    with open_table(file) as handle:
        reader = csv.reader(handle, skipinitialspace=True)
        for row in reader:
            if not row or row[0].startswith("#"):
                continue
            where = f"{file}:{reader.line_num}"
            try:
                video, start, _, labels = row
                start_s = float(start)
            except ValueError:
                expected = 'YTID, start_seconds, end_seconds, "mid,mid"'
                raise ManifestError(f"{where}: expected `{expected}`, got {', '.join(row)!r}") from None
            if not math.isfinite(start_s):
                raise ManifestError(f"{where}: expected start_seconds, got {start!r}")
            yield Segment(video, start_s, mids_of(labels, table, where))


def _index_clips(found: list[FoundClip]) -> dict[str, list[tuple[FoundClip, tuple[str, str] | None]]]:
    """Clips by every video id that their name can mean, with the start and end that the name states."""
    clips: dict[str, list[tuple[FoundClip, tuple[str, str] | None]]] = {}
    for clip in found:
        name = clip.name.rsplit("/", 1)[-1]
        stem = os.path.splitext(name)[0] if "." in name else name
        for form in _NAME_FORMS:
            match = form.fullmatch(stem)
            if match:
                times = (match["start"], match["end"] or "") if match["start"] else None
                clips.setdefault(match["id"], []).append((clip, times))
    return clips


def _choose(
    segment: Segment, candidates: list[tuple[FoundClip, tuple[str, str] | None]], problems: list[Problem]
) -> FoundClip | None:
    """The clip of a segment, or None if it is not there."""
    fitting = [clip for clip, times in candidates if times is None or _starts_at(segment.start_s, *times)]
    if not fitting:
        others = ", ".join(clip.row for clip, _ in candidates)
        detail = f"only other excerpts of the video are there: {others}" if others else "no clip of this id"
        problems.append(Problem("missing", segment.video, detail))
        return None
    for duplicate in fitting[1:]:
        problems.append(Problem("duplicate", segment.video, f"{duplicate.row} is not used, {fitting[0].row} is"))
    return fitting[0]


def _starts_at(start_s: float, stated_start: str, stated_end: str) -> bool:
    """Whether the times that a name states, in whichever unit, mean a segment that starts at ``start_s``."""
    start, in_seconds = float(stated_start), abs(float(stated_start) - start_s) < START_TOLERANCE_S
    if "." in stated_start + stated_end:
        return in_seconds
    if not stated_end:
        return in_seconds or start == round(1000 * start_s)
    if float(stated_end) - start <= LONGEST_CLIP_S:
        return in_seconds
    return abs(start / 1000 - start_s) < START_TOLERANCE_S
