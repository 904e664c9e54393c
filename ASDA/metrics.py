"""Classification metrics: one implementation for validation while training and for evaluation afterwards.

Arrays are anything NumPy can read (CPU tensors included); results are plain Python floats, so that they can be stored
in checkpoints and json. `n` is the number of clips, `C` the number of classes.

A target is 1 where the clip has the class, 0 where it has not, and NaN where nobody judged it: such pairs of a clip and
a class enter no metric, as if the clip were not there for this class.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Callable

import numpy as np
from numpy.typing import ArrayLike
from sklearn.metrics import average_precision_score, roc_auc_score


@dataclass(frozen=True)
class MeanAveragePrecision:
    """Mean of the classes' average precision.

    Attributes:
        value: the mean over classes that have a positive clip; NaN when none has.
        per_class: average precision of each class, NaN for those without a positive.
        num_skipped_classes: how many classes have no positive and are left out of `value`.
    """

    value: float
    per_class: list[float]
    num_skipped_classes: int

    def __float__(self) -> float:
        return self.value


def _check(targets: ArrayLike, scores: ArrayLike) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(n, C) boolean targets, float64 scores and boolean `judged`, or a ValueError that says what is wrong."""
    targets, scores = np.asarray(targets), np.asarray(scores, dtype=np.float64)
    if scores.ndim != 2 or targets.shape != scores.shape:
        raise ValueError(f"expected targets and scores of one shape (n, C), got {targets.shape} and {scores.shape}")
    _check_finite(scores)
    judged = ~np.isnan(targets)
    stray = judged & (targets != 0) & (targets != 1)
    if stray.any():
        clip, label = np.argwhere(stray)[0]
        raise ValueError(f"targets must be 0 or 1, that of clip {clip}, class {label} is {targets[clip, label]}")
    return targets == 1, scores, judged


def _check_judged(targets: ArrayLike, scores: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Targets and scores as by `_check`, for a metric that takes no partial labels."""
    checked, scores, judged = _check(targets, scores)
    if not judged.all():
        clip, label = np.argwhere(~judged)[0]
        raise ValueError(f"clip {clip} was not judged for class {label}: which class is right cannot be told")
    return checked, scores


def _check_finite(scores: np.ndarray) -> None:
    bad = ~np.isfinite(scores)
    if bad.any():
        clip, label = np.argwhere(bad)[0]
        raise ValueError(f"the score of clip {clip}, class {label} is {scores[clip, label]}, expected a finite number")


def average_precision_per_class(targets: ArrayLike, scores: ArrayLike) -> np.ndarray:
    """Average precision of each class: the sum over thresholds of (recall gained) x precision, without interpolation.

    Args:
        targets: (n, C), 1 where the clip has the label, NaN where it was not judged.
        scores: (n, C), larger = more likely; only the order within a class matters, ties count as one threshold.

    Returns:
        (C,) float64, NaN where a class has no positive clip.
    """
    targets, scores, judged = _check(targets, scores)
    return np.array(
        [
            average_precision_score(target[there], score[there]) if target.any() else np.nan
            for target, score, there in zip(targets.T, scores.T, judged.T, strict=True)
        ],
        dtype=np.float64,
    )


def mean_average_precision(targets: ArrayLike, scores: ArrayLike) -> MeanAveragePrecision:
    """mAP over the classes that have a positive clip; see `average_precision_per_class` for the arguments."""
    per_class = average_precision_per_class(targets, scores)
    skipped = np.isnan(per_class)
    value = math.nan if skipped.all() else float(per_class[~skipped].mean())
    return MeanAveragePrecision(value, per_class.tolist(), int(skipped.sum()))


def accuracy(targets: ArrayLike, scores: ArrayLike) -> float:
    """Share of clips whose best-scored class is right; among equal scores the first class counts.

    Args:
        targets: (n,) class indices, or (n, C) with 1 at the right class (or classes).
        scores: (n, C).

    Returns:
        In [0, 1]; NaN without clips.
    """
    targets, scores = np.asarray(targets), np.asarray(scores, dtype=np.float64)
    if targets.ndim == 1 and scores.ndim == 2 and len(targets) == len(scores):
        _check_finite(scores)
        wrong = (targets < 0) | (targets >= scores.shape[1]) | (targets != np.floor(targets))
        if wrong.any():
            clip = int(np.argmax(wrong))
            raise ValueError(f"the class of clip {clip} is {targets[clip]}, expected 0 to {scores.shape[1] - 1}")
        hits = scores.argmax(axis=1) == targets
    else:
        targets, scores = _check_judged(targets, scores)
        hits = targets[np.arange(len(scores)), scores.argmax(axis=1)]
    return float(hits.mean()) if len(hits) else math.nan


def confusion_matrix(targets: ArrayLike, scores: ArrayLike) -> np.ndarray:
    """What clips with one label each were taken for: (C, C) int64, how many clips of the row's class got the column's.

    The diagonal over its sum is the accuracy; among equal scores the first class counts.

    Args:
        targets: (n, C), 1 at the right class.
        scores: (n, C).

    Raises:
        ValueError: a clip has no label or several.
    """
    targets, scores = _check_judged(targets, scores)
    counts = targets.sum(axis=1)
    if (counts != 1).any():
        clip = int(np.argmax(counts != 1))
        raise ValueError(f"clip {clip} has {counts[clip]} labels, expected one per clip for a confusion matrix")
    matrix = np.zeros((targets.shape[1], targets.shape[1]), dtype=np.int64)
    np.add.at(matrix, (targets.argmax(axis=1), scores.argmax(axis=1)), 1)
    return matrix


def chance_accuracy(targets: ArrayLike) -> float:
    """Accuracy of one answer for all clips, the best there is: the share of the most frequent class; NaN without clips.

    Args:
        targets: (n, C), 1 at the right class.
    """
    targets = np.asarray(targets)
    return float(targets.mean(axis=0).max()) if len(targets) else math.nan


def chance_average_precision(targets: ArrayLike) -> float:
    """What mAP is about without knowing anything: the share of clips that hold a class, averaged as mAP averages.

    Args:
        targets: (n, C), 1 where the clip has the label, NaN where it was not judged.
    """
    targets = np.asarray(targets, dtype=np.float64)
    shares = np.nansum(targets, axis=0) / np.maximum(1, (~np.isnan(targets)).sum(axis=0))
    return float(shares[shares > 0].mean()) if (shares > 0).any() else math.nan


def mean_auc(targets: ArrayLike, scores: ArrayLike) -> float:
    """Area under the ROC curve, averaged over the classes that have both a positive and a negative clip.

    Returns:
        In [0, 1]; NaN when no class has both.
    """
    targets, scores, judged = _check(targets, scores)
    areas = [
        roc_auc_score(target[there], score[there])
        for target, score, there in zip(targets.T, scores.T, judged.T, strict=True)
        if target.any() and not target[there].all()
    ]
    return float(np.mean(areas)) if areas else math.nan


def d_prime(auc: float) -> float:
    """d' = sqrt(2) * inverse normal distribution(AUC): the distance of two unit-variance Gaussians with that AUC.

    Returns:
        0 at chance, +-infinity at an AUC of 1 or 0, NaN for NaN.

    Raises:
        ValueError: `auc` is outside [0, 1].
    """
    if math.isnan(auc):
        return math.nan
    if not 0.0 <= auc <= 1.0:
        raise ValueError(f"an AUC lies in [0, 1], got {auc}")
    if auc in (0.0, 1.0):
        return math.inf if auc else -math.inf
    return math.sqrt(2.0) * NormalDist().inv_cdf(auc)


def bootstrap_interval(
    metric: Callable[[np.ndarray, np.ndarray], float],
    targets: ArrayLike,
    scores: ArrayLike,
    seed: int,
    resamples: int = 1000,
    level: float = 0.95,
    value: float | None = None,
) -> tuple[float, float]:
    """Interval of a metric from clips drawn with replacement, centred on the metric's own value.

    Draws repeat clips, and a positive that is there twice holds two places at the top of a ranking: the mAP of draws is
    higher than that of the clips, with few positives by several times its spread. The quantiles of the draws (the
    percentile interval) then lie above the value, reflected ones (the basic interval) below it, and BC and BCa, which
    choose other quantiles, are left with the outermost draws. Here the draws are moved by their median bias instead,

        low, high = quantiles of (draws - median(draws) + value), no lower than 0 and no higher than 1,

    which keeps their spread and skew, and always holds the value. Where draws are unbiased, as with accuracy and AUC,
    it is the percentile interval. It says where the metric of another test set of this size and kind lies on average
    (tests/test_metrics.py counts how often); that an AP of few positives is itself higher than one of many, no
    interval of this kind can tell.

    Args:
        metric: `accuracy`, `mean_auc`, `mean_average_precision` or any function of (targets, scores) whose result
            `float` accepts and lies in [0, 1].
        targets: as the metric takes them, clips along the first axis.
        scores: (n, C).
        seed: of the draws.
        resamples: how many times the clips are drawn.
        level: probability inside the interval.
        value: the metric of all clips, if it is known already.

    Returns:
        (low, high); draws in which the metric is NaN are left out, both NaN when it always is. `mean_auc` and
        `mean_average_precision` rank the clips once: 1000 draws of 20 000 clips and 527 classes take minutes.
    """
    targets, scores = np.asarray(targets), np.asarray(scores)
    if len(targets) != len(scores) or len(scores) == 0:
        raise ValueError(
            f"expected targets and scores of as many clips, at least 1, got {len(targets)} and {len(scores)}"
        )
    if resamples < 1 or not 0.0 < level < 1.0:
        raise ValueError(f"expected resamples >= 1 and 0 < level < 1, got resamples={resamples}, level={level}")
    rng = np.random.default_rng(seed)
    if metric in _METRIC_OF_CURVES:
        values = _resample_rankings(_METRIC_OF_CURVES[metric], *_check(targets, scores), rng, resamples)
    else:
        values = []
        for _ in range(resamples):
            drawn = rng.integers(0, len(scores), len(scores))
            values.append(float(metric(targets[drawn], scores[drawn])))
    values = [drawn for drawn in values if not math.isnan(drawn)]
    value = float(metric(targets, scores)) if value is None else value
    if not values or math.isnan(value):
        return math.nan, math.nan
    low, median, high = np.quantile(values, [(1 - level) / 2, 0.5, (1 + level) / 2])
    return max(0.0, value - float(median - low)), min(1.0, value + float(high - median))


@dataclass(frozen=True)
class _Ranking:
    """Clips of one class from the highest score down, and those thresholds (distinct scores) that gain a positive."""

    order: np.ndarray  # (judged clips,) clips
    positives: np.ndarray  # places in `order` that hold a positive clip
    first: np.ndarray  # (thresholds,) places where a threshold's clips begin ...
    last: np.ndarray  # ... and end
    num_positives: np.ndarray  # (thresholds,) how many of `positives` lie up to there

    @classmethod
    def of(cls, target: np.ndarray, score: np.ndarray, judged: np.ndarray) -> "_Ranking":
        order = np.argsort(-score, kind="stable")
        order = order[judged[order]]
        new = np.diff(score[order]) != 0
        first, last = np.flatnonzero(np.append(True, new)), np.flatnonzero(np.append(new, True))
        gains = np.add.reduceat(target[order], first, dtype=np.int64) > 0
        positives = np.flatnonzero(target[order])
        return cls(order, positives, first[gains], last[gains], np.searchsorted(positives, last[gains], side="right"))


@dataclass(frozen=True)
class _Curves:
    """Counts at the thresholds of a ranking, for several draws of the clips: (draws, thresholds)."""

    gained: np.ndarray  # positives at the threshold itself
    true_positives: np.ndarray  # positives up to and including it
    false_positives: np.ndarray  # negatives up to and including it
    false_positives_before: np.ndarray
    negatives: np.ndarray  # (draws, 1) all negatives

    @classmethod
    def of(cls, ranking: _Ranking, counts: np.ndarray) -> "_Curves":
        """`counts` (draws, n) says how often each clip was drawn."""
        drawn = counts[:, ranking.order]
        seen = np.cumsum(drawn, axis=1, dtype=np.int32)
        true = np.cumsum(drawn[:, ranking.positives], axis=1, dtype=np.int32)[:, ranking.num_positives - 1]
        gained = np.diff(true, axis=1, prepend=0)
        false = seen[:, ranking.last] - true
        false_before = seen[:, ranking.first] - drawn[:, ranking.first] - (true - gained)
        return cls(gained, true, false, false_before, seen[:, -1:] - true[:, -1:])


def _average_precision(curves: _Curves) -> np.ndarray:
    """(draws,), NaN without a positive: sum over thresholds of recall gained x precision."""
    with np.errstate(invalid="ignore"):  # 0 / 0: nothing drawn up to a threshold, or no positive at all
        precision = np.nan_to_num(curves.true_positives / (curves.true_positives + curves.false_positives))
        return (curves.gained * precision).sum(axis=1) / curves.true_positives[:, -1]


def _auc(curves: _Curves) -> np.ndarray:
    """(draws,), NaN without a positive or a negative: share of pairs in the right order, a tie counting one half."""
    not_beaten = (curves.false_positives + curves.false_positives_before) / 2
    with np.errstate(invalid="ignore"):
        beaten = (curves.gained * (curves.negatives - not_beaten)).sum(axis=1)
        return beaten / (curves.true_positives[:, -1] * curves.negatives[:, 0].astype(np.float64))


_METRIC_OF_CURVES = {mean_average_precision: _average_precision, mean_auc: _auc}
_COUNTS_AT_A_TIME = 1_000_000


def _resample_rankings(
    metric_of_curves: Callable[[_Curves], np.ndarray],
    targets: np.ndarray,
    scores: np.ndarray,
    judged: np.ndarray,
    rng: np.random.Generator,
    resamples: int,
) -> list[float]:
    """Mean over classes of a metric of the ranking, for each draw of the clips.

    A draw changes how often a clip counts, not its place in the ranking, so every class is sorted once.
    """
    num_clips = len(scores)
    columns = zip(targets.T, scores.T, judged.T, strict=True)
    rankings = [_Ranking.of(target, score, there) for target, score, there in columns if target.any()]
    values: list[float] = []
    while rankings and len(values) < resamples:
        draws = min(resamples - len(values), max(1, _COUNTS_AT_A_TIME // num_clips))
        drawn = [np.bincount(rng.integers(0, num_clips, num_clips), minlength=num_clips) for _ in range(draws)]
        counts = np.stack(drawn).astype(np.int32)
        total, defined = np.zeros(draws), np.zeros(draws)
        for ranking in rankings:
            value = metric_of_curves(_Curves.of(ranking, counts))
            total += np.nan_to_num(value)
            defined += ~np.isnan(value)
        values += [float(t / d) if d else math.nan for t, d in zip(total, defined, strict=True)]
    return values
