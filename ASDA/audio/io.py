"""Audio files -> mono waveforms at the rate the model hears.

Decoding is libsndfile's (wav, flac, ogg/vorbis, opus, mp3, aiff, ...), resampling torchaudio's. Everything that can be
wrong with a file ends in an `AudioError` that names the file and the reason: a caller that goes through millions of
clips catches one type, reports it, and carries on.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO, Optional

import numpy as np
import soundfile
from torch import Tensor

from .errors import AudioError, PathLike
from .formats.source import Source
from .integrity import find_damage, find_unread, length_is_exact
from .opening import one_line, open_audio
from .samples import average_channels, resampled, to_float32

_BLOCK_SAMPLES = 1 << 21  # decoded at a time, so that many channels of a long file never stand in memory at once


@dataclass(frozen=True)
class AudioInfo:
    """What the header of an audio file says; `num_samples` counts samples per channel."""

    sample_rate_hz: int
    num_channels: int
    num_samples: int

    @property
    def duration_s(self) -> float:
        return self.num_samples / self.sample_rate_hz


class OpenAudio:
    """An audio file whose header has been read, and of which one stretch can be decoded. `opened` makes it.

    Attributes:
        info: what its header says; whether all of the file is there is only looked at when it is decoded.
    """

    def __init__(self, path: PathLike, file: soundfile.SoundFile, source: Source):
        self.info = AudioInfo(file.samplerate, file.channels, file.frames)
        self._path, self._file, self._source = path, file, source

    def load(self, sample_rate_hz: int = 16_000, start_s: float = 0.0, duration_s: Optional[float] = None) -> Tensor:
        """Decodes the file or an excerpt of it, once; see `load_waveform`."""
        if start_s < 0 or (duration_s is not None and duration_s <= 0):
            raise ValueError(
                f"expected start_s >= 0 and duration_s > 0, got start_s={start_s}, duration_s={duration_s}"
            )
        path, file, source, info = self._path, self._file, self._source, self.info
        start = round(start_s * info.sample_rate_hz)
        stop = info.num_samples
        if duration_s is not None:
            stop = min(stop, start + max(1, round(duration_s * info.sample_rate_hz)))
        damage = find_damage(file, source)
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
        unread = find_unread(file, source) if start == 0 and stop == info.num_samples else None
        if unread:
            raise AudioError(path, unread)
        return resampled(samples, info.sample_rate_hz, sample_rate_hz, path, is_wide=subtype == "PCM_32")


@contextmanager
def opened(path: PathLike, encoded: Optional[BinaryIO] = None) -> Iterator[OpenAudio]:
    """Opens a file, for those who want its header and its samples: opening takes as long as decoding a short clip.

    Args:
        path: the file.
        encoded: what to read in its place when it lies inside another file; `path` is then only its name.

    Raises:
        AudioError: the file is missing or not audio.
    """
    with open_audio(path, encoded) as (file, source):
        yield OpenAudio(path, file, source)


def probe(path: PathLike, encoded: Optional[BinaryIO] = None) -> AudioInfo:
    """Read a file's header; whether all of the file is there is only looked at when it is loaded.

    Args:
        path: the file.
        encoded: what to read in its place when it lies inside another file; `path` is then only its name.

    Raises:
        AudioError: the file is missing or not audio.
    """
    with opened(path, encoded) as audio:
        return audio.info


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
    with opened(path, encoded) as audio:
        return audio.load(sample_rate_hz, start_s, duration_s)


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
            blocks.append(average_channels(to_float32(block, path)))
    except (soundfile.SoundFileError, OSError, ValueError) as error:
        raise AudioError(path, f"decoding failed, the file is damaged or truncated ({one_line(error)})") from error
    if not blocks:
        raise AudioError(path, f"damaged: no samples could be decoded behind position {start}")
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks), position
