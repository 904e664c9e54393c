"""Augmentation of waveforms, spectrograms and batches.

Every draw comes from a `torch.Generator` or an integer seed that the caller passes in: what happens to a clip depends
on (seed, epoch, clip) alone, not on the number of loader processes nor on where a run was resumed, and the global
random state is never read or written.
"""

import numpy as np
import torch
from torch import Tensor

MAX_NOISE = 0.1  # strongest additive noise, in units of the normalised spectrogram
MAX_ROLL_FRAMES = 10


def _uniform(generator: torch.Generator) -> float:
    return torch.rand(1, generator=generator).item()


def _integer(low: int, high: int, generator: torch.Generator) -> int:
    """Uniform in [low, high], both included."""
    return int(torch.randint(low, high + 1, (1,), generator=generator))


def _beta(a: float, b: float, generator: torch.Generator) -> float:
    # torch's own Beta always draws from the global state, NumPy's takes a generator.
    seed = _integer(0, 2**62, generator)
    return float(np.random.default_rng(seed).beta(a, b))


def roll_and_scale(waveform: Tensor, generator: torch.Generator) -> Tensor:
    """Circular roll by any number of samples, then scaling by Beta(10, 10) + 0.5: (W,) -> (W,)."""
    shift = _integer(0, max(0, waveform.shape[-1] - 1), generator)
    return torch.roll(waveform, shift, dims=-1) * (_beta(10.0, 10.0, generator) + 0.5)


def add_noise_and_roll(spectrogram: Tensor, generator: torch.Generator) -> Tensor:
    """Uniform noise in [0, s) with s uniform in [0, 0.1), then a circular roll in time by up to 10 frames either way.

    Args:
        spectrogram: (T, F), normalised, on the CPU.
    """
    strength = MAX_NOISE * _uniform(generator)
    shift = _integer(-MAX_ROLL_FRAMES, MAX_ROLL_FRAMES, generator)
    noise = torch.rand(spectrogram.shape, generator=generator, dtype=spectrogram.dtype)
    return torch.roll(spectrogram + strength * noise, shift, dims=0)


def spec_augment(
    spectrograms: Tensor,
    seeds: Tensor | np.ndarray,
    freq_width: int,
    time_width: int | Tensor,
    num_frames: Tensor | None = None,
) -> Tensor:
    """SpecAugment: one band of mel bins and one stretch of frames of each example set to 0.

    The masks are those of torchaudio's `mask_along_axis_iid` (frequency, then time) after `torch.manual_seed(seed)`,
    example by example; that function itself draws from the global state of the spectrogram's device.

    Args:
        spectrograms: (B, 1, T, F), normalised.
        seeds: (B,) int64, one per example.
        freq_width: the band is uniformly [0, freq_width) bins wide.
        time_width: the stretch is uniformly [0, time_width) frames long; one width, or one for each example (B,).
        num_frames: (B,), frames of each example without its padding, in which the stretch lies; None: there is none.

    Raises:
        ValueError: a width beyond the size of its axis, or not one seed per example.
    """
    num_clips, _, T, num_mel_bins = spectrograms.shape
    if seeds.shape != (num_clips,):
        raise ValueError(f"expected {num_clips} seeds, one per example, got shape {tuple(seeds.shape)}")
    lengths = torch.full((num_clips,), T) if num_frames is None else num_frames.cpu()
    widths = torch.as_tensor(time_width).cpu().expand(num_clips)
    if not 0 <= freq_width <= num_mel_bins:
        raise ValueError(f"freq_width must lie between 0 and the size of its axis ({num_mel_bins}), got {freq_width}")
    if bool(((widths < 0) | (widths > lengths)).any()):
        worst = int((widths - lengths).argmax())
        raise ValueError(
            f"time_width must lie between 0 and the size of its axis ({int(lengths[worst])}), got {int(widths[worst])}"
        )
    draws = [torch.rand(4, generator=torch.Generator().manual_seed(seed)) for seed in seeds.tolist()]
    uniform = torch.stack(draws) if draws else torch.empty(0, 4)  # (B, 4)
    of_bins = torch.full((num_clips,), num_mel_bins)
    freq_mask = _axis_mask(uniform[:, 0], uniform[:, 1], freq_width, of_bins, num_mel_bins)  # (B, F)
    time_mask = _axis_mask(uniform[:, 2], uniform[:, 3], widths, lengths, T)  # (B, T)
    # Without waiting until the device has done what came before; memory that is not pinned is read before this returns.
    time_mask, freq_mask = (part.to(spectrograms.device, non_blocking=True) for part in (time_mask, freq_mask))
    mask = time_mask[:, None, :, None] | freq_mask[:, None, None, :]
    return spectrograms.masked_fill(mask, 0.0)


def _axis_mask(width_draw: Tensor, start_draw: Tensor, max_width: int | Tensor, size: Tensor, longest: int) -> Tensor:
    """(B,), (B,) uniform draws -> (B, longest) mask of one run in the first ``size`` (B,) places, True = masked."""
    width = width_draw * max_width
    start = (start_draw * (size - width)).long()[:, None]
    position = torch.arange(longest)
    return (position >= start) & (position < start + width.long()[:, None])


def mixup(source: Tensor, target: Tensor, weight: float) -> tuple[Tensor, Tensor]:
    """Mix every example with its partner in the reversed batch, inputs and labels alike.

    Args:
        source: (B, ...) inputs.
        target: (B, C) labels.
        weight: share of the example itself; 1 changes nothing.
    """
    if weight == 1.0:
        return source, target
    return torch.lerp(source.flip(0), source, weight), torch.lerp(target.flip(0), target, weight)


def draw_mixup_weight(generator: torch.Generator, alpha: float, prob: float) -> float:
    """Beta(alpha, alpha) with probability `prob`, else 1.0 (no mixing); always 1.0 when alpha is 0.

    Raises:
        ValueError: alpha is negative or prob is no probability.
    """
    if alpha < 0 or not 0.0 <= prob <= 1.0:
        raise ValueError(f"expected alpha >= 0 and prob in [0, 1], got alpha={alpha}, prob={prob}")
    if alpha == 0 or _uniform(generator) >= prob:
        return 1.0
    return _beta(alpha, alpha, generator)
