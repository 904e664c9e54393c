"""Waveforms -> log-mel spectrograms, the published front ends (Kaldi filterbank, 25 ms windows, 10 ms shift).

`log_mel` is the fast path used everywhere: window, mel filters and FFT size are prepared once per rate, clips may be
batched and on any device. `reference_log_mel` is the plain torchaudio call that it must agree with (1e-4).
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Optional

import torch
from torch import Tensor
from torchaudio.compliance import kaldi

FRAME_LENGTH_MS = 25.0
FRAME_SHIFT_MS = 10.0
LOW_FREQUENCY_HZ = 20.0  # Kaldi's default; the upper edge is the Nyquist frequency
PREEMPHASIS = 0.97
ENERGY_FLOOR = torch.finfo(torch.float32).eps
# A frame's window. Kaldi's own is Hann's to the power of 0.85.
WINDOWS = ("hanning", "povey")
_POVEY_POWER = 0.85
_MEL_BLOCKS = 4
_CHUNK_FRAMES = 4096  # on the CPU: keeps the spectra of a chunk in cache and the memory of a long file bounded


def frame_sizes(sample_rate_hz: int) -> tuple[int, int]:
    """Window and shift in samples, cut off to integers as Kaldi does."""
    # Same order of operations as torchaudio, so that rates with a fractional window round alike.
    return int(sample_rate_hz * FRAME_LENGTH_MS * 0.001), int(sample_rate_hz * FRAME_SHIFT_MS * 0.001)


def mel_bin_frequencies_hz(num_mel_bins: int, sample_rate_hz: int = 16_000) -> Tensor:
    """The frequency at which each mel filter is highest, (F,), rising."""
    edges_hz = torch.tensor([LOW_FREQUENCY_HZ, sample_rate_hz / 2], dtype=torch.float64)
    low, high = 1127 * torch.log1p(edges_hz / 700)  # Kaldi's mel scale
    centres = torch.linspace(float(low), float(high), num_mel_bins + 2, dtype=torch.float64)[1:-1]
    return 700 * torch.expm1(centres / 1127)


def num_frames(num_samples: int, sample_rate_hz: int = 16_000) -> int:
    """How many frames `log_mel` makes of `num_samples` samples: only windows that fit completely count."""
    window, shift = frame_sizes(sample_rate_hz)
    return 0 if num_samples < window else 1 + (num_samples - window) // shift


def reference_log_mel(
    waveform: Tensor,
    sample_rate_hz: int = 16_000,
    num_mel_bins: int = 128,
    *,
    window: str = "hanning",
    remove_mean: bool = True,
) -> Tensor:
    """The front end's definition, by torchaudio: (W,) -> (T, F), natural logarithm of mel energies.

    Kept as what `log_mel` is tested and timed against.
    """
    if num_frames(waveform.shape[-1], sample_rate_hz) == 0:
        return waveform.new_zeros(0, num_mel_bins)
    return kaldi.fbank(
        (waveform - waveform.mean() if remove_mean else waveform)[None],
        sample_frequency=sample_rate_hz,
        use_energy=False,
        window_type=window,
        num_mel_bins=num_mel_bins,
        dither=0.0,
        frame_length=FRAME_LENGTH_MS,
        frame_shift=FRAME_SHIFT_MS,
    )


@dataclass(frozen=True)
class _Filterbank:
    """What depends only on rate, number of bins, window, device and type."""

    window: Tensor  # (window samples,)
    fft_size: int
    shift: int
    # The mel filters in blocks of neighbours, each with the range of FFT bins it sees and the weights (bins, filters).
    # A filter is narrow, so this is a third of the arithmetic of one dense matrix.
    mel_blocks: tuple[tuple[int, int, Tensor], ...]


@lru_cache(maxsize=16)
def _filterbank(
    sample_rate_hz: int, num_mel_bins: int, window: str, device: torch.device, dtype: torch.dtype
) -> _Filterbank:
    window_size, shift = frame_sizes(sample_rate_hz)
    fft_size = 1 << (window_size - 1).bit_length()
    filters, _ = kaldi.get_mel_banks(  # (F, FFT bins); no filter reaches the Nyquist bin, which torchaudio leaves out
        num_mel_bins,
        fft_size,
        sample_rate_hz,
        LOW_FREQUENCY_HZ,
        0.0,
        vtln_low=100.0,
        vtln_high=-500.0,
        vtln_warp_factor=1.0,
    )
    blocks = []
    for block in filters.to(device, dtype).chunk(_MEL_BLOCKS):
        used = block.any(dim=0).nonzero().flatten().tolist() or [0]  # many bins at a low rate leave filters empty
        blocks.append((used[0], used[-1] + 1, block[:, used[0] : used[-1] + 1].T.contiguous()))
    hann = torch.hann_window(window_size, periodic=False, dtype=dtype)
    return _Filterbank(
        window=(hann if window == "hanning" else hann.pow(_POVEY_POWER)).to(device),
        fft_size=fft_size,
        shift=shift,
        mel_blocks=tuple(blocks),
    )


@torch.no_grad()
def log_mel(
    waveform: Tensor,
    sample_rate_hz: int = 16_000,
    num_mel_bins: int = 128,
    max_frames: Optional[int] = None,
    *,
    window: str = "hanning",
    remove_mean: bool = True,
) -> Tensor:
    """Log-mel filterbank energies.

    Args:
        waveform: (W,) or, for clips of equal length, (B, W); samples in [-1, 1], on any device.
        sample_rate_hz: rate of the waveform.
        num_mel_bins: F.
        max_frames: stop after so many frames; the mean that is removed is still that of the whole waveform.
        window: one of `WINDOWS`.
        remove_mean: subtract the waveform's mean first. Kaldi subtracts each frame's in any case.

    Returns:
        (T, F) or (B, T, F) with T = `num_frames(W)`, or `max_frames` if that is less; T is 0 for a clip shorter than
        one window.
    """
    if waveform.dim() not in (1, 2):
        raise ValueError(f"expected a waveform (W,) or a batch (B, W), got shape {tuple(waveform.shape)}")
    if waveform.dtype not in (torch.float32, torch.float64):
        waveform = waveform.float()
    T = num_frames(waveform.shape[-1], sample_rate_hz)
    if T == 0 or len(waveform) == 0:  # no frame, or a batch of no clip
        return waveform.new_zeros(*waveform.shape[:-1], T if max_frames is None else min(T, max_frames), num_mel_bins)
    if waveform.dim() == 2 and waveform.device.type == "cpu":  # one clip's spectra fit the cache, a batch's do not
        clips = (
            log_mel(clip, sample_rate_hz, num_mel_bins, max_frames, window=window, remove_mean=remove_mean)
            for clip in waveform
        )
        return torch.stack(list(clips))
    bank = _filterbank(sample_rate_hz, num_mel_bins, window, waveform.device, waveform.dtype)
    if remove_mean:
        waveform = waveform - waveform.mean(dim=-1, keepdim=True)
    frames = waveform.unfold(-1, len(bank.window), bank.shift)  # (..., T, window), a view
    frames = frames[..., :max_frames, :]
    chunk = _CHUNK_FRAMES if waveform.device.type == "cpu" else frames.shape[-2]
    with torch.autocast(waveform.device.type, enabled=False):
        pieces = [_mel_energies(part, bank) for part in frames.split(chunk, dim=-2)]
    energies = pieces[0] if len(pieces) == 1 else torch.cat(pieces, dim=-2)
    return energies.clamp_(min=ENERGY_FLOOR).log_()


def _mel_energies(frames: Tensor, bank: _Filterbank) -> Tensor:
    """(..., T, window) -> (..., T, F): remove each frame's mean, pre-emphasis, window, power spectrum, mel filters.

    In bins without signal the result is the rounding error of the steps before the FFT, and the published features hold
    torchaudio's. Those steps therefore round exactly as torchaudio's do; only what follows is rearranged.
    """
    frames = frames - frames.mean(dim=-1, keepdim=True)
    emphasised = frames.new_zeros(*frames.shape[:-1], bank.fft_size)
    inside = emphasised[..., 1 : frames.shape[-1]]  # a first sample is special to Kaldi, but windows are zero there
    torch.mul(frames[..., :-1], PREEMPHASIS, out=inside)
    torch.sub(frames[..., 1:], inside, out=inside)
    inside *= bank.window[1:]
    spectrum = torch.fft.rfft(emphasised)
    power = spectrum.real.square().addcmul_(spectrum.imag, spectrum.imag)
    return torch.cat([power[..., first:last] @ block for first, last, block in bank.mel_blocks], dim=-1)


def padded_log_mel(
    waveforms: Tensor,
    num_samples: Tensor,
    sample_rate_hz: int = 16_000,
    num_mel_bins: int = 128,
    max_frames: Optional[int] = None,
    *,
    window: str = "hanning",
    remove_mean: bool = True,
) -> Tensor:
    """`log_mel` of clips of different lengths at once, for a GPU.

    Args:
        waveforms: (B, W), each clip followed by anything.
        num_samples: (B,), length of each clip.
        sample_rate_hz: rate of the waveforms.
        num_mel_bins: F.
        max_frames: stop after so many frames.
        window: see `log_mel`.
        remove_mean: see `log_mel`.

    Returns:
        (B, T, F) with T as `log_mel` makes it of W samples: the frames of each clip as if it were alone, then zeros.
    """
    W = waveforms.shape[1]
    inside = torch.arange(W, device=waveforms.device) < num_samples[:, None]
    waveforms = waveforms.masked_fill(~inside, 0.0)
    if remove_mean:
        mean = waveforms.sum(dim=1, keepdim=True) / num_samples[:, None].clamp(min=1)
        waveforms = (waveforms - mean).masked_fill(~inside, 0.0)
    frames = log_mel(
        waveforms, sample_rate_hz, num_mel_bins, max_frames, window=window, remove_mean=remove_mean
    )  # the mean that it removes is 0 by then
    window_size, shift = frame_sizes(sample_rate_hz)
    ends = window_size + shift * torch.arange(
        frames.shape[1], device=waveforms.device
    )  # (T,), samples to a frame's end
    return frames.masked_fill((ends > num_samples[:, None])[..., None], 0.0)
