"""The forms in which one clip may be given: a file, its bytes, samples, samples with their rate."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from typing import Any, BinaryIO, Union

import numpy as np
from torch import Tensor

from ..audio.errors import AudioError
from ..audio.io import load_waveform
from ..audio.samples import mono_waveform
from ..data.containers import ClipReader

Samples = Union[np.ndarray, Tensor, list]
Audio = Union[str, os.PathLike, bytes, BinaryIO, Samples, tuple[Samples, int], Mapping[str, Any]]

_NAME = "the audio given"


def read_waveform(audio: Audio, to_rate_hz: int, sample_rate_hz: int | None = None) -> Tensor:
    """One clip as a mono waveform.

    Args:
        audio: see `TrainedEncoder.features`.
        to_rate_hz: rate of the result.
        sample_rate_hz: of samples that come without their rate; `to_rate_hz` when None.

    Returns:
        (W,) float32.

    Raises:
        AudioError: the audio cannot be used.
        TypeError: it is nothing that could be audio.
        ValueError: a rate is given for what states its own.
    """
    if isinstance(audio, Mapping):
        audio, stated = _of_mapping(audio)
        return _with_rate(audio, to_rate_hz, stated, sample_rate_hz)
    if isinstance(audio, tuple) and len(audio) == 2 and np.ndim(audio[1]) == 0 and np.ndim(audio[0]) > 0:
        return _with_rate(audio[0], to_rate_hz, audio[1], sample_rate_hz)
    if not isinstance(audio, (str, os.PathLike, bytes, bytearray, memoryview)) and not hasattr(audio, "read"):
        return _of_samples(audio, to_rate_hz, to_rate_hz if sample_rate_hz is None else sample_rate_hz)
    if sample_rate_hz is not None:
        raise ValueError(f"sample_rate_hz={sample_rate_hz} goes with samples; a file states its own rate")
    if isinstance(audio, (str, os.PathLike)):
        return ClipReader(to_rate_hz).load(os.fsdecode(audio))
    return _of_bytes(audio, to_rate_hz)


def _of_mapping(audio: Mapping[str, Any]) -> tuple[Any, Any]:
    """Audio and its rate, as the data sets of Hugging Face hold them: decoded, or as bytes with a path."""
    if "array" in audio and "sampling_rate" in audio:
        return audio["array"], audio["sampling_rate"]
    for key in ("bytes", "path"):
        if audio.get(key) is not None:
            return audio[key], None
    raise TypeError(
        f"expected a dict with array and sampling_rate, got one with {', '.join(map(str, audio)) or 'nothing'}"
    )


def _with_rate(audio: Any, to_rate_hz: int, stated: Any, given: int | None) -> Tensor:
    if stated is None:
        return read_waveform(audio, to_rate_hz, given)
    try:
        rate_hz = float(stated)
    except (TypeError, ValueError):
        raise TypeError(f"expected a sample rate in Hz, got {stated!r}") from None
    if given is not None and given != rate_hz:
        raise ValueError(f"sample_rate_hz={given}, but the samples come with a rate of {stated} Hz")
    return _of_samples(audio, to_rate_hz, rate_hz)


def _of_samples(audio: Any, to_rate_hz: int, rate_hz: float) -> Tensor:
    try:
        samples = audio.detach().cpu().numpy() if isinstance(audio, Tensor) else np.asarray(audio)
    except ValueError as error:  # lists of unequal lengths
        raise TypeError(f"expected samples, got a {type(audio).__name__} that is no array ({error})") from None
    if samples.dtype.kind not in "iufbc":
        raise TypeError(
            "expected a path, an open binary file, bytes, samples, (samples, rate) or a dict with array and "
            f"sampling_rate, got {type(audio).__name__}"
        )
    if not float(rate_hz).is_integer():
        raise AudioError(_NAME, f"sample rate of {rate_hz} Hz, expected a whole number")
    if samples.ndim == 2 and samples.shape[0] < samples.shape[1]:
        samples = samples.T
    return mono_waveform(samples, int(rate_hz), to_rate_hz, "the waveform", warn_always=True)


def _of_bytes(audio: Any, to_rate_hz: int) -> Tensor:
    """An encoded file that is in memory, or open: it is read from where it stands."""
    content = audio.read() if hasattr(audio, "read") else audio
    if isinstance(content, str):
        raise TypeError("expected a file opened for reading bytes (mode 'rb'), got one opened for text")
    name = getattr(audio, "name", None)
    return load_waveform(name if isinstance(name, str) else _NAME, to_rate_hz, encoded=io.BytesIO(content))
