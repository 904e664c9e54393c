"""Augmentation: reproducible from its key alone, of the stated distribution, without the global random state."""

import numpy as np
import pytest
import torch
import torchaudio

from ASDA.audio import add_noise_and_roll, draw_mixup_weight, mixup, roll_and_scale, spec_augment
from ASDA.randomness import clip_generator


@pytest.fixture(autouse=True)
def global_state_untouched():
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
    yield
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert np.array_equal(np.random.get_state()[1], numpy_state)


def test_clip_generator__depends_on_the_whole_key():
    def first(*key):
        return torch.rand(1, generator=clip_generator(*key)).item()

    draws = [first(*key) for key in [(1,), (1, 0), (0, 1), (1, 1), (11,), (-1, 1), (1, 2, 3), (12, 3)]]
    assert len(set(draws)) == len(draws)
    assert first(1, 2, 3) == first(np.int64(1), np.int32(2), 3)
    # Written down so that a change of the hash, which would change every resumed run, cannot go unnoticed.
    assert clip_generator(1, 2, 3).initial_seed() == 3034334815109854690


def test_roll_and_scale__is_a_scaled_rotation():
    waveform = torch.arange(1.0, 101.0)
    scales, shifts = [], set()
    for index in range(2000):
        result = roll_and_scale(waveform, clip_generator(0, index))
        shift = int(result.argmin())
        scale = result.min().item()
        torch.testing.assert_close(result, torch.roll(waveform, shift) * scale)
        scales.append(scale)
        shifts.add(shift)
    assert shifts == set(range(100))
    # Beta(10, 10) + 0.5: mean 1, variance 1/84.
    assert np.mean(scales) == pytest.approx(1.0, abs=0.01)
    assert np.var(scales) == pytest.approx(1 / 84, rel=0.1)
    assert roll_and_scale(waveform[:0], clip_generator(0)).shape == (0,)


def test_add_noise_and_roll__bounds_of_noise_and_shift():
    spectrogram = torch.arange(50.0)[:, None].expand(50, 4) * 10
    shifts, strengths = set(), []
    for index in range(400):
        result = add_noise_and_roll(spectrogram, clip_generator(1, index))
        shift = int(result[:, 0].argmin())
        noise = torch.roll(result, -shift, dims=0) - spectrogram
        assert noise.min() >= -1e-4 and noise.max() < 0.1 + 1e-4
        shifts.add(shift if shift <= 25 else shift - 50)
        strengths.append(noise.max().item())
    assert shifts == set(range(-10, 11))
    assert min(strengths) < 0.01 and max(strengths) > 0.09


def torchaudio_masks(spectrograms, seeds, freq_width, time_width):
    """torchaudio's masking of each example on its own, in a forked global state."""
    masked = []
    for spectrogram, seed in zip(spectrograms, seeds.tolist(), strict=True):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            example = spectrogram.transpose(-1, -2)  # (1, F, T)
            example = torchaudio.functional.mask_along_axis_iid(example, freq_width, 0.0, axis=1)
            example = torchaudio.functional.mask_along_axis_iid(example, time_width, 0.0, axis=2)
            masked.append(example.transpose(-1, -2))
    return torch.stack(masked)


@pytest.mark.parametrize(("freq_width", "time_width"), [(25, 30), (1, 1), (64, 100)])
def test_spec_augment__equals_torchaudio_example_by_example(freq_width, time_width):
    spectrograms = torch.rand(8, 1, 100, 64, generator=torch.Generator().manual_seed(0)) + 1.0
    seeds = torch.arange(8) * 7919
    result = spec_augment(spectrograms, seeds, freq_width, time_width)
    assert torch.equal(result, torchaudio_masks(spectrograms, seeds, freq_width, time_width))
    kept = result != 0
    assert torch.equal(result[kept], spectrograms[kept])


def test_spec_augment__depends_on_each_examples_seed_only():
    spectrograms = torch.ones(3, 1, 40, 16)
    seeds = torch.tensor([5, 6, 2**62])
    together = spec_augment(spectrograms, seeds, 8, 20)
    for i in range(3):
        assert torch.equal(spec_augment(spectrograms[i : i + 1], seeds[i : i + 1], 8, 20)[0], together[i])
    assert not torch.equal(together[0], together[1])
    assert torch.equal(spec_augment(spectrograms, seeds, 0, 0), spectrograms)
    assert spec_augment(spectrograms[:0], seeds[:0], 8, 20).shape == (0, 1, 40, 16)


def test_spec_augment__refuses_widths_beyond_the_axis():
    with pytest.raises(ValueError, match=r"time_width .*\(40\), got 200"):
        spec_augment(torch.ones(1, 1, 40, 16), torch.zeros(1, dtype=torch.int64), 8, 200)
    with pytest.raises(ValueError, match="expected 1 seeds"):
        spec_augment(torch.ones(1, 1, 40, 16), torch.zeros(2, dtype=torch.int64), 8, 20)


def test_mixup__mixes_with_the_reversed_batch():
    generator = torch.Generator().manual_seed(0)
    source, target = torch.rand(3, 1, 4, 5, generator=generator), torch.rand(3, 7, generator=generator)
    mixed_source, mixed_target = mixup(source, target, 0.3)
    for i in range(3):
        torch.testing.assert_close(mixed_source[i], 0.3 * source[i] + 0.7 * source[2 - i])
        torch.testing.assert_close(mixed_target[i], 0.3 * target[i] + 0.7 * target[2 - i])
    unmixed = mixup(source, target, 1.0)
    assert torch.equal(unmixed[0], source) and torch.equal(unmixed[1], target)


def test_draw_mixup_weight__distribution():
    generator = clip_generator(3)
    draws = np.array([draw_mixup_weight(generator, alpha=0.8, prob=0.75) for _ in range(4000)])
    mixed = draws[draws != 1.0]
    assert len(mixed) / len(draws) == pytest.approx(0.75, abs=0.03)
    assert mixed.mean() == pytest.approx(0.5, abs=0.03)
    assert mixed.var() == pytest.approx(1 / (4 * (2 * 0.8 + 1)), rel=0.1)  # variance of Beta(a, a)
    assert draw_mixup_weight(clip_generator(4), 0.0, 1.0) == 1.0
    assert draw_mixup_weight(clip_generator(4), 0.8, 0.0) == 1.0
    assert draw_mixup_weight(clip_generator(4), 0.8, 1.0) == draw_mixup_weight(clip_generator(4), 0.8, 1.0) != 1.0
    with pytest.raises(ValueError, match="prob=1.5"):
        draw_mixup_weight(clip_generator(4), 0.8, 1.5)
