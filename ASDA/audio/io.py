"""Audio files -> mono waveforms at the rate the model hears.

Decoding is libsndfile's (wav, flac, ogg/vorbis, opus, mp3, aiff, ...), resampling torchaudio's. Everything that can be
wrong with a file ends in an `AudioError` that names the file and the reason: a caller that goes through millions of
clips catches one type, reports it, and carries on.
"""

import io
import logging
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Optional, Union

import numpy as np
import soundfile
import torch
from torch import Tensor

from .formats.foreign import HEAD_BYTES, audio_kind, foreign_kind
from .formats.source import FileBytes, MemoryBytes, Source
from .formats.tags import skip_id3
from .integrity import CHECKED_FORMATS, find_damage, header_damage, length_is_exact
from .resampling import resample
from .spelling import existing_spelling

logger = logging.getLogger(__name__)

# Beyond this a float sample is garbage rather than loud: its square would overflow in the power spectrum.
MAX_ABS_SAMPLE = 1e12
MAX_PLAUSIBLE_PEAK = 256.0  # 48 dB above full scale: integers that were made floats without being divided
MIN_PLAUSIBLE_PEAK = 2.0**-15  # one step of 16 bits: below it, 16-bit values stand in wider integers
PLAUSIBLE_RATES_HZ = (1_000, 1_000_000)  # others stand in damaged headers, and resampling from 1 Hz fills any memory
MAX_CHANNELS = 1024  # libsndfile's own limit
_MANY_CHANNELS = 8  # below, NumPy's mean over the channels takes seven times as long as adding them one by one
_BLOCK_SAMPLES = 1 << 21  # decoded at a time, so that many channels of a long file never stand in memory at once
_MAX_QUIET_NAMED = 5  # clips that are near silence, in the log of a process
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


class AmplitudeError(AudioError):
    """Samples on a scale that is not audio's: the numbers are there, but what they mean is not."""


@dataclass(frozen=True)
class AudioInfo:
    """What the header of an audio file says; `num_samples` counts samples per channel."""

    sample_rate_hz: int
    num_channels: int
    num_samples: int

    @property
    def duration_s(self) -> float:
        return self.num_samples / self.sample_rate_hz


@contextmanager
def _opened(path: PathLike, encoded: Optional[BinaryIO]) -> Iterator[tuple[soundfile.SoundFile, Source]]:
    """The decoder of a file and the file's bytes, or AudioError."""
    if encoded is not None:
        source, descriptor = MemoryBytes(encoded), None
    else:
        descriptor = _open_file(path)
        source = FileBytes(descriptor)
        # By descriptor: a path would make libsndfile take any file called .au, .snd, .vox or .gsm for samples without
        # a header. (Under Windows descriptors mean nothing to it.)
        encoded = descriptor if os.name == "posix" else os.fspath(path)
    try:
        tags = skip_id3(source)
        if tags and audio_kind(source.read(tags, HEAD_BYTES)) not in (None, "mp3"):
            # Before other formats libsndfile passes over one such tag, and then miscounts in some of them.
            encoded = io.BytesIO(source.read(tags, source.num_bytes - tags))
            source = MemoryBytes(encoded)
        with _decoder(path, encoded, source) as file:
            yield file, source
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _decoder(path: PathLike, encoded: Union[int, str, BinaryIO], source: Source) -> soundfile.SoundFile:
    if source.num_bytes == 0:
        raise AudioError(path, "the file has 0 bytes")
    try:
        file = soundfile.SoundFile(encoded, closefd=False)
    except (soundfile.SoundFileError, OSError, TypeError, ValueError) as error:  # TypeError: soundfile's answer to .raw
        raise AudioError(path, f"not readable as audio: {_what_it_is(source, error)}") from error
    reason = None
    if file.format not in CHECKED_FORMATS:
        reason = f"{file.format_info} is not read here, as nothing would tell what is missing of it; convert it to flac"
    elif file.frames >= _UNKNOWN_LENGTH:
        reason = "its header states no length, as when written to a pipe; rewrite the file"
    elif not PLAUSIBLE_RATES_HZ[0] <= file.samplerate <= PLAUSIBLE_RATES_HZ[1]:
        reason = _implausible_rate(file.samplerate)
    if reason is not None:
        file.close()
        raise AudioError(path, reason)
    return file


def _what_it_is(source: Source, error: Exception) -> str:
    """What a file is that libsndfile does not open: by its content where that tells, else by libsndfile's words."""
    words = _one_line(error)
    head = source.read(skip_id3(source), HEAD_BYTES)
    foreign = foreign_kind(head)
    if foreign is not None:
        return foreign
    kind = audio_kind(head)
    if kind is None:
        return f"no known format ({words})"
    return header_damage(source) or f"{kind} with a damaged or truncated header ({words})"


def _open_file(path: PathLike) -> int:
    """A descriptor of a regular file."""
    try:
        try:
            status = os.stat(path)
        except FileNotFoundError:
            path = existing_spelling(path)
            status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for its other end
            raise AudioError(path, "not a regular file")
        return os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    except FileNotFoundError as error:
        raise AudioError(path, "no such file") from error
    except (OSError, ValueError) as error:  # no permission, endless links, a name that no file can have
        raise AudioError(path, f"cannot be opened ({getattr(error, 'strerror', None) or error})") from error


def _implausible_rate(rate_hz: float) -> str:
    return "sample rate of {} Hz, expected {} to {} Hz".format(rate_hz, *PLAUSIBLE_RATES_HZ)


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
    with _opened(path, encoded) as (file, _):
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
    with _opened(path, encoded) as (file, source):
        info = _info(file)
        start = round(start_s * info.sample_rate_hz)
        stop = info.num_samples
        if duration_s is not None:
            stop = min(stop, start + max(1, round(duration_s * info.sample_rate_hz)))
        damage = find_damage(file, source, whole=start == 0 and stop == info.num_samples)
        if damage:
            raise AudioError(path, damage)
        if info.num_samples == 0:
            raise AudioError(path, "holds no samples")
        if start >= info.num_samples:
            raise AudioError(path, f"the excerpt starts at {start_s} s, the file ends at {info.duration_s:.3f} s")
        subtype = file.subtype  # soundfile searches a table for it
        samples, position = _decode(file, path, start, stop, "int16" if subtype == "PCM_16" else "float32")
        if position < stop and length_is_exact(file, source):
            raise AudioError(path, f"truncated: the header promises {stop} samples, decoding ends after {position}")
    return _resampled(samples, info.sample_rate_hz, sample_rate_hz, path, is_wide=subtype == "PCM_32")


def _decode(file: soundfile.SoundFile, path: PathLike, start: int, stop: int, dtype: str) -> tuple[np.ndarray, int]:
    """Samples [start, stop) of an open file, channels averaged: float32 (W,), and the position where decoding ended.

    `dtype` is the decoder's: NumPy scales integers of 16 bits faster than libsndfile does.
    """
    blocks = []
    block_frames = max(1, _BLOCK_SAMPLES // file.channels)
    try:
        if start:
            file.seek(start)
        position = start
        while position < stop:
            block = file.read(min(block_frames, stop - position), dtype=dtype)
            if len(block) == 0:
                break
            position += len(block)
            blocks.append(_average_channels(_to_float32(block, path)))
    except (soundfile.SoundFileError, OSError, ValueError) as error:
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
        raise AudioError(name, _implausible_rate(from_rate_hz))
    if samples.ndim not in (1, 2) or (samples.ndim == 2 and not 1 <= samples.shape[1] <= MAX_CHANNELS):
        raise AudioError(name, f"expected samples of shape (W,) or (W, channels), got {samples.shape}")
    if len(samples) == 0:
        raise AudioError(name, "holds no samples")
    is_wide = samples.dtype.kind == "i" and samples.dtype.itemsize == 4
    return _resampled(_average_channels(_to_float32(samples, name)), from_rate_hz, to_rate_hz, name, is_wide)


def _resampled(waveform: np.ndarray, from_rate_hz: int, to_rate_hz: int, name: PathLike, is_wide: bool) -> Tensor:
    """Checks the amplitude of a mono waveform (W,), and resamples it; `is_wide`: its samples had 32 bits."""
    peak = np.abs(waveform).max()
    if not peak <= MAX_ABS_SAMPLE:  # written so that NaN fails as well
        bad = int(np.argmax(~(np.abs(waveform) <= MAX_ABS_SAMPLE)))
        raise AudioError(name, f"sample {bad} is {waveform[bad]}, expected finite values (in [-1, 1])")
    if peak > MAX_PLAUSIBLE_PEAK:
        raise AmplitudeError(name, f"samples up to {peak:g}, expected [-1, 1]; divide 16-bit values by 32768")
    if is_wide and 0 < peak < MIN_PLAUSIBLE_PEAK:
        _warn_of_near_silence(name)
    return resample(torch.from_numpy(np.ascontiguousarray(waveform)), from_rate_hz, to_rate_hz)


_quiet: set[str] = set()


def _warn_of_near_silence(name: PathLike) -> None:
    """Once for each of the first clips of a process: a whole corpus may be like that."""
    if str(name) in _quiet or len(_quiet) > _MAX_QUIET_NAMED:
        return
    _quiet.add(str(name))
    if len(_quiet) > _MAX_QUIET_NAMED:
        logger.warning("more clips are near silence in the same way; `asda-manifest check` counts them")
        return
    logger.warning(
        "%s: no sample is above 1/32768 of full scale, as when 16-bit values are kept in 32-bit integers; it is "
        "heard as near silence",
        name,
    )


def _to_float32(samples: np.ndarray, name: PathLike) -> np.ndarray:
    if samples.dtype.kind == "f":
        with np.errstate(over="ignore"):  # too large for float32 becomes inf, which is refused
            return samples.astype(np.float32, copy=False)
    if samples.dtype.kind == "i" and samples.dtype.itemsize == 8:
        raise AmplitudeError(
            name,
            "integers of 64 bits do not say how large full scale is; convert them to the type that the samples had "
            "(int16, int32), or to floats in [-1, 1]",
        )
    if samples.dtype.kind == "i":
        return samples.astype(np.float32) / np.float32(2.0 ** (8 * samples.dtype.itemsize - 1))
    if samples.dtype == np.uint8:  # 8-bit PCM is stored with an offset
        return (samples.astype(np.float32) - 128.0) / 128.0
    raise AudioError(name, f"expected integer or float samples, got {samples.dtype}")
