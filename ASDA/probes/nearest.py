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
    of its classes with weight exp(s / TEMPERATURE), and votes are divided by the sum of the weights. Neighbours are
    sought for each class among the clips that were judged for it; a class of which none was is scored 0.

    Args:
        train_features: (m, D).
        train_targets: (m, C), 1 where a clip has the class, NaN where it was not judged.
        eval_features: (n, D).
        neighbours: how many vote; at most all train clips.
    """
    scores = np.zeros((len(eval_features), train_targets.shape[1]))
    judged, alike = np.unique(~np.isnan(train_targets), axis=1, return_inverse=True)
    for number, rows in enumerate(judged.T):
        if rows.any():
            classes = alike.ravel() == number  # they were judged in the same clips, often all classes in all of them
            scores[:, classes] = _votes(
                train_features[rows], train_targets[rows][:, classes], eval_features, neighbours
            )
    return scores


def _votes(memory: np.ndarray, targets: np.ndarray, features: np.ndarray, neighbours: int) -> np.ndarray:
    scaler = StandardScaler().fit(memory)
    index = NearestNeighbors(n_neighbors=min(neighbours, len(memory)), metric="cosine").fit(scaler.transform(memory))
    distances, rows = index.kneighbors(scaler.transform(features))
    weights = np.exp(-(distances - distances[:, :1]) / TEMPERATURE)  # the nearest's is 1: nothing can overflow
    votes = np.zeros((len(features), targets.shape[1]))
    for weight, row in zip(weights.T, rows.T, strict=True):  # the first neighbours of all clips, the second, ...
        votes += weight[:, None] * targets[row]
    return votes / weights.sum(axis=1, keepdims=True)
