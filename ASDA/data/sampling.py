"""In which order an epoch draws its clips.

Every order is a pure function of (seed, epoch): a run that was stopped and resumed draws what an uninterrupted one
would have drawn, whatever the number of workers.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .clip_ids import LabelError, match_by_id
from .labels import ClipLabels
from .manifest import Manifest

CLASS_WEIGHT_NUMERATOR = 1000.0
CLASS_WEIGHT_OFFSET = 0.01


def class_balanced_weights(labels: ClipLabels) -> np.ndarray:
    """Sampling weight of each clip: the sum over its labels of 1000 / (clips of that class + 0.01).

    The clips without any label count as a class of their own: otherwise they would never be drawn.

    Returns:
        (n,) float64.
    """
    class_weights = CLASS_WEIGHT_NUMERATOR / (labels.class_counts() + CLASS_WEIGHT_OFFSET)
    weights = np.full(len(labels), CLASS_WEIGHT_NUMERATOR / (labels.num_unlabelled + CLASS_WEIGHT_OFFSET))
    labelled = labels.labels_per_clip > 0
    if labelled.any():
        weights[labelled] = np.add.reduceat(class_weights[labels.classes], labels.offsets[:-1][labelled])
    return weights


def folder_balanced_weights(manifest: Manifest, shares: Sequence[float]) -> np.ndarray:
    """Sampling weight of each clip: those of a manifest's part have its share of the draws, each of them alike.

    Args:
        manifest: of several folders, joined.
        shares: of the draws, one for each folder.

    Returns:
        (n,) float64.
    """
    sizes = [len(part.rows) for part in manifest.parts]
    return np.repeat([share / size for share, size in zip(shares, sizes, strict=True)], sizes)


def read_clip_weights(file: str | os.PathLike, manifest: Manifest) -> np.ndarray:
    """Reads the sampling weight of each clip of a manifest.

    Lines are `clip-id<TAB>weight` and matched by id. EAT's form, a bare number per manifest row, is read too, but only
    if there are exactly as many numbers as rows: nothing else could tell that they belong together.

    Returns:
        (n,) float64.

    Raises:
        LabelError: a clip without a weight, or a weight that is not a positive finite number.
    """
    file = Path(file)
    if _holds_bare_numbers(file):
        fields = file.read_text(encoding="utf-8-sig").split()
        if len(fields) != len(manifest):
            raise LabelError(
                f"{file}: {len(fields)} weights without clip ids, but {manifest.file} has {len(manifest)} rows; write "
                "`clip-id<TAB>weight` lines, which follow a manifest whose rows were filtered"
            )
        line_of_row = np.arange(len(manifest))
    else:
        line_of_row, fields = match_by_id(file, manifest, expected="clip-id<TAB>weight")
    weights = np.empty(len(manifest))
    for row, line in enumerate(line_of_row):
        try:
            weights[row] = float(fields[line])
        except ValueError:
            weights[row] = math.nan
        if not (0.0 < weights[row] < math.inf):
            raise LabelError(f"{file}:{line + 1}: expected a weight above 0, got {fields[line]!r}")
    if not np.isfinite(weights.sum()):
        raise LabelError(f"{file}: the sum of the weights is not finite; scale them down, as only their ratios count")
    return weights


def _holds_bare_numbers(file: Path) -> bool:
    if not file.is_file():
        return False
    with file.open(encoding="utf-8-sig", errors="surrogateescape") as handle:
        return "\t" not in handle.readline()


def shuffled_order(num_clips: int, seed: int, epoch: int) -> np.ndarray:
    """(n,) int64, every clip once."""
    return _random_state(seed, epoch).permutation(num_clips)


def weighted_order(weights: np.ndarray, num_draws: int, seed: int, epoch: int) -> np.ndarray:
    """(num_draws,) int64, clips drawn with replacement, in proportion to their weights."""
    cumulative = np.cumsum(weights)
    draws = _random_state(seed, epoch).random_sample(num_draws) * cumulative[-1]
    return np.minimum(np.searchsorted(cumulative, draws, side="right"), len(weights) - 1)


def repetitions(draws: np.ndarray) -> np.ndarray:
    """(n,) int64, how often each drawn clip has been drawn before: [4, 7, 4, 4] -> [0, 0, 1, 2]."""
    by_clip = np.argsort(draws, kind="stable")
    is_first = np.append(True, draws[by_clip][1:] != draws[by_clip][:-1])
    first_places = np.flatnonzero(is_first)
    counts = np.arange(len(draws)) - np.repeat(first_places, np.diff(np.append(first_places, len(draws))))
    result = np.empty(len(draws), dtype=np.int64)
    result[by_clip] = counts
    return result


def _random_state(seed: int, epoch: int) -> np.random.RandomState:
    # RandomState and SeedSequence keep their streams across numpy versions; numpy's newer Generator does not
    # promise to.
    return np.random.RandomState(np.random.MT19937(np.random.SeedSequence([seed, epoch])))
