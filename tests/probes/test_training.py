"""How features are scaled and batched for heads."""

import numpy as np

from ASDA.probes.training import BATCH_SIZE, Scaling


def clips_of(count, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.normal(3, 5, size=(1 + number % 4, 2, 3)).astype(np.float32) for number in range(count)]


def test_scaling__is_by_the_statistics_of_all_rows():
    clips = clips_of(2 * BATCH_SIZE + 5)
    rows = np.concatenate(clips).astype(np.float64)
    scaling = Scaling(clips)
    np.testing.assert_allclose(scaling.mean, rows.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(scaling.deviation, rows.std(axis=0), rtol=1e-5)


def test_scaling__a_batch_has_each_clip_s_rows_and_then_padding():
    clips = clips_of(9)
    scaling = Scaling(clips)
    features, padding_mask = scaling.batch(clips)
    assert features.shape == (9, 4, 2, 3)
    for clip, found, padding in zip(clips, features, padding_mask, strict=True):
        assert padding.tolist() == [False] * len(clip) + [True] * (4 - len(clip))
        np.testing.assert_allclose(found[: len(clip)], (clip - scaling.mean) / scaling.deviation, rtol=1e-6)
        assert not found[len(clip) :].any()


def test_scaling__what_never_changes_is_not_blown_up():
    clips = [np.full((2, 1, 1), 0.1, np.float32) for _ in range(70)]
    features, _ = Scaling(clips).batch([np.full((1, 1, 1), 0.3, np.float32)])
    assert abs(float(features)) < 1
