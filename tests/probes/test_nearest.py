"""Nearest neighbours: their votes against naive ones and sklearn's."""

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from ASDA.probes.nearest import TEMPERATURE, knn_scores


def naive_votes(train, target, clips, neighbours):
    """Of one class, clip by clip, among the train clips that were judged."""
    train, target = train[~np.isnan(target)], target[~np.isnan(target)]
    mean, deviation = train.mean(0), train.std(0)
    votes = []
    for clip in (clips - mean) / deviation:
        cosine = [(x @ clip) / np.linalg.norm(x) / np.linalg.norm(clip) for x in (train - mean) / deviation]
        nearest = np.argsort(cosine)[::-1][:neighbours]
        weights = np.exp(np.array(cosine)[nearest] / TEMPERATURE)
        votes.append(weights @ target[nearest] / weights.sum())
    return votes


@pytest.mark.parametrize("partial", [False, True])
@pytest.mark.parametrize("neighbours", [1, 4, 100])
def test_knn_scores__are_a_naive_vote(neighbours, partial):
    rng = np.random.default_rng(0)
    train, held_out = rng.normal(2, 3, size=(30, 5)), rng.normal(size=(6, 5))
    targets = (rng.random((30, 3)) < 0.4).astype(np.float64)
    if partial:
        targets[rng.random((30, 3)) < 0.3] = np.nan
    found = knn_scores(train, targets, held_out, neighbours)
    for index, target in enumerate(targets.T):
        np.testing.assert_allclose(found[:, index], naive_votes(train, target, held_out, neighbours), atol=1e-9)


def test_knn_scores__with_one_neighbour_are_sklearns_answers():
    rng = np.random.default_rng(1)
    train, held_out, classes = rng.normal(size=(40, 5)), rng.normal(size=(20, 5)), rng.integers(0, 3, 40)
    scaled, asked = ((x - train.mean(0)) / train.std(0) for x in (train, held_out))
    expected = KNeighborsClassifier(1, metric="cosine").fit(scaled, classes).predict(asked)
    found = knn_scores(train, np.eye(3)[classes], held_out, 1)
    np.testing.assert_array_equal(found.argmax(axis=1), expected)


def test_knn_scores__a_class_of_which_nothing_was_judged_is_scored_0():
    targets = np.array([[1.0, np.nan], [0.0, np.nan]])
    assert knn_scores(np.eye(2), targets, np.eye(2), 1).tolist() == [[1.0, 0.0], [0.0, 0.0]]
