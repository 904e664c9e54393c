"""Probes: they find what is in the features; neighbours and distances against naive ones."""

import numpy as np
import pytest
import torch

from ASDA.metrics import accuracy
from ASDA.probes.anomaly import knn_anomaly, mahalanobis_anomaly
from ASDA.probes.cache import FeatureCache
from ASDA.probes.heads import AttentiveHead, GatedHead, LinearHead
from ASDA.probes.logistic import logistic_scores
from ASDA.probes.methods import METHODS, Circumstances
from ASDA.probes.nearest import TEMPERATURE, knn_scores


def test_logistic__an_untold_class_is_never_the_answer():
    rng = np.random.default_rng(0)
    targets = np.eye(3, dtype=bool)[rng.integers(0, 2, 60)]
    scores = logistic_scores(rng.normal(size=(60, 4)), targets, rng.normal(size=(9, 4)), 0.1)
    assert (scores.argmax(axis=1) != 2).all()


def test_knn_scores__are_a_naive_vote():
    rng = np.random.default_rng(0)
    train, held_out, targets = rng.normal(size=(30, 5)), rng.normal(size=(6, 5)), rng.random((30, 3)) < 0.4
    scaled, asked = ((x - train.mean(0)) / train.std(0) for x in (train, held_out))
    for clip, found in zip(asked, knn_scores(train, targets, held_out, 4), strict=True):
        cosine = scaled @ clip / np.linalg.norm(scaled, axis=1) / np.linalg.norm(clip)
        nearest = np.argsort(-cosine)[:4]
        weights = np.exp(cosine[nearest] / TEMPERATURE)
        np.testing.assert_allclose(found, weights @ targets[nearest] / weights.sum(), atol=1e-9)


def test_anomaly__distances_are_naive_ones():
    rng = np.random.default_rng(0)
    memory, test = rng.normal(size=(40, 3)), rng.normal(size=(5, 3))
    scaled, asked = ((x - memory.mean(0)) / memory.std(0) for x in (memory, test))
    expected = [np.sort(np.linalg.norm(scaled - clip, axis=1))[:2].mean() for clip in asked]
    np.testing.assert_allclose(knn_anomaly(memory, test, 2), expected)
    assert mahalanobis_anomaly(memory, memory.mean(0)[None])[0] == pytest.approx(0, abs=1e-6)


def test_gated__finds_the_planted_layer():
    rng = np.random.default_rng(0)
    targets = np.eye(2, dtype=bool)[rng.integers(0, 2, 120)]
    clips = rng.normal(size=(120, 1, 3, 4)).astype(np.float32)
    clips[:, 0, 1, 0] += 4 * targets[:, 0]
    fit = METHODS["gated"].fit(clips[:80], targets[:80], clips[80:], 1e-3, Circumstances())
    assert sum(fit.layer_weights) == pytest.approx(1) and min(fit.layer_weights) >= 0
    assert np.argmax(fit.layer_weights) == 1 and accuracy(targets[80:], fit.scores) > 0.9


def test_cache__is_found_again_and_refuses_a_damaged_part(tmp_path):
    cache = FeatureCache(tmp_path, {"weights": "a"})
    cache.put("x", np.ones((2, 3, 4), np.float32), 50)
    cache.flush()
    again = FeatureCache(tmp_path, {"weights": "a"})
    assert "x" in again and again["x"].shape == (2, 3, 4) and again.num_frames["x"] == 50
    assert "x" not in FeatureCache(tmp_path, {"weights": "b"})
    next(again.folder.glob("*.npy")).write_bytes(b"")
    with pytest.raises(ValueError, match="damaged"):
        FeatureCache(tmp_path, {"weights": "a"})


def test_heads__at_the_start_are_a_mean():
    features, mask = torch.rand(2, 5, 1, 4), torch.zeros(2, 5, dtype=torch.bool)
    attentive, linear = AttentiveHead(4, 3), LinearHead(4, 3)
    torch.nn.init.normal_(linear.linear.weight)
    attentive.linear = linear.linear
    torch.testing.assert_close(attentive(features, mask), linear(features.mean(1, keepdim=True), mask))
    assert float(GatedHead(4, 3, 6).layer_weights.sum().detach()) == pytest.approx(1)
