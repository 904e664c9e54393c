"""Metrics against oracles with explicit loops in float64 and against closed forms."""

import math

import numpy as np
import pytest
import torch

from ASDA.metrics import (
    accuracy,
    average_precision_per_class,
    bootstrap_interval,
    chance_accuracy,
    chance_average_precision,
    confusion_matrix,
    d_prime,
    mean_auc,
    mean_average_precision,
)


def naive_average_precision(target, score) -> float:
    """Sum over distinct scores, from high to low, of (recall gained) x (precision at that threshold)."""
    positives = sum(target)
    if positives == 0:
        return math.nan
    total, found_before = 0.0, 0
    for threshold in sorted(set(score), reverse=True):
        returned = [t for t, s in zip(target, score, strict=True) if s >= threshold]
        found = sum(returned)
        total += (found - found_before) / positives * found / len(returned)
        found_before = found
    return total


def naive_auc(target, score) -> float:
    """Share of (positive, negative) pairs in the right order; a tie counts one half."""
    wins = [
        (p > n) + 0.5 * (p == n)
        for p, tp in zip(score, target, strict=True)
        if tp
        for n, tn in zip(score, target, strict=True)
        if not tn
    ]
    return sum(wins) / len(wins)


def multi_label(num_clips: int, num_classes: int, seed: int = 0, levels: int = 6):
    """Targets of different frequencies and scores with many ties."""
    rng = np.random.default_rng(seed)
    targets = (rng.random((num_clips, num_classes)) < np.linspace(0.02, 0.9, num_classes)).astype(np.int64)
    scores = np.round((rng.random((num_clips, num_classes)) + 0.5 * targets) * levels) / levels
    return targets, scores


@pytest.mark.parametrize("num_clips", [1, 2, 7, 60])
def test_average_precision__naive_oracle(num_clips):
    targets, scores = multi_label(num_clips, 9)
    expected = [naive_average_precision(t.tolist(), s.tolist()) for t, s in zip(targets.T, scores.T, strict=True)]
    result = average_precision_per_class(targets, scores)
    assert result.dtype == np.float64
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-12)


def test_mean_average_precision__leaves_out_and_counts_classes_without_positive():
    targets = np.array([[1, 0, 0], [0, 0, 1]])
    scores = np.array([[0.9, 0.1, 0.8], [0.2, 0.3, 0.4]])
    result = mean_average_precision(torch.from_numpy(targets), torch.from_numpy(scores))
    assert result.value == pytest.approx((1.0 + 0.5) / 2)
    assert result.num_skipped_classes == 1 and math.isnan(result.per_class[1])
    assert type(result.value) is float and all(type(value) is float for value in result.per_class)


@pytest.mark.parametrize("num_clips", [0, 3])
def test_mean_average_precision__nan_when_no_class_has_a_positive(num_clips):
    result = mean_average_precision(np.zeros((num_clips, 4)), np.zeros((num_clips, 4)))
    assert math.isnan(result.value) and result.num_skipped_classes == 4


def test_mean_average_precision__perfect_and_inverted_ranking():
    targets = np.eye(5)
    assert mean_average_precision(targets, targets).value == 1.0
    assert mean_average_precision(targets, 1 - targets).value == pytest.approx(1 / 5)


def test_accuracy__indices_and_one_hot():
    scores = np.array([[0.1, 0.9], [0.8, 0.2], [0.5, 0.5], [0.3, 0.7]])
    classes = np.array([1, 0, 1, 0])
    assert accuracy(classes, scores) == accuracy(np.eye(2)[classes], scores) == 0.5
    assert type(accuracy(classes, scores)) is float
    assert accuracy(np.ones((4, 2)), scores) == 1.0
    assert math.isnan(accuracy(classes[:0], scores[:0]))
    with pytest.raises(ValueError, match="class of clip 2 is 2, expected 0 to 1"):
        accuracy([0, 1, 2, 0], scores)


def test_mean_auc__naive_oracle():
    targets, scores = multi_label(40, 6)
    targets[:, 0], targets[:, 1] = 0, 1  # classes without a positive or without a negative are left out
    expected = [naive_auc(t.tolist(), s.tolist()) for t, s in zip(targets.T[2:], scores.T[2:], strict=True)]
    assert mean_auc(targets, scores) == pytest.approx(np.mean(expected), abs=1e-12)
    assert type(mean_auc(targets, scores)) is float
    assert math.isnan(mean_auc(np.ones((3, 2)), np.zeros((3, 2))))


def test_d_prime__distance_of_two_gaussians():
    rng = np.random.default_rng(0)
    positives, negatives = rng.normal(1.5, 1, 4000), rng.normal(0, 1, 4000)
    targets = np.concatenate([np.ones(4000), np.zeros(4000)])[:, None]
    auc = mean_auc(targets, np.concatenate([positives, negatives])[:, None])
    assert d_prime(auc) == pytest.approx(1.5, abs=0.1)
    assert d_prime(0.5) == 0.0
    assert d_prime(1.0) == math.inf and d_prime(0.0) == -math.inf and math.isnan(d_prime(math.nan))
    with pytest.raises(ValueError, match="1.2"):
        d_prime(1.2)


@pytest.mark.parametrize(
    ("targets", "scores", "message"),
    [
        ([[1, 0]], [[0.1, math.nan]], "clip 0, class 1 is nan"),
        ([[1, 0]], [[math.inf, 0.1]], "clip 0, class 0 is inf"),
        ([[1, 0.5]], [[0.1, 0.2]], "clip 0, class 1 is 0.5"),
        ([[1, 0]], [[0.1, 0.2, 0.3]], r"\(1, 2\) and \(1, 3\)"),
    ],
)
def test_metrics__refuse_bad_input_by_name(targets, scores, message):
    for metric in (average_precision_per_class, mean_auc, accuracy):
        with pytest.raises(ValueError, match=message):
            metric(targets, scores)


def test_bootstrap_interval__matches_the_binomial():
    rng = np.random.default_rng(0)
    classes = rng.integers(0, 2, 500)
    hits = rng.random(500) < 0.8
    scores = np.eye(2)[np.where(hits, classes, 1 - classes)]
    low, high = bootstrap_interval(accuracy, classes, scores, seed=1, resamples=500)
    half_width = 1.96 * math.sqrt(hits.mean() * (1 - hits.mean()) / 500)
    assert low == pytest.approx(hits.mean() - half_width, abs=0.01)
    assert high == pytest.approx(hits.mean() + half_width, abs=0.01)
    assert (low, high) == bootstrap_interval(accuracy, classes, scores, seed=1, resamples=500)
    narrow_low, narrow_high = bootstrap_interval(accuracy, classes, scores, seed=1, resamples=500, level=0.5)
    assert low < narrow_low < narrow_high < high


def labelled_clips(rng, num_clips=2000, num_classes=100, positives=8):
    """Targets and scores of a test set whose classes are of every difficulty."""
    targets = rng.random((num_clips, num_classes)) < positives / num_clips
    return targets, rng.normal(size=targets.shape) + np.linspace(0.5, 3.0, num_classes) * targets


def map_without_ties(targets, scores):
    ranked = np.take_along_axis(targets, np.argsort(-scores, axis=0), axis=0)
    ranked = ranked[:, ranked.any(axis=0)]
    precision = ranked.cumsum(axis=0) / np.arange(1, len(ranked) + 1)[:, None]
    return ((precision * ranked).sum(axis=0) / ranked.sum(axis=0)).mean()


def auc_without_ties(targets, scores):
    ranked = np.take_along_axis(targets, np.argsort(scores, axis=0), axis=0)
    ranked = ranked[:, ranked.any(axis=0)]
    beaten = ((~ranked).cumsum(axis=0) * ranked).sum(axis=0)
    return (beaten / (ranked.sum(axis=0) * (~ranked).sum(axis=0))).mean()


@pytest.mark.long
@pytest.mark.parametrize(
    ("metric", "quick"), [(mean_average_precision, map_without_ties), (mean_auc, auc_without_ties)]
)
def test_bootstrap_interval__covers_what_it_should_and_its_own_value(metric, quick):
    """Many small test sets of one kind: nominal 95 % of their intervals hold the mean over such sets."""
    rng, repetitions, inside = np.random.default_rng(0), 100, 0
    expected = np.mean([quick(*labelled_clips(rng)) for _ in range(150)])
    for repetition in range(repetitions):
        targets, scores = labelled_clips(rng)
        value = quick(targets, scores)
        low, high = bootstrap_interval(metric, targets, scores, seed=repetition, resamples=80, value=value)
        assert low <= value <= high
        inside += low <= expected <= high
    assert 0.85 <= inside / repetitions <= 1.0


def test_bootstrap_interval__covers_the_accuracy():
    rng = np.random.default_rng(0)
    inside = 0
    for repetition in range(200):
        hits = rng.random(300) < 0.9
        scores = np.stack([hits, ~hits], axis=1).astype(float)
        low, high = bootstrap_interval(accuracy, np.zeros(300, dtype=int), scores, seed=repetition, resamples=100)
        assert low <= hits.mean() <= high
        inside += low <= 0.9 <= high
    assert 0.85 <= inside / 200 <= 1.0


@pytest.mark.parametrize("metric", [mean_average_precision, mean_auc, accuracy])
def test_bootstrap_interval__stays_where_the_metric_can_be(metric):
    targets = np.eye(4, dtype=int)[np.arange(12) % 4]
    noise = np.random.default_rng(0).normal(0, 0.4, targets.shape)
    for scores in (targets.astype(float), targets + noise, 1.0 - targets):
        low, high = bootstrap_interval(metric, targets, scores, seed=0, resamples=50)
        assert 0.0 <= low <= float(metric(targets, scores)) <= high <= 1.0


def test_bootstrap_interval__map_contains_the_estimate():
    targets, scores = multi_label(50, 5)
    low, high = bootstrap_interval(mean_average_precision, targets, scores, seed=0, resamples=50)
    assert low < mean_average_precision(targets, scores).value < high and type(low) is float
    nothing = bootstrap_interval(mean_average_precision, targets * 0, scores, seed=0, resamples=3)
    assert all(math.isnan(value) for value in nothing)
    with pytest.raises(ValueError, match="at least 1, got 0 and 0"):
        bootstrap_interval(accuracy, targets[:0], scores[:0], seed=0)
    with pytest.raises(ValueError, match="resamples=0"):
        bootstrap_interval(accuracy, targets, scores, seed=0, resamples=0)


@pytest.mark.parametrize("metric", [mean_average_precision, mean_auc])
def test_bootstrap_interval__ranking_once_equals_evaluating_each_draw(metric, monkeypatch):
    monkeypatch.setattr("ASDA.metrics._COUNTS_AT_A_TIME", 100)  # several batches of draws
    targets, scores = multi_label(12, 7)  # so few clips that some draws hold no positive of a class
    ranked_once = bootstrap_interval(metric, targets, scores, seed=5, resamples=40)
    each_draw = bootstrap_interval(lambda t, s: float(metric(t, s)), targets, scores, seed=5, resamples=40)
    assert ranked_once == pytest.approx(each_draw, abs=1e-12)


def test_confusion_matrix__counts_what_each_class_was_taken_for():
    targets = np.eye(3)[[0, 0, 1, 1, 1]]
    scores = np.array([[0.9, 0.1, 0.0], [0.2, 0.3, 0.5], [0.1, 0.8, 0.1], [0.6, 0.3, 0.1], [0.4, 0.4, 0.2]])
    matrix = confusion_matrix(targets, scores)
    assert matrix.tolist() == [[1, 0, 1], [2, 1, 0], [0, 0, 0]]  # of equal scores the first class counts
    assert np.trace(matrix) / matrix.sum() == accuracy(targets, scores)


@pytest.mark.parametrize(("row", "number"), [([1, 1], 2), ([0, 0], 0)])
def test_confusion_matrix__needs_one_label_per_clip(row, number):
    with pytest.raises(ValueError, match=f"clip 1 has {number} labels, expected one"):
        confusion_matrix([[0, 1], row], [[0.1, 0.2], [0.3, 0.1]])


def test_chance_accuracy__is_that_of_the_best_constant_answer():
    targets = np.eye(3)[[0, 1, 1, 2, 1]]
    constant = [accuracy(targets, np.tile(np.eye(3)[c], (5, 1))) for c in range(3)]
    assert chance_accuracy(targets) == max(constant) == 0.6
    assert math.isnan(chance_accuracy(np.zeros((0, 3))))


def test_chance_average_precision__is_the_map_of_scores_that_say_nothing():
    rng = np.random.default_rng(0)
    targets = rng.random((400, 4)) < [0.5, 0.2, 0.1, 0.0]
    blind = [float(mean_average_precision(targets, rng.random((400, 4)))) for _ in range(50)]
    assert chance_average_precision(targets) == pytest.approx(np.mean(blind), abs=0.02)
    assert chance_average_precision(targets) == float(mean_average_precision(targets, np.zeros((400, 4))))
    assert math.isnan(chance_average_precision(np.zeros((3, 2))))


def partial(targets, share: float = 0.3, seed: int = 1):
    """Targets of which a share was judged, NaN elsewhere."""
    return np.where(np.random.default_rng(seed).random(targets.shape) < share, targets.astype(float), np.nan)


def test_metrics__of_partial_labels_are_those_of_the_judged_clips_of_each_class():
    targets, scores = multi_label(60, 9)
    known = partial(targets)
    judged = [~np.isnan(column) for column in known.T]
    each = [(targets[there, c].tolist(), scores[there, c].tolist()) for c, there in enumerate(judged)]
    expected = [naive_average_precision(*pair) for pair in each]
    np.testing.assert_allclose(average_precision_per_class(known, scores), expected, atol=1e-12)
    assert np.isnan(expected).any()  # a class of which no judged clip is positive
    areas = [naive_auc(*pair) for pair in each if 0 < sum(pair[0]) < len(pair[0])]
    assert mean_auc(known, scores) == pytest.approx(np.mean(areas))
    shares = [np.mean(pair[0]) for pair in each if sum(pair[0])]
    assert chance_average_precision(known) == pytest.approx(np.mean(shares))


def test_metrics__what_was_not_judged_changes_nothing():
    targets, scores = multi_label(60, 9)
    known, others = partial(targets), scores.copy()
    others[np.isnan(known)] = np.random.default_rng(2).random(np.isnan(known).sum())
    for metric in (mean_auc, mean_average_precision):
        assert float(metric(known, others)) == float(metric(known, scores))
        assert bootstrap_interval(metric, known, others, 1, 50) == bootstrap_interval(metric, known, scores, 1, 50)
    everything = partial(targets, share=1.0)
    assert float(mean_average_precision(everything, scores)) == float(mean_average_precision(targets, scores))


@pytest.mark.parametrize("metric", [mean_average_precision, mean_auc])
def test_bootstrap_interval__of_partial_labels_equals_evaluating_each_draw(metric, monkeypatch):
    targets, scores = multi_label(40, 6)
    known = partial(targets, 0.5)
    quick = bootstrap_interval(metric, known, scores, seed=3, resamples=60)
    monkeypatch.setattr("ASDA.metrics._METRIC_OF_CURVES", {})
    assert quick == pytest.approx(bootstrap_interval(metric, known, scores, seed=3, resamples=60), abs=1e-12)


def test_metrics__that_need_every_class_judged_say_so():
    targets = np.array([[1.0, 0.0], [np.nan, 1.0]])
    for metric in (accuracy, confusion_matrix):
        with pytest.raises(ValueError, match="clip 1 was not judged for class 0"):
            metric(targets, np.ones((2, 2)))
