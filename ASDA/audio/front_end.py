"""Waveforms -> what an encoder hears, described by one value."""

import math
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Mapping, Optional, Union

import torch.nn.functional as F
from torch import Tensor

from .fbank import FRAME_SHIFT_MS, WINDOWS, frame_sizes, log_mel, padded_log_mel
from .io import load_waveform
from .samples import PLAUSIBLE_RATES_HZ, implausible_rate

LONGEST_WINDOW_FRAMES = 360_000
"""An hour, far above what any model hears at once: a clip is filled up to its window, which takes that much memory."""

PADDINGS = ("constant", "mask")
"""What a model was trained to see of clips that are shorter than its input: their padding, or nothing of it."""


def fit_length(frames: Tensor, target_length_frames: int) -> Tensor:
    """Keep the first frames, or add frames of zeros: (..., T, F) -> (..., target_length_frames, F).

    Used before normalisation, so that padding becomes a constant -mean / (2 std), as published weights expect.
    """
    missing = target_length_frames - frames.shape[-2]
    if missing > 0:
        return F.pad(frames, (0, 0, 0, missing))
    return frames[..., :target_length_frames, :]


def normalise(frames: Tensor, mean: float, std: float) -> Tensor:
    """(x - mean) / (2 std): AST's convention, which gives the data a standard deviation of one half."""
    return (frames - mean) / (2 * std)


@dataclass(frozen=True)
class FrontEnd:
    """Everything that turns a waveform into the encoder's input, in one value that checkpoints record.

    Attributes:
        target_length_frames: frames of the result (10 ms each); None keeps a clip's own length.
        norm_mean: mean of the training set's log-mel values.
        norm_std: their standard deviation.
        sample_rate_hz: rate of the waveforms given.
        num_mel_bins: F.
        window: of a frame: ``hanning`` (AST, EAT, ASDA) or ``povey``, Kaldi's own (MAE-AST).
        remove_mean: whether the waveform's mean is subtracted first (EAT, ASDA).
        padding: of shorter clips: `constant`, frames that the model sees as it sees sound; or `mask`, under a padding
            mask, so that it sees each clip at its own length.
    """

    target_length_frames: Optional[int] = 1024
    norm_mean: float = -4.268
    norm_std: float = 4.569
    sample_rate_hz: int = 16_000
    num_mel_bins: int = 128
    window: str = "hanning"
    remove_mean: bool = True
    padding: str = "constant"

    def __post_init__(self):
        if self.window not in WINDOWS:
            raise ValueError(f'window: expected one of {", ".join(WINDOWS)}, found "{self.window}"')
        if not isinstance(self.remove_mean, bool):
            raise ValueError(f"remove_mean: expected true or false, found {self.remove_mean!r}")
        if self.target_length_frames is not None and self.target_length_frames < 1:
            raise ValueError(f"target_length_frames must be at least 1 or None, got {self.target_length_frames}")
        if self.target_length_frames is not None and self.target_length_frames > LONGEST_WINDOW_FRAMES:
            found = self.target_length_frames
            raise ValueError(f"target_length_frames must be at most {LONGEST_WINDOW_FRAMES}, an hour, got {found}")
        if not math.isfinite(self.norm_mean):
            raise ValueError(f"norm_mean must be a finite number, got {self.norm_mean}")
        if not 0 < self.norm_std < math.inf:
            raise ValueError(f"norm_std must be positive and finite, got {self.norm_std}")
        if frame_sizes(self.sample_rate_hz)[1] < 1:
            raise ValueError(f"sample_rate_hz is too low for frames of {FRAME_SHIFT_MS:g} ms: {self.sample_rate_hz}")
        if self.sample_rate_hz > PLAUSIBLE_RATES_HZ[1]:  # whose filters would fill any memory
            raise ValueError(f"sample_rate_hz: {implausible_rate(self.sample_rate_hz)}")
        if self.padding not in PADDINGS:
            raise ValueError(f"padding must be one of {', '.join(PADDINGS)}, got {self.padding!r}")

    def __call__(self, waveform: Tensor) -> Tensor:
        """(W,) or (B, W) at `sample_rate_hz` -> (T, F) or (B, T, F), normalised."""
        return self._finish(self.log_mel(waveform, self.target_length_frames))

    def log_mel(self, waveform: Tensor, max_frames: Optional[int] = None) -> Tensor:
        """Log-mel values before normalisation, of the waveform's own length or of its first frames: (T, F)."""
        return log_mel(
            waveform,
            self.sample_rate_hz,
            self.num_mel_bins,
            max_frames,
            window=self.window,
            remove_mean=self.remove_mean,
        )

    def of_batch(self, waveforms: Tensor, num_samples: Tensor) -> Tensor:
        """Clips of different lengths, (B, W) and (B,), on any device -> (B, T, F), each as if it were alone."""
        frames = padded_log_mel(
            waveforms,
            num_samples,
            self.sample_rate_hz,
            self.num_mel_bins,
            self.target_length_frames,
            window=self.window,
            remove_mean=self.remove_mean,
        )
        return self._finish(frames)

    def _finish(self, frames: Tensor) -> Tensor:
        if self.target_length_frames is not None:
            frames = fit_length(frames, self.target_length_frames)
        return normalise(frames, self.norm_mean, self.norm_std)

    def from_file(self, path: Union[str, Path]) -> Tensor:
        """Decode, resample and transform one file: (T, F).

        Raises:
            AudioError: the file cannot be used; see `load_waveform`.
        """
        return self(load_waveform(path, self.sample_rate_hz))

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for json and checkpoints; `padding` only where it is not constant, as older files have none."""
        values = asdict(self)
        return values if self.padding != "constant" else {k: v for k, v in values.items() if k != "padding"}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "FrontEnd":
        """Inverse of `to_dict`.

        Raises:
            ValueError: a key that no front end has.
        """
        known = [field.name for field in fields(cls)]
        unknown = sorted(set(values) - set(known))
        if unknown:
            raise ValueError(f"unknown front-end settings {unknown}, expected some of {known}")
        return cls(**values)
