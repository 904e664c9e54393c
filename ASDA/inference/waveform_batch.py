"""A batch of waveforms as users give it: looked at, brought to the encoder's device and rate."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Union

import numpy as np
import torch
from torch import Tensor

from ..audio.errors import AudioError
from ..audio.fbank import FRAME_LENGTH_MS, num_frames
from ..audio.resampling import resample
from ..audio.samples import MAX_ABS_SAMPLE, MAX_PLAUSIBLE_PEAK, PLAUSIBLE_RATES_HZ, implausible_rate

Lengths = Union[Tensor, np.ndarray, Sequence[int], None]


def waveform_batch(
    waveforms: Any, lengths: Lengths, from_rate_hz: int | None, to_rate_hz: int, device: torch.device
) -> tuple[Tensor, list[int]]:
    """Waveforms (B, W) on a device and at a rate, and the length of each in samples.

    Args:
        waveforms: (B, W) floats in [-1, 1], each clip followed by anything.
        lengths: (B,) whole numbers, samples of each clip; None: all are of length W.
        from_rate_hz: rate of the waveforms; None: `to_rate_hz`.
        to_rate_hz: rate of the result; waveforms of another one are resampled.
        device: of the result.

    Raises:
        AudioError: a clip cannot be used: it is too short, not finite, or on another scale than [-1, 1].
        ValueError: the shapes, the type, the lengths or the rate are none of a batch of waveforms.
    """
    rate_hz = to_rate_hz if from_rate_hz is None else _whole_rate(from_rate_hz)
    samples = _samples(waveforms).to(device)
    num_samples = _lengths(lengths, *samples.shape)
    at_rate = [-(-count * to_rate_hz // rate_hz) for count in num_samples]
    for clip, count in enumerate(at_rate):
        if num_frames(count, to_rate_hz) == 0:
            raise AudioError(
                f"clip {clip} of the batch",
                f"{num_samples[clip]} samples at {rate_hz} Hz, {1000 * num_samples[clip] / rate_hz:g} ms, are shorter "
                f"than one analysis window of {FRAME_LENGTH_MS:g} ms",
            )
    own = torch.arange(samples.shape[1], device=device) < torch.tensor(num_samples, device=device)[:, None]
    samples = samples.masked_fill(~own, 0.0)  # so that the resampler does not hear it either
    require_audio(samples)
    return resample(samples, rate_hz, to_rate_hz), at_rate


def _samples(waveforms: Any) -> Tensor:
    if isinstance(waveforms, np.ndarray):
        waveforms = torch.from_numpy(waveforms)
    if not isinstance(waveforms, Tensor):
        raise ValueError(f"expected waveforms as a tensor (clips, samples), got {type(waveforms).__name__}")
    if waveforms.ndim != 2:
        hint = {0: "", 1: "; a single clip is waveform[None]"}.get(waveforms.ndim, "; average channels first")
        raise ValueError(f"expected waveforms of shape (clips, samples), got {tuple(waveforms.shape)}{hint}")
    if not waveforms.is_floating_point():
        raise ValueError(f"expected floats in [-1, 1], got {waveforms.dtype}; divide 16-bit values by 32768")
    if not waveforms.numel():
        raise ValueError(f"expected at least one clip with samples, got shape {tuple(waveforms.shape)}")
    return waveforms if waveforms.dtype == torch.float64 else waveforms.float()


def _lengths(lengths: Lengths, num_clips: int, longest: int) -> list[int]:
    if lengths is None:
        return [longest] * num_clips
    try:
        counts = torch.as_tensor(lengths)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"lengths: expected {num_clips} whole numbers of samples, got {lengths!r}"[:200]) from error
    if counts.shape != (num_clips,) or counts.is_floating_point() or counts.is_complex() or counts.dtype == torch.bool:
        raise ValueError(
            f"lengths: expected {num_clips} whole numbers of samples, one per clip, got shape {tuple(counts.shape)} of "
            f"{counts.dtype}"
        )
    found = counts.tolist()
    for clip, count in enumerate(found):
        if not 1 <= count <= longest:
            raise ValueError(f"lengths: clip {clip} has {count} samples, expected 1 to {longest}, which there are")
    return found


def _whole_rate(rate_hz: Any) -> int:
    try:
        whole = int(rate_hz)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"sample_rate_hz: expected a whole number, got {rate_hz!r}") from None
    if whole != rate_hz or not PLAUSIBLE_RATES_HZ[0] <= whole <= PLAUSIBLE_RATES_HZ[1]:
        raise ValueError(implausible_rate(rate_hz))
    return whole


def require_audio(clips: Iterable[Tensor]) -> None:
    """Refuses a batch with a clip, of one sample at least, that is not finite or not on the scale of [-1, 1].

    Raises:
        AudioError: there is one.
    """
    peaks = torch.stack([clip.detach().abs().amax() for clip in clips]).tolist()  # the device is waited for once
    for clip, peak in enumerate(peaks):
        if not peak <= MAX_ABS_SAMPLE:  # written so that NaN fails as well
            raise AudioError(f"clip {clip} of the batch", "holds NaN or infinity, expected finite values in [-1, 1]")
        if peak > MAX_PLAUSIBLE_PEAK:
            raise AudioError(
                f"clip {clip} of the batch", f"samples up to {peak:g}, expected [-1, 1]; divide 16-bit values by 32768"
            )
