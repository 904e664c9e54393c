"""The probes by name: they find what is there, hear only of train clips, and agree with sklearn where it has them."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from ASDA.metrics import accuracy, mean_average_precision
from ASDA.probes.methods import METHODS, Circumstances

SETTINGS = {"logistic": 1.0, "linear": 1e-3, "knn": 5, "attentive": 1e-3, "gated": 1e-3}
SLOWEST = ("attentive", "gated")
BY_COST = [pytest.param(name, marks=pytest.mark.long if name in SLOWEST else ()) for name in METHODS]


def clips_of(targets, method, rng, strength=3.0):
    """(rows, L, D) of each clip, whose first features tell its classes, in one layer and in one row."""
    rows, layers = (4 if method.tokens else 1), (3 if method.weighs_layers else 1)
    clips = rng.normal(size=(len(targets), rows, layers, 6)).astype(np.float32)
    clips[:, -1, -1, : targets.shape[1]] += strength * np.nan_to_num(targets)
    return list(clips)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("single_label", [True, False])
def test_methods__find_what_is_there_with_both_kinds_of_labels(name, single_label):
    rng = np.random.default_rng(0)
    single, several = np.eye(3)[rng.integers(0, 3, 160)], (rng.random((160, 3)) < 0.4).astype(float)
    targets = (single if single_label else several).astype(np.float32)
    clips = clips_of(targets, METHODS[name], rng, strength=6.0)
    how = Circumstances(single_label=single_label)
    scores = METHODS[name].fit(clips[:100], targets[:100], clips[100:], SETTINGS[name], how).scores
    assert scores.shape == (60, 3)
    value = accuracy(targets[100:], scores) if single_label else float(mean_average_precision(targets[100:], scores))
    assert value > 0.9


@pytest.mark.usefixtures("few_updates")
@pytest.mark.parametrize("name", METHODS)
def test_methods__the_score_of_a_clip_does_not_depend_on_the_others_that_are_asked(name):
    """Nothing, scaling included, is fitted to the clips that are asked."""
    rng = np.random.default_rng(0)
    targets = np.eye(2, dtype=np.float32)[rng.integers(0, 2, 40)]
    clips = clips_of(targets, METHODS[name], rng)
    outlier = [100 + 50 * clip for clip in clips[30:]]
    together, alone = (
        METHODS[name].fit(clips[:30], targets[:30], asked, SETTINGS[name], Circumstances()).scores
        for asked in (clips[30:] + outlier, clips[30:])
    )
    np.testing.assert_allclose(together[:10], alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", BY_COST)
def test_methods__what_was_not_judged_does_not_train(name):
    """Clips that were not judged for the first class look like it; as negatives they would hide it."""
    rng = np.random.default_rng(0)
    targets = (rng.random((300, 2)) < 0.5).astype(np.float32)
    clips = clips_of(targets, METHODS[name], rng, strength=6.0)
    train = targets[:240].copy()
    train[60:, 0][targets[60:240, 0] == 1] = np.nan
    how = Circumstances(single_label=False)
    partial, as_negatives = (
        METHODS[name].fit(clips[:240], labels, clips[240:], SETTINGS[name], how).scores[:, 0]
        for labels in (train, np.nan_to_num(train))
    )
    has_it = targets[240:, 0] == 1
    asked = np.stack([partial, as_negatives])
    share = (asked > (0.5 if name == "knn" else 0.0))[:, has_it].mean(axis=1)
    assert share[0] > 0.9 > share[1]


@pytest.mark.parametrize("single_label", [True, False])
def test_linear__comes_to_the_optimum_that_sklearn_finds(single_label):
    rng = np.random.default_rng(0)
    n, penalty = 150, 0.1
    labels = rng.integers(0, 3, n + 20)
    targets = np.eye(3, dtype=np.float32)[labels]
    clips = np.stack(clips_of(targets, METHODS["linear"], rng, strength=1.0))
    how = Circumstances(single_label=single_label)
    found = METHODS["linear"].fit(list(clips[:n]), targets[:n], list(clips[n:]), penalty, how).scores
    train = clips[:n, 0, 0]
    scaled, asked = ((x - train.mean(0)) / train.std(0) for x in (train, clips[n:, 0, 0]))
    # mean loss + penalty / 2 |w|^2 is 1 / (n C) of sklearn's C * sum + 1/2 |w|^2, if C = 1 / (n penalty)
    sklearn = LogisticRegression(C=1 / (n * penalty), tol=1e-8, max_iter=5000)
    if single_label:
        expected, found = sklearn.fit(scaled, labels[:n]).predict_log_proba(asked), found - found.max(1, keepdims=True)
        found = found - np.log(np.exp(found).sum(axis=1, keepdims=True))
    else:
        expected = np.stack([sklearn.fit(scaled, labels[:n] == c).decision_function(asked) for c in range(3)], axis=1)
    np.testing.assert_allclose(found, expected, atol=0.05)


def test_gated__weighs_the_layer_that_knows():
    rng = np.random.default_rng(0)
    targets = np.eye(2, dtype=np.float32)[rng.integers(0, 2, 120)]
    clips = rng.normal(size=(120, 1, 3, 4)).astype(np.float32)
    clips[:, 0, 1, 0] += 6 * targets[:, 0]
    fit = METHODS["gated"].fit(list(clips[:80]), targets[:80], list(clips[80:]), 1e-2, Circumstances())
    assert sum(fit.layer_weights) == pytest.approx(1) and min(fit.layer_weights) >= 0
    assert fit.layer_weights[1] > 0.8


@pytest.mark.usefixtures("few_updates")
def test_gated__of_one_layer_is_the_linear_probe():
    rng = np.random.default_rng(0)
    targets = np.eye(2, dtype=np.float32)[rng.integers(0, 2, 60)]
    clips = clips_of(targets, METHODS["linear"], rng)
    gated, linear = (
        METHODS[name].fit(clips[:40], targets[:40], clips[40:], 1e-3, Circumstances()).scores
        for name in ("gated", "linear")
    )
    np.testing.assert_allclose(gated, linear, atol=1e-5)


@pytest.mark.usefixtures("few_updates")
def test_methods__of_one_seed_are_repeatable_to_the_bit_and_leave_the_global_generator_alone():
    rng = np.random.default_rng(0)
    targets = np.eye(2, dtype=np.float32)[rng.integers(0, 2, 150)]
    clips = clips_of(targets, METHODS["linear"], rng, strength=1.0)
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first, again, other = (
        METHODS["linear"].fit(clips[:130], targets[:130], clips[130:], 1e-3, Circumstances(seed)).scores
        for seed in (1, 1, 2)
    )
    assert torch.rand(1) == expected
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
