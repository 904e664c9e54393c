"""LibriSpeech: read books, for pre-training without labels.

Layout: `{subset}/{speaker}/{chapter}/{speaker}-{chapter}-{utterance}.flac`, with seven subsets.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..manifest import ManifestError
from ..preparation.finding import find_clips
from ..preparation.parallel import parallel_map
from ..preparation.plan import Plan, PlannedClip, Problem
from .tables import unpacked

SUBSETS = {
    "train-clean-100": 28_539,
    "train-clean-360": 104_014,
    "train-other-500": 148_688,
    "dev-clean": 2_703,
    "dev-other": 2_864,
    "test-clean": 2_620,
    "test-other": 2_939,
}
"""The subsets, with their published numbers of utterances."""

TRAIN = "train"


def plan_librispeech(
    root: Path, subsets: Sequence[str] | None = None, separate: bool = False, workers: int = 0
) -> Plan:
    """Splits by the names of the subsets: `train` is all of `train-*` (960 h), each other subset a split of its name.

    Args:
        root: the folder of the subsets, or the one around it.
        subsets: those to take; None: all that are there.
        separate: each training subset is a split of its own name as well, and there is no `train`.
        workers: threads that search; 0: one per core.

    Raises:
        ManifestError: a subset that is not there, or none at all.
    """
    root = unpacked(root, "LibriSpeech", tuple(SUBSETS))
    there = [name for name in SUBSETS if (root / name).is_dir()]
    if not there:
        raise ManifestError(f"{root}: not the LibriSpeech folder, it has none of {', '.join(SUBSETS)}")
    missing = [name for name in subsets or () if name not in there]
    if missing:
        raise ManifestError(f"{root}: there is no {', '.join(missing)}, only {', '.join(there)}")
    taken = [name for name in there if subsets is None or name in subsets]
    published: dict[str, int] = {}
    plan = Plan(root, {}, title="LibriSpeech", published=published)
    found = _search(plan, taken, workers)
    for subset in taken:
        split = TRAIN if _is_train(subset) and not separate else subset
        plan.splits.setdefault(split, []).extend(found[subset])
        published[split] = published.get(split, 0) + SUBSETS[subset]
    absent = [name for name in SUBSETS if _is_train(name) and name not in taken]
    if TRAIN in plan.splits and absent:
        plan.warnings.append(f"{TRAIN} is not all 960 h: without {', '.join(absent)}")
    return plan


def _is_train(subset: str) -> bool:
    return subset.startswith(f"{TRAIN}-")


def _search(plan: Plan, subsets: Sequence[str], workers: int) -> dict[str, list[PlannedClip]]:
    """The clips of each subset, speaker by speaker; what is passed over becomes problems of the plan."""
    speakers = [
        f"{subset}/{name}"
        for subset in subsets
        for name in sorted(os.listdir(plan.root / subset))
        if not name.startswith(".") and (plan.root / subset / name).is_dir()
    ]

    def search(speaker: str) -> tuple[list[PlannedClip], list[Problem]]:
        problems: list[Problem] = []
        rows = [f"{speaker}/{clip.row}" for clip in find_clips(plan.root / speaker, problems)]
        return [_clip(row) for row in rows], [replace(p, clip=f"{speaker}/{p.clip}") for p in problems]

    found: dict[str, list[PlannedClip]] = {subset: [] for subset in subsets}
    results = parallel_map(lambda: search, speakers, workers, "searching speakers", unit="speaker")
    for speaker, (clips, problems) in zip(speakers, results, strict=True):
        found[speaker.partition("/")[0]] += clips
        plan.problems += problems
    return found


def _clip(row: str) -> PlannedClip:
    subset, speaker, chapter = (row.split("/") + [""])[:3]
    return PlannedClip(row, columns={"subset": subset, "speaker": speaker, "chapter": chapter})
