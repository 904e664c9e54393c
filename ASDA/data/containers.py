"""One reader for clips in files and in containers.

| path | what is read |
|---|---|
| `folder/clip.flac` | an audio file |
| `shard.h5/key` | data set `key` of an HDF5 file: samples, integer or float, one or several channels |
| `shard.tar/clip.flac` | a member of an uncompressed tar, found through an index that is made once per process |
| `shard.zip:offset:length` | an encoded clip stored without compression in a zip, the form fairseq's own tools write |

Open containers are kept per process: after a fork each data-loader worker opens its own.
"""

from __future__ import annotations

import io
import os
import re
import tarfile
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import numpy as np
import soundfile
import torch

from ASDA.audio import io as audio_io
from ASDA.audio.io import AudioError, AudioInfo

MAX_OPEN_CONTAINERS = 64
RATE_ATTRIBUTES = ("sample_rate_hz", "sample_rate", "sampling_rate", "sr")
"""Names under which an HDF5 data set, its group or its file may state the sample rate."""

_MEMBER = re.compile(r"^(?P<file>.+?\.(?P<kind>h5|hdf5|tar))/(?P<key>.+)$")
_SLICE = re.compile(r"^(?P<file>.+\.(?P<kind>zip)):(?P<key>\d+:\d+)$")


class Container(Protocol):
    """An open container; `key` names a clip in it. Errors are `OSError`, `KeyError`, `ValueError` or soundfile's."""

    def probe(self, key: str) -> AudioInfo: ...

    def read(self, key: str, start_s: float, duration_s: float | None) -> tuple[np.ndarray, int]:
        """Samples, (W,) or (W, channels), of the excerpt, and their rate in Hz."""
        ...

    def close(self) -> None: ...


class ClipReader:
    """Reads any clip a manifest can name as a mono waveform.

    Args:
        sample_rate_hz: rate of the waveforms returned.
        h5_sample_rate_hz: rate of HDF5 data that does not state its own in an attribute.
    """

    def __init__(self, sample_rate_hz: int = 16_000, h5_sample_rate_hz: int = 32_000):
        self.sample_rate_hz = sample_rate_hz
        self.h5_sample_rate_hz = h5_sample_rate_hz
        self._open: OrderedDict[str, Container] = OrderedDict()
        self._process = os.getpid()

    def probe(self, path: str) -> AudioInfo:
        """Rate, channels and length of a clip, without decoding it.

        Raises:
            AudioError: the clip is missing or cannot be read.
        """
        file, kind, key = split_container(path)
        if kind is None:
            return audio_io.probe(path)
        with _as_audio_error(path):
            return self._container(file, kind).probe(key)

    def load(self, path: str, start_s: float = 0.0, duration_s: float | None = None) -> torch.Tensor:
        """Decodes an excerpt of a clip; channels are averaged before resampling.

        Returns:
            (W,) float32.

        Raises:
            AudioError: the clip is missing, cannot be read, is empty or holds NaN or infinity.
        """
        file, kind, key = split_container(path)
        if kind is None:
            return audio_io.load_waveform(path, self.sample_rate_hz, start_s=start_s, duration_s=duration_s)
        with _as_audio_error(path):
            samples, rate_hz = self._container(file, kind).read(key, start_s, duration_s)
        return audio_io.mono_waveform(samples, rate_hz, self.sample_rate_hz, path)

    def close(self) -> None:
        """Closes every open container."""
        while self._open:
            self._open.popitem()[1].close()

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_open": OrderedDict()}

    def _container(self, file: str, kind: str) -> Container:
        if self._process != os.getpid():  # a forked worker must not share file positions with its parent
            self.close()
            self._process = os.getpid()
        if file in self._open:
            self._open.move_to_end(file)
            return self._open[file]
        container: Container
        if kind == "tar":
            container = TarContainer(file)
        elif kind == "zip":
            container = ZipContainer(file)
        else:
            container = Hdf5Container(file, self.h5_sample_rate_hz)
        self._open[file] = container
        if len(self._open) > MAX_OPEN_CONTAINERS:
            self._open.popitem(last=False)[1].close()
        return container


def split_container(path: str) -> tuple[str, str | None, str]:
    """(container file, its kind, key in it), or (path, None, "") for an audio file."""
    match = _MEMBER.match(path) or _SLICE.match(path)
    if match is None or os.path.isdir(match["file"]):
        return path, None, ""
    kind = "h5" if match["kind"] == "hdf5" else match["kind"]
    return match["file"], kind, match["key"]


class Hdf5Container:
    """HDF5 data sets of samples."""

    def __init__(self, file: str, default_rate_hz: int):
        import h5py  # only those who have h5 data pay for its import

        self._h5py = h5py
        self._file = h5py.File(file, "r")
        self._default_rate_hz = default_rate_hz

    def probe(self, key: str) -> AudioInfo:
        data = self._data(key)
        length, channels = (data.shape[0], 1) if data.ndim == 1 else (max(data.shape), min(data.shape))
        return AudioInfo(sample_rate_hz=self._rate_hz(data), num_channels=channels, num_samples=length)

    def read(self, key: str, start_s: float, duration_s: float | None) -> tuple[np.ndarray, int]:
        data = self._data(key)
        rate_hz = self._rate_hz(data)
        excerpt = _excerpt(rate_hz, start_s, duration_s)
        if data.ndim == 1:
            return data[excerpt], rate_hz
        # Channels come first in some files and last in others; there are always fewer of them than samples.
        return (data[excerpt] if data.shape[0] >= data.shape[1] else data[:, excerpt].T), rate_hz

    def close(self) -> None:
        self._file.close()

    def _data(self, key: str):
        if key not in self._file:
            raise KeyError(f"no data set {key!r} in the file")
        data = self._file[key]
        if not isinstance(data, self._h5py.Dataset) or data.ndim not in (1, 2):
            shape = data.shape if isinstance(data, self._h5py.Dataset) else "a group"
            raise ValueError(f"expected a data set of shape (samples,) or (samples, channels), found {shape}")
        return data

    def _rate_hz(self, data) -> int:
        for place in (data, data.parent, self._file):
            for name in RATE_ATTRIBUTES:
                if name in place.attrs:
                    return int(place.attrs[name])
        return self._default_rate_hz


class EncodedContainer:
    """A file that holds encoded clips (wav, flac, ...) as plain ranges of bytes."""

    def __init__(self, file: str):
        self._descriptor = os.open(file, os.O_RDONLY)

    def locate(self, key: str) -> tuple[int, int]:
        """Offset and length in bytes of a clip."""
        raise NotImplementedError

    def probe(self, key: str) -> AudioInfo:
        with soundfile.SoundFile(self._bytes(key)) as sound:
            return AudioInfo(sample_rate_hz=sound.samplerate, num_channels=sound.channels, num_samples=sound.frames)

    def read(self, key: str, start_s: float, duration_s: float | None) -> tuple[np.ndarray, int]:
        with soundfile.SoundFile(self._bytes(key)) as sound:
            excerpt = _excerpt(sound.samplerate, start_s, duration_s)
            sound.seek(min(excerpt.start, sound.frames))
            frames = -1 if excerpt.stop is None else excerpt.stop - excerpt.start
            return sound.read(frames, dtype="float32"), sound.samplerate

    def close(self) -> None:
        os.close(self._descriptor)

    def _bytes(self, key: str) -> io.BytesIO:
        offset, length = self.locate(key)
        data = os.pread(self._descriptor, length, offset)
        if len(data) != length:
            raise ValueError(f"expected {length} bytes at offset {offset}, the file ends after {len(data)} of them")
        return io.BytesIO(data)


class ZipContainer(EncodedContainer):
    """Stored members of a zip, named by `offset:length`."""

    def locate(self, key: str) -> tuple[int, int]:
        offset, length = key.split(":")
        return int(offset), int(length)


class TarContainer(EncodedContainer):
    """Members of an uncompressed tar.

    The headers are read once; then any member is one positioned read away, so a random order costs no more than a
    sequential one.
    """

    def __init__(self, file: str):
        super().__init__(file)
        try:
            with tarfile.open(file, "r:") as archive:
                self._index = {member.name: (member.offset_data, member.size) for member in archive if member.isfile()}
        except tarfile.TarError as error:
            self.close()
            raise ValueError(f"not an uncompressed tar file, or a damaged one: {error}") from error

    def locate(self, key: str) -> tuple[int, int]:
        if key not in self._index:
            raise KeyError(f"no member {key!r} in the tar")
        return self._index[key]


def _excerpt(rate_hz: int, start_s: float, duration_s: float | None) -> slice:
    start = round(start_s * rate_hz)
    return slice(start, None if duration_s is None else start + round(duration_s * rate_hz))


@contextmanager
def _as_audio_error(path: str) -> Iterator[None]:
    try:
        yield
    except (OSError, KeyError, ValueError, soundfile.LibsndfileError) as error:
        reason = error.args[0] if isinstance(error, KeyError) and error.args else error
        raise AudioError(path, str(reason)) from error
