"""Dividing clips into splits or folds, reproducibly and with each class in proportion."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from fractions import Fraction

from ..manifest import ManifestError
from .group_division import divide_groups
from .plan import PlannedClip


def split_by_ratio(
    clips: Sequence[PlannedClip], ratios: dict[str, float], seed: int, warnings: list[str] | None = None
) -> dict[str, list[PlannedClip]]:
    """Divides clips so that every class, by each clip's first label, is spread over the splits in the given ratios.

    Clips that have groups are divided by whole groups, as close to that as the groups allow.

    Args:
        ratios: share of each split; they need not sum to 1.
        warnings: gets what the groups do not allow.

    Raises:
        ManifestError: a ratio that is not a finite number above 0, or too few groups.
    """
    for name, ratio in ratios.items():
        if not 0 < ratio < math.inf:
            expected = "finite" if ratio > 0 else "above 0"
            raise ManifestError(f"the share of split {name!r} must be {expected}, got {ratio:g}")
    exact = {name: Fraction(ratio).limit_denominator(10**6) for name, ratio in ratios.items()}
    shares = {name: ratio / sum(exact.values()) for name, ratio in exact.items()}
    if any(clip.group is not None for clip in clips):
        as_floats = {name: float(share) for name, share in shares.items()}
        return divide_groups(clips, as_floats, seed, [] if warnings is None else warnings)
    splits: dict[str, list[PlannedClip]] = {name: [] for name in ratios}
    for number, clip in enumerate(_class_by_class(clips, seed), start=1):
        # The split that is furthest behind its share gets the clip: exact overall, and within a clip in every class.
        behind = max(shares, key=lambda name: number * shares[name] - len(splits[name]))
        splits[behind].append(clip)
    return {name: sorted(members, key=lambda clip: clip.row) for name, members in splits.items()}


def split_into_folds(
    clips: Sequence[PlannedClip], num_folds: int, seed: int, warnings: list[str] | None = None
) -> dict[str, list[PlannedClip]]:
    """K-fold cross-validation: `fold1/train`, `fold1/eval`, ...; each clip is evaluated in exactly one fold."""
    if not 2 <= num_folds <= len(clips):
        raise ManifestError(f"cannot make {num_folds} folds of {len(clips)} clips")
    parts = split_by_ratio(clips, {f"fold {k}": 1.0 for k in range(1, num_folds + 1)}, seed, warnings)
    return cross_validation({name.removeprefix("fold "): part for name, part in parts.items()})


def cross_validation(parts: dict[str, list[PlannedClip]]) -> dict[str, list[PlannedClip]]:
    """Fold k is evaluated on part k and trained on all others."""
    splits = {}
    for held_out in parts:
        splits[f"fold{held_out}/train"] = [clip for name, part in parts.items() if name != held_out for clip in part]
        splits[f"fold{held_out}/eval"] = list(parts[held_out])
    return splits


def hold_out(
    splits: dict[str, list[PlannedClip]], name: str, share: float, seed: int, warnings: list[str] | None = None
) -> dict[str, list[PlannedClip]]:
    """Takes a split out of every training split, to choose a checkpoint by that was not chosen by the test set.

    Args:
        splits: `train` and others, or `fold1/train` and so on.
        name: of the new split, beside the training split that it comes from.
        share: of the training clips.
        warnings: gets what the groups of the clips do not allow.

    Raises:
        ManifestError: there is no training split, the name is taken, the share is not between 0 and 1, too few groups.
    """
    if not 0 < share < 1:
        raise ManifestError(f"the share to hold out must be between 0 and 1, got {share:g}")
    result: dict[str, list[PlannedClip]] = {}
    for split, clips in splits.items():
        *folder, kind = split.split("/")
        if kind == name:
            raise ManifestError(f"there is a split {split!r} already; hold out clips under another name")
        if kind == "train":
            new: list[str] = []
            parts = split_by_ratio(clips, {"train": 1 - share, name: share}, seed, new)
            if warnings is not None:
                warnings += [f"{folder[0]}: {warning}" if folder else warning for warning in new]
            result |= {"/".join([*folder, part]): members for part, members in parts.items()}
        else:
            result[split] = clips
    if len(result) == len(splits):
        raise ManifestError(f"there is no split 'train' to hold clips out of, only {', '.join(splits)}")
    return result


def _class_by_class(clips: Sequence[PlannedClip], seed: int) -> list[PlannedClip]:
    """Clips grouped by first label, in random order within each group."""
    shuffled = sorted(clips, key=lambda clip: clip.row)
    random.Random(seed).shuffle(shuffled)
    return sorted(shuffled, key=lambda clip: clip.labels[:1])
