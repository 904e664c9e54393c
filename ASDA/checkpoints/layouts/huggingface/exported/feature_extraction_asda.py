"""Waveforms -> what the encoder hears, where transformers' ASTFeatureExtractor cannot say it.

That is: Kaldi's own window (povey), rates other than 16 kHz, and models that see short clips under a padding mask.
Needs transformers and NumPy.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from transformers import BatchFeature, SequenceFeatureExtractor
from transformers.audio_utils import spectrogram, window_function

FRAME_LENGTH_MS, FRAME_SHIFT_MS = 25.0, 10.0
LOW_FREQUENCY_HZ = 20.0
PREEMPHASIS = 0.97
ENERGY_FLOOR = float(np.finfo(np.float32).eps)
WINDOWS = {"hanning": "hann", "povey": "povey"}


class AsdaFeatureExtractor(SequenceFeatureExtractor):
    """Log-mel spectrograms by Kaldi's filterbank, cut or filled up to a length, normalised.

    Args:
        feature_size: channels of a waveform: 1.
        sampling_rate: of the waveforms, in Hz.
        num_mel_bins: mel bins F.
        max_length: frames (10 ms each) that a clip is cut to.
        mean, std: x becomes (x - mean) / (2 std).
        frame_window: `hanning` or `povey`; transformers leaves out a setting called window where it saves them.
        remove_mean: whether a waveform's mean is subtracted first.
        short_clips: `constant` fills them up to max_length; `mask` up to the longest of the batch, in whole patches,
            and gives an attention mask.
        patch_frames, patch_stride_frames: frames of a patch, and from one to the next.
        padding_value: of what the pipeline adds when it makes batches; always under a mask.
    """

    model_input_names = ["input_values", "attention_mask"]

    def __init__(
        self,
        feature_size: int = 1,
        sampling_rate: int = 16_000,
        num_mel_bins: int = 128,
        max_length: int = 1024,
        mean: float = -4.268,
        std: float = 4.569,
        frame_window: str = "hanning",
        remove_mean: bool = True,
        short_clips: str = "constant",
        patch_frames: int = 16,
        patch_stride_frames: int = 16,
        padding_value: float = 0.0,
        **kwargs: Any,
    ):
        super().__init__(feature_size=feature_size, sampling_rate=sampling_rate, padding_value=padding_value, **kwargs)
        self.num_mel_bins = num_mel_bins
        self.max_length = max_length
        self.mean = mean
        self.std = std
        self.frame_window = frame_window
        self.remove_mean = remove_mean
        self.short_clips = short_clips
        self.patch_frames = patch_frames
        self.patch_stride_frames = patch_stride_frames

    def __call__(
        self, raw_speech: Any, sampling_rate: int | None = None, return_tensors: str | None = None, **kwargs: Any
    ) -> BatchFeature:
        """Spectrograms of one or several clips.

        Args:
            raw_speech: a waveform (W,), or a list of them; floats in [-1, 1], mono.
            sampling_rate: of them; another one than the model's is refused.
            return_tensors: `pt` or `np`.
            **kwargs: other feature extractors' settings (padding, ...), which this one takes from its config.

        Returns:
            `input_values` (B, T, F) and, with short_clips="mask", `attention_mask` (B, T), 1 = sound.

        Raises:
            ValueError: the rate is another one, or a waveform has several channels.
        """
        if sampling_rate is not None and sampling_rate != self.sampling_rate:
            raise ValueError(f"sampling_rate={sampling_rate}: this model hears {self.sampling_rate} Hz; resample first")
        is_batch = np.ndim(raw_speech[0]) > 0
        frames = [self._log_mel(np.asarray(clip, np.float32)) for clip in (raw_speech if is_batch else [raw_speech])]
        length = self.max_length
        if self.short_clips == "mask":
            length = max(self._whole_patches(len(clip)) for clip in frames)
        padded = [np.pad(clip, ((0, length - len(clip)), (0, 0))) for clip in frames]
        data = {"input_values": [((clip - self.mean) / (2 * self.std)).astype(np.float32) for clip in padded]}
        if self.short_clips == "mask":
            data["attention_mask"] = [(np.arange(length) < len(clip)).astype(np.int64) for clip in frames]
        return BatchFeature({name: np.stack(values) for name, values in data.items()}, tensor_type=return_tensors)

    def _log_mel(self, waveform: np.ndarray) -> np.ndarray:
        """(W,) -> (T, F) of at most max_length frames; a clip shorter than one window is a frame of padding."""
        if waveform.ndim != 1:
            raise ValueError(f"expected mono waveforms of shape (samples,), got {waveform.shape}; average the channels")
        size = int(self.sampling_rate * FRAME_LENGTH_MS * 0.001)
        shift = int(self.sampling_rate * FRAME_SHIFT_MS * 0.001)
        if len(waveform) < size:
            return np.zeros((1, self.num_mel_bins), np.float32)
        if self.remove_mean:
            waveform = waveform - waveform.mean()
        fft_size = 1 << (size - 1).bit_length()
        frames = spectrogram(
            waveform[: size + shift * (self.max_length - 1)],
            window_function(size, WINDOWS[self.frame_window], periodic=False),
            frame_length=size,
            hop_length=shift,
            fft_length=fft_size,
            power=2.0,
            center=False,
            preemphasis=PREEMPHASIS,
            mel_filters=self._mel_filters(fft_size),
            mel_floor=ENERGY_FLOOR,
            log_mel="log",
            remove_dc_offset=True,
        )
        return frames.T

    def _mel_filters(self, fft_size: int) -> np.ndarray:
        """Triangles on Kaldi's mel scale, (bins, F); transformers' own have moved from one version to another."""

        def mel(frequency_hz: np.ndarray) -> np.ndarray:
            return 1127 * np.log1p(frequency_hz / 700)

        ends = mel(np.array([LOW_FREQUENCY_HZ, self.sampling_rate / 2]))
        edges = np.linspace(*ends, self.num_mel_bins + 2)
        bins = mel(np.arange(fft_size // 2 + 1) * self.sampling_rate / fft_size)[:, None]
        width = edges[1] - edges[0]
        return np.maximum(0, np.minimum(bins - edges[:-2], edges[2:] - bins) / width)

    def _whole_patches(self, num_frames: int) -> int:
        """Frames of a clip that is filled up to whole patches: one patch at least, and no more than max_length."""
        missing = max(0, num_frames - self.patch_frames)
        steps = -(-missing // self.patch_stride_frames)
        return min(self.max_length, self.patch_frames + steps * self.patch_stride_frames)


AsdaFeatureExtractor.register_for_auto_class()  # so that save_pretrained copies this code in every version
