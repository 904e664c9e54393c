"""The front end as a torch module: on any device, with gradients."""

from typing import Optional

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .fbank import ENERGY_FLOOR, PREEMPHASIS, _filterbank
from .front_end import FrontEnd, fit_length, normalise

_PRECISE = (torch.float32, torch.float64)


class FrontEndModule(nn.Module):
    """`FrontEnd` for batches of waveforms, differentiable; the same numbers to 1e-4.

    It has no parameters, and leaves nothing in a state dict. It follows the network to other devices and to float64,
    not to half precision, in which quiet bins would be rounding error.

    Args:
        front_end: what it computes; the rate of the waveforms is its `sample_rate_hz`.
    """

    window: Tensor
    mel_filters: Tensor

    def __init__(self, front_end: FrontEnd):
        super().__init__()
        self.front_end = front_end
        self._set_constants(torch.device("cpu"))

    def forward(self, waveforms: Tensor, num_samples: Optional[Tensor] = None) -> Tensor:
        """Waveforms (B, W) and their own lengths (B,), None: W -> (B, T, F), each clip as `FrontEnd` makes it alone."""
        front_end, T = self.front_end, self.front_end.target_length_frames
        frames = self.log_mel(waveforms, num_samples, T)
        return normalise(frames if T is None else fit_length(frames, T), front_end.norm_mean, front_end.norm_std)

    def log_mel(
        self, waveforms: Tensor, num_samples: Optional[Tensor] = None, max_frames: Optional[int] = None
    ) -> Tensor:
        """Log-mel values before normalisation, of the waveforms' own length or of their first frames.

        Args:
            waveforms: (B, W), each clip followed by anything.
            num_samples: (B,), length of each clip; None: all of it.
            max_frames: stop after so many frames; the mean that is removed is still that of the whole waveform.

        Returns:
            (B, T, F): the frames of each clip, then zeros.
        """
        size, W, device = len(self.window), waveforms.shape[1], waveforms.device
        if W < size:
            return self.window.new_zeros(len(waveforms), 0, self.front_end.num_mel_bins)
        waveforms = waveforms.to(self.window.dtype)
        lengths = torch.full((1, 1), W, device=device) if num_samples is None else num_samples[:, None]  # (1 or B, 1)
        waveforms = waveforms.masked_fill(torch.arange(W, device=device) >= lengths, 0.0)
        if self.front_end.remove_mean:
            waveforms = waveforms - waveforms.sum(dim=1, keepdim=True) / lengths.clamp(min=1)
        windows = waveforms.unfold(1, size, self._shift)[:, :max_frames]
        with torch.autocast(device.type, enabled=False):
            frames = self._mel_energies(windows).clamp(min=ENERGY_FLOOR).log()
        ends = size + self._shift * torch.arange(frames.shape[1], device=device)
        return frames.masked_fill((ends > lengths)[..., None], 0.0)

    def _mel_energies(self, frames: Tensor) -> Tensor:
        """(B, T, window) -> (B, T, F): the steps of `fbank.log_mel`, none of which writes into a tensor here."""
        frames = frames - frames.mean(dim=-1, keepdim=True)
        emphasised = (frames[..., 1:] - PREEMPHASIS * frames[..., :-1]) * self.window[1:]
        # The first sample, which is special to Kaldi, is zero under the window.
        spectrum = torch.fft.rfft(F.pad(emphasised, (1, self._fft_size - len(self.window))))
        power = spectrum.real.square() + spectrum.imag.square()
        return power[..., : len(self.mel_filters)] @ self.mel_filters

    def _set_constants(self, device: torch.device) -> None:
        front_end = self.front_end
        bank = _filterbank(
            front_end.sample_rate_hz, front_end.num_mel_bins, front_end.window, torch.device("cpu"), torch.float32
        )
        mel_filters = torch.zeros(bank.fft_size // 2, front_end.num_mel_bins)
        column = 0
        for first, last, block in bank.mel_blocks:
            mel_filters[first:last, column : column + block.shape[1]] = block
            column += block.shape[1]
        self._shift, self._fft_size = bank.shift, bank.fft_size
        self.register_buffer("window", bank.window.clone().to(device), persistent=False)
        self.register_buffer("mel_filters", mel_filters.to(device), persistent=False)

    def _apply(self, fn, recurse=True):
        super()._apply(fn, recurse)
        if self.window.dtype not in _PRECISE:
            self._set_constants(self.window.device)
        return self
