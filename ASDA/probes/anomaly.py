"""Is a sound unlike the normal ones? A memory bank of features of normal clips, and scores of others against it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from sklearn.covariance import LedoitWolf
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler

from ..metrics import bootstrap_interval, mean_auc
from .anomaly_tasks import AnomalyTask, require_both
from .study import BOOTSTRAP_SEED, Row

MAX_FALSE_POSITIVE_RATE = 0.1
"""Of the partial AUC, as in DCASE's task 2."""


def knn_anomaly(memory: np.ndarray, features: np.ndarray, neighbours: int) -> np.ndarray:
    """(n,) mean Euclidean distance to the nearest remembered clips, in features scaled by the memory's statistics.

    Args:
        memory: (m, D).
        features: (n, D).
        neighbours: how many; at most m.
    """
    scaler = StandardScaler().fit(memory)
    index = NearestNeighbors(n_neighbors=min(neighbours, len(memory))).fit(scaler.transform(memory))
    return index.kneighbors(scaler.transform(features))[0].mean(axis=1)


def mahalanobis_anomaly(memory: np.ndarray, features: np.ndarray) -> np.ndarray:
    """(n,) Mahalanobis distance from the memory's mean, its covariance shrunk as Ledoit and Wolf (2004) say."""
    fitted = LedoitWolf().fit(memory.astype(np.float64))
    return np.sqrt(np.maximum(fitted.mahalanobis(features.astype(np.float64)), 0.0))


def partial_auc(other: np.ndarray, scores: np.ndarray) -> float:
    """Area for false-positive rates up to 0.1, standardised after McClish (1989): 0.5 is chance, 1 is perfect.

    Args:
        other: (n, 1), which clips are not normal.
        scores: (n, 1), larger = less normal.

    Returns:
        NaN where all clips are of one kind.
    """
    if not 0 < other.sum() < len(other):
        return float("nan")
    return float(roc_auc_score(other.ravel(), scores.ravel(), max_fpr=MAX_FALSE_POSITIVE_RATE))


METRICS: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {"AUC": mean_auc, "pAUC": partial_auc}


def judge_anomaly(
    task: AnomalyTask, features: dict[str, np.ndarray], place: int, neighbours: int, draws: int
) -> list[Row]:
    """A row for each score, of the features at one layer; clips that have none are left out.

    Args:
        task: what is remembered and tested.
        features: (1, L, D) of each path.
        place: of the layer.
        neighbours: of the kNN score.
        draws: bootstrap draws for intervals; 0: none.

    Raises:
        ValueError: too few clips have features.
    """
    tested = [row for row, clip in enumerate(task.test) if clip.path in features]
    memory = [clip for clip in task.memory if clip.path in features]
    task = require_both(replace(task, memory=memory, test=[task.test[row] for row in tested], other=task.other[tested]))
    bank, asked = (np.stack([features[clip.path][0, place] for clip in clips]) for clips in (memory, task.test))
    scores = {
        f"knn (k = {min(neighbours, len(memory))})": knn_anomaly(bank, asked, neighbours),
        "mahalanobis": mahalanobis_anomaly(bank, asked),
    }
    return [_judged(task, name, values, draws) for name, values in scores.items()]


def _judged(task: AnomalyTask, name: str, scores: np.ndarray, draws: int) -> Row:
    row: Row = {"fold": task.name, "score": name, "memory_clips": len(task.memory)}
    row |= {"normal_clips": int((~task.other).sum()), "other_clips": int(task.other.sum())}
    other, column = task.other[:, None], scores[:, None]
    for metric_name, metric in METRICS.items():
        row[metric_name] = metric(other, column)
        if draws:
            row[f"{metric_name}_low"], row[f"{metric_name}_high"] = bootstrap_interval(
                metric, other, column, BOOTSTRAP_SEED, draws, value=row[metric_name]
            )
        row[f"{metric_name}_chance"] = 0.5
    return row
