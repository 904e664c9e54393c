"""Audio files -> mono waveforms at the rate the model hears.

Decoding is libsndfile's (wav, flac, ogg/vorbis, opus, mp3, aiff, ...), resampling torchaudio's. Everything that can be
wrong with a file ends in an `AudioError` that names the file and the reason: a caller that goes through millions of
clips catches one type, reports it, and carries on.
"""

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Optional, Union

import numpy as np
import soundfile
import torch
from torch import Tensor

from .integrity import find_damage, length_is_exact
from .resampling import resample

# Beyond this a float sample is garbage rather than loud: its square would overflow in the power spectrum.
MAX_ABS_SAMPLE = 1e12
PLAUSIBLE_RATES_HZ = (1_000, 1_000_000)  # others stand in damaged headers, and resampling from 1 Hz fills any memory
MAX_CHANNELS = 1024  # libsndfile's own limit
_MANY_CHANNELS = 8  # below, NumPy's mean over the channels takes seven times as long as adding them one by one
_BLOCK_FRAMES = 1 << 20  # frames decoded at a time, so that many channels of a long file never stand in memory at once
_UNKNOWN_LENGTH = 1 << 62  # libsndfile's way to say so is the largest integer

PathLike = Union[str, Path]


class AudioError(Exception):
    """A file (or array) that cannot be used as audio.

    Attributes:
        path: name of the file, as the caller gave it.
        reason: what is wrong with it, in one line.
    """

    def __init__(self, path: PathLike, reason: str):
        # Both arguments reach Exception so that the error survives the pickling between loader processes.
        super().__init__(str(path), reason)
        self.path = str(path)
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


@dataclass(frozen=True)
class AudioInfo:
    """What the header of an audio file says; `num_samples` counts samples per channel."""

    sample_rate_hz: int
    num_channels: int
    num_samples: int

    @property
    def duration_s(self) -> float:
        return self.num_samples / self.sample_rate_hz


def _open(path: PathLike, encoded: Optional[BinaryIO] = None) -> soundfile.SoundFile:
    """Open for reading, or raise AudioError."""
    if encoded is None:
        _require_file(path)
    try:
        file = soundfile.SoundFile(_system_name(path) if encoded is None else encoded)
    except (soundfile.SoundFileError, OSError, TypeError, ValueError) as error:  # TypeError: soundfile's answer to .raw
        raise AudioError(path, f"not readable as audio ({_one_line(error)})") from error
    if file.frames >= _UNKNOWN_LENGTH:
        file.close()
        raise AudioError(path, "its header states no length, as when written to a pipe; rewrite the file")
    return file


def _require_file(path: PathLike) -> None:
    try:
        status = os.stat(path)
    except FileNotFoundError as error:
        raise AudioError(path, "no such file") from error
    except (OSError, ValueError) as error:  # no permission, endless links, a name that no file can have
        raise AudioError(path, f"cannot be opened ({getattr(error, 'strerror', None) or error})") from error
    if not stat.S_ISREG(status.st_mode):
        raise AudioError(path, "not a regular file")
    if status.st_size == 0:
        raise AudioError(path, "the file has 0 bytes")


def _system_name(path: PathLike) -> Union[str, bytes]:
    """The name as the system has it: under POSIX any bytes, which need not be text."""
    return os.fsencode(path) if os.name == "posix" else str(path)


def _one_line(error: Exception) -> str:
    text = getattr(error, "error_string", str(error))  # libsndfile's own words; str() would name the file once more
    return " ".join(text.split()) or type(error).__name__


def _info(file: soundfile.SoundFile) -> AudioInfo:
    return AudioInfo(file.samplerate, file.channels, file.frames)


def probe(path: PathLike, encoded: Optional[BinaryIO] = None) -> AudioInfo:
    """Read a file's header; whether all of the file is there is only looked at when it is loaded.

    Args:
        path: the file.
        encoded: what to read in its place when it lies inside another file; `path` is then only its name.

    Raises:
        AudioError: the file is missing or not audio.
    """
    with _open(path, encoded) as file:
        return _info(file)


def load_waveform(
    path: PathLike,
    sample_rate_hz: int = 16_000,
    start_s: float = 0.0,
    duration_s: Optional[float] = None,
    encoded: Optional[BinaryIO] = None,
) -> Tensor:
    """Decode a file, or an excerpt of it, to one channel at the wanted rate.

    Args:
        path: any file that libsndfile reads, of any rate and number of channels.
        sample_rate_hz: rate of the result.
        start_s: where the excerpt begins. Nothing outside the excerpt is decoded into memory.
        duration_s: length of the excerpt, to the end when None; a file that ends earlier gives what it has.
        encoded: what to read in place of `path` when the file lies inside another one; `path` is then only its name.

    Returns:
        float32 samples (W,), in [-1, 1] for integer formats.

    Raises:
        AudioError: the file is missing, unreadable, truncated, without samples, shorter than `start_s`, or holds values
            that are not finite.
    """
    if start_s < 0 or (duration_s is not None and duration_s <= 0):
        raise ValueError(f"expected start_s >= 0 and duration_s > 0, got start_s={start_s}, duration_s={duration_s}")
    with _open(path, encoded) as file:
        info = _info(file)
        source = path if encoded is None else encoded
        damage = find_damage(file, source)
        if damage:
            raise AudioError(path, damage)
        if info.num_samples == 0:
            raise AudioError(path, "holds no samples")
        start = round(start_s * info.sample_rate_hz)
        if start >= info.num_samples:
            raise AudioError(path, f"the excerpt starts at {start_s} s, the file ends at {info.duration_s:.3f} s")
        stop = info.num_samples
        if duration_s is not None:
            stop = min(stop, start + max(1, round(duration_s * info.sample_rate_hz)))
        samples, position = _decode(file, path, start, stop)
        if position < stop and length_is_exact(file, source):
            raise AudioError(path, f"truncated: the header promises {stop} samples, decoding ends after {position}")
    return mono_waveform(samples, info.sample_rate_hz, sample_rate_hz, path)


def _decode(file: soundfile.SoundFile, path: PathLike, start: int, stop: int) -> tuple[np.ndarray, int]:
    """Samples [start, stop) of an open file, channels averaged: float32 (W,), and the position where decoding ended."""
    blocks = []
    dtype = "int16" if file.subtype == "PCM_16" else "float32"  # NumPy scales integers faster than libsndfile does
    try:
        if start:
            file.seek(start)
        position = start
        while position < stop:
            block = file.read(min(_BLOCK_FRAMES, stop - position), dtype=dtype)
            if len(block) == 0:
                break
            position += len(block)
            blocks.append(_average_channels(_to_float32(block, path)))
    except (soundfile.SoundFileError, OSError) as error:
        raise AudioError(path, f"decoding failed, the file is damaged or truncated ({_one_line(error)})") from error
    if not blocks:
        raise AudioError(path, f"damaged: no samples could be decoded behind position {start}")
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks), position


def _average_channels(samples: np.ndarray) -> np.ndarray:
    if samples.ndim == 1:
        return samples
    num_channels = samples.shape[1]
    with np.errstate(invalid="ignore", over="ignore"):  # inf - inf: the result is tested for finiteness anyway
        if num_channels >= _MANY_CHANNELS:
            return samples.mean(axis=1)
        total = samples[:, 0].copy()
        for channel in range(1, num_channels):
            total += samples[:, channel]
        total /= num_channels
        return total


def mono_waveform(samples: np.ndarray, from_rate_hz: int, to_rate_hz: int, name: PathLike) -> Tensor:
    """Turn decoded samples of any source (file, h5 data set, tar member) into a mono waveform.

    Args:
        samples: (W,) or (W, channels); integers are scaled to [-1, 1], floats are taken as they are.
        from_rate_hz: rate of `samples`.
        to_rate_hz: rate of the result.
        name: what to call the source in an error.

    Returns:
        float32 samples (W',). Channels are averaged before resampling.

    Raises:
        AudioError: no samples, a shape, type or rate that is not audio, or values that are not finite.
    """
    samples = np.asarray(samples)
    if not PLAUSIBLE_RATES_HZ[0] <= from_rate_hz <= PLAUSIBLE_RATES_HZ[1]:
        raise AudioError(name, "sample rate of {} Hz, expected {} to {} Hz".format(from_rate_hz, *PLAUSIBLE_RATES_HZ))
    if samples.ndim not in (1, 2) or (samples.ndim == 2 and not 1 <= samples.shape[1] <= MAX_CHANNELS):
        raise AudioError(name, f"expected samples of shape (W,) or (W, channels), got {samples.shape}")
    if len(samples) == 0:
        raise AudioError(name, "holds no samples")
    waveform = _average_channels(_to_float32(samples, name))
    if not np.abs(waveform).max() <= MAX_ABS_SAMPLE:  # written so that NaN fails as well
        bad = int(np.argmax(~(np.abs(waveform) <= MAX_ABS_SAMPLE)))
        raise AudioError(name, f"sample {bad} is {waveform[bad]}, expected finite values (in [-1, 1])")
    return resample(torch.from_numpy(np.ascontiguousarray(waveform)), from_rate_hz, to_rate_hz)


def _to_float32(samples: np.ndarray, name: PathLike) -> np.ndarray:
    if samples.dtype.kind == "f":
        with np.errstate(over="ignore"):  # too large for float32 becomes inf, which is refused
            return samples.astype(np.float32, copy=False)
    if samples.dtype.kind == "i":
        return samples.astype(np.float32) / np.float32(2.0 ** (8 * samples.dtype.itemsize - 1))
    if samples.dtype == np.uint8:  # 8-bit PCM is stored with an offset
        return (samples.astype(np.float32) - 128.0) / 128.0
    raise AudioError(name, f"expected integer or float samples, got {samples.dtype}")
