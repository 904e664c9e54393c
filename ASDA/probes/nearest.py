"""Nearest neighbours: the classes of the train clips that lie closest, without anything trained."""

from __future__ import annotations

import numpy as np
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler

TEMPERATURE = 0.07
"""Of the neighbours' votes (Wu et al. 2018, section 3.4)."""


def knn_scores(
    train_features: np.ndarray, train_targets: np.ndarray, eval_features: np.ndarray, neighbours: int
) -> np.ndarray:
    """Votes (n, C) of the nearest train clips for each class, in [0, 1].

    Features (n, D) are scaled by the statistics of the train clips; a neighbour of cosine similarity s votes for each
    of its classes with weight exp(s / TEMPERATURE), and votes are divided by the sum of the weights.

    Args:
        neighbours: how many vote; at most all train clips.
    """
    scaler = StandardScaler().fit(train_features)
    index = NearestNeighbors(n_neighbors=min(neighbours, len(train_features)), metric="cosine")
    index.fit(scaler.transform(train_features))
    distances, rows = index.kneighbors(scaler.transform(eval_features))
    weights = np.exp(-(distances - distances[:, :1]) / TEMPERATURE)  # the nearest's is 1: nothing can overflow
    votes = (weights[..., None] * train_targets[rows]).sum(axis=1)
    return votes / weights.sum(axis=1, keepdims=True)
