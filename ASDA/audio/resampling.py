"""Band-limited resampling, the published front end's."""

import math
from functools import lru_cache

import torch
from torch import Tensor
from torchaudio.transforms import Resample

_MAX_KERNEL_ELEMENTS = 1 << 23  # larger resampling kernels (rates with a tiny common divisor) are never materialised


_RESAMPLER_WIDTH, _RESAMPLER_ROLLOFF = 6, 0.99  # torchaudio's defaults


@lru_cache(maxsize=32)
def _resampler(from_hz: int, to_hz: int, device: torch.device, dtype: torch.dtype) -> Resample:
    # dtype makes torchaudio compute the kernel in that precision, as torchaudio.functional.resample does; without it
    # the kernel comes from float64 and features differ by up to 4e-4 from the published front end.
    with torch.inference_mode(False):  # a later caller may want gradients through it
        return Resample(from_hz, to_hz, dtype=dtype).to(device)


def resample(waveform: Tensor, from_hz: int, to_hz: int) -> Tensor:
    """Band-limited resampling, equal to `torchaudio.functional.resample` with default arguments.

    The filter of each pair of rates is computed once per process. Pairs whose common divisor is so small that the
    filter would take gigabytes (11127 -> 16000 Hz) are interpolated directly, by the same formula.

    Args:
        waveform: (..., W), floating point.
        from_hz: rate of `waveform`.
        to_hz: rate of the result.

    Returns:
        (..., ceil(W * to_hz / from_hz)).
    """
    from_hz, to_hz = int(from_hz), int(to_hz)
    if from_hz <= 0 or to_hz <= 0:
        raise ValueError(f"sample rates must be positive, got {from_hz} Hz -> {to_hz} Hz")
    if from_hz == to_hz:
        return waveform
    divisor = math.gcd(from_hz, to_hz)
    reduced_from, reduced_to = from_hz // divisor, to_hz // divisor
    half_width = _RESAMPLER_WIDTH * reduced_from / (_RESAMPLER_ROLLOFF * min(reduced_from, reduced_to))
    if reduced_to * (reduced_from + 2 * half_width) > _MAX_KERNEL_ELEMENTS:
        return _interpolate(waveform, reduced_from, reduced_to)
    return _resampler(from_hz, to_hz, waveform.device, waveform.dtype)(waveform)


def _interpolate(waveform: Tensor, from_rate: int, to_rate: int, chunk: int = 1 << 14) -> Tensor:
    """Hann-windowed sinc interpolation, output sample by output sample; weights in float64.

    y[j] = sum_i x[i] h(i / from - j / to), where h is the low-pass filter that torchaudio's kernels sample too.
    """
    num_in = waveform.shape[-1]
    num_out = -(-num_in * to_rate // from_rate)
    cutoff = _RESAMPLER_ROLLOFF * min(from_rate, to_rate)
    half = math.ceil(_RESAMPLER_WIDTH * from_rate / cutoff)
    padded = torch.nn.functional.pad(waveform, (half, half + 1))
    taps = torch.arange(-half, half + 1, device=waveform.device)
    pieces = []
    for first in range(0, num_out, chunk):
        j = torch.arange(first, min(first + chunk, num_out), device=waveform.device)
        centre = j * from_rate // to_rate  # input sample at or before the output sample
        fraction = (j * from_rate - centre * to_rate).double() / to_rate  # exact remainder, in input samples
        t = ((taps - fraction[:, None]) * (cutoff / from_rate)).clamp(-_RESAMPLER_WIDTH, _RESAMPLER_WIDTH)
        weights = torch.sinc(t) * torch.cos(t * (math.pi / _RESAMPLER_WIDTH / 2)) ** 2 * (cutoff / from_rate)
        gathered = padded[..., centre[:, None] + taps + half]  # (..., chunk, taps)
        pieces.append((gathered * weights.to(waveform.dtype)).sum(-1))
    return torch.cat(pieces, dim=-1) if pieces else waveform[..., :0]
