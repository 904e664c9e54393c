"""The logistic regressions: what they find, what they cannot, and which clips they hear of."""

import numpy as np
from sklearn.linear_model import LogisticRegression

from ASDA.metrics import mean_average_precision
from ASDA.probes.logistic import logistic_scores


def test_logistic__is_sklearns_on_features_scaled_by_the_train_clips():
    rng = np.random.default_rng(0)
    train, held_out = rng.normal(3, 5, size=(60, 4)), rng.normal(size=(9, 4))
    targets = np.stack([train[:, 0] + rng.normal(size=60) > 3, rng.random(60) < 0.5], axis=1)
    found = logistic_scores(train, targets.astype(np.float32), held_out, 0.5)
    for index, target in enumerate(targets.T):
        naive = LogisticRegression(C=0.5, max_iter=2000).fit((train - train.mean(0)) / train.std(0), target)
        asked = (held_out - train.mean(0)) / train.std(0)
        np.testing.assert_allclose(found[:, index], asked @ naive.coef_[0] + naive.intercept_, atol=1e-6)


def test_logistic__separable_classes_are_found_and_noise_is_not():
    rng = np.random.default_rng(0)
    targets = (rng.random((400, 3)) < 0.3).astype(np.float32)
    features = rng.normal(size=(400, 20)).astype(np.float32)
    features[:, :2] += 6.0 * targets[:, :2]  # nothing tells the third class
    scores = logistic_scores(features[:200], targets[:200], features[200:], regularisation=0.1)
    per_class = mean_average_precision(targets[200:], scores).per_class
    assert min(per_class[:2]) > 0.98
    assert per_class[2] < 0.5


def test_logistic__a_class_that_no_clip_has_is_never_the_answer_and_one_that_all_have_always():
    rng = np.random.default_rng(0)
    targets = np.stack([rng.random(50) < 0.5, np.zeros(50), np.ones(50)], axis=1).astype(np.float32)
    scores = logistic_scores(rng.normal(size=(50, 4)), targets, rng.normal(size=(9, 4)), regularisation=0.1)
    assert scores[:, 0].std() > 0 and scores[:, 1:].std(axis=0).max() == 0
    assert (scores.argmax(axis=1) == 2).all() and (scores.argmin(axis=1) == 1).all()


def test_logistic__what_was_not_judged_does_not_train():
    """A feature that tells the class; the clips that were not judged have it, and as negatives would hide it."""
    features = np.concatenate([np.ones((20, 1)), np.zeros((20, 1)), np.ones((400, 1))])
    targets = np.concatenate([np.ones((20, 1)), np.zeros((20, 1)), np.full((400, 1), np.nan)])
    scores = logistic_scores(features, targets, np.array([[1.0], [0.0]]), regularisation=10.0)
    alone = logistic_scores(features[:40], targets[:40], np.array([[1.0], [0.0]]), regularisation=10.0)
    np.testing.assert_array_equal(scores, alone)
    assert scores[0, 0] > 0 > scores[1, 0]


def test_logistic__a_class_that_all_judged_clips_have_is_above_the_others():
    targets = np.array([[1, 1], [1, 0], [np.nan, 1], [np.nan, 0]])
    scores = logistic_scores(np.arange(4.0)[:, None], targets, np.array([[0.0], [9.0]]), 1.0)
    assert (scores[:, 0] > scores[:, 1]).all()
