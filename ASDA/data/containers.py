"""One reader for clips in files and in containers.

| path | what is read |
|---|---|
| `folder/clip.flac` | an audio file |
| `shard.h5/key` | data set `key` of an HDF5 file: samples, integer or float, one or several channels |
| `shard.tar/clip.flac` | a member of an uncompressed tar, found through an index (see `tar_index`) |
| `shard.zip:offset:length` | an encoded clip stored without compression in a zip, the form fairseq's own tools write |

Open containers are kept per process: after a fork each data-loader worker opens its own.
"""

from __future__ import annotations

import io
import os
import re
import tarfile
from collections import OrderedDict
from typing import Protocol

import torch

from ..audio import io as audio_io
from ..audio.io import AudioError, AudioInfo
from .tar_index import BLOCK_BYTES, TarIndex, header_names

MAX_OPEN_CONTAINERS = 64
RATE_ATTRIBUTES = ("sample_rate_hz", "sample_rate", "sampling_rate", "sr")
"""Names under which an HDF5 data set, its group or its file may state the sample rate."""

_MEMBER_BORDER = re.compile(r"\.(?P<kind>h5|hdf5|tar)/", re.IGNORECASE)
_SLICE = re.compile(r"^(?P<file>.+\.zip):(?P<key>\d+:\d+)$", re.IGNORECASE)


class Container(Protocol):
    """An open container; `key` names a clip in it and `path` is what to call the clip in an error."""

    def probe(self, key: str, path: str) -> AudioInfo: ...

    def load(
        self, key: str, path: str, sample_rate_hz: int, start_s: float, duration_s: float | None
    ) -> torch.Tensor: ...

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
        self._tar_indices: dict[str, TarIndex] = {}  # kept when a tar is closed to make room for others
        self._process = os.getpid()

    def probe(self, path: str) -> AudioInfo:
        """Rate, channels and length of a clip, without decoding it.

        Raises:
            AudioError: the clip is missing or cannot be read.
        """
        file, kind, key = split_container(path)
        if kind is None:
            return audio_io.probe(path)
        return self._container(path, file, kind).probe(key, path)

    def load(self, path: str, start_s: float = 0.0, duration_s: float | None = None) -> torch.Tensor:
        """Decodes an excerpt of a clip; channels are averaged before resampling.

        Returns:
            (W,) float32.

        Raises:
            AudioError: the clip is missing, cannot be read, is empty or holds NaN or infinity.
        """
        file, kind, key = split_container(path)
        if kind is None:
            return audio_io.load_waveform(path, self.sample_rate_hz, start_s, duration_s)
        return self._container(path, file, kind).load(key, path, self.sample_rate_hz, start_s, duration_s)

    def close(self) -> None:
        """Closes every open container."""
        while self._open:
            self._open.popitem()[1].close()

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_open": OrderedDict(), "_tar_indices": {}}

    def _container(self, path: str, file: str, kind: str) -> Container:
        if self._process != os.getpid():  # a forked worker must not share file positions with its parent
            self.close()
            self._process = os.getpid()
        if file in self._open:
            self._open.move_to_end(file)
            return self._open[file]
        try:
            container = self._make(file, kind)
        except (OSError, tarfile.TarError) as error:
            raise AudioError(path, f"the container cannot be opened ({error})") from error
        self._open[file] = container
        if len(self._open) > MAX_OPEN_CONTAINERS:
            self._open.popitem(last=False)[1].close()
        return container

    def _make(self, file: str, kind: str) -> Container:
        if kind == "h5":
            return Hdf5Container(file, self.h5_sample_rate_hz)
        if kind == "zip":
            return ZipContainer(file)
        if file not in self._tar_indices:
            self._tar_indices[file] = TarIndex.open(file)
        return TarContainer(file, self._tar_indices[file])


def split_container(path: str) -> tuple[str, str | None, str]:
    """(container file, its kind, key in it), or (path, None, "") for an audio file."""
    match = _SLICE.match(path)
    if match is not None:
        return match["file"], "zip", match["key"]
    for match in _MEMBER_BORDER.finditer(path):
        file = path[: match.end() - 1]
        if not os.path.isdir(file):  # folders may be called like containers
            return file, "tar" if match["kind"].lower() == "tar" else "h5", path[match.end() :]
    return path, None, ""


class Hdf5Container:
    """HDF5 data sets of samples."""

    def __init__(self, file: str, default_rate_hz: int):
        import h5py  # only those who have h5 data pay for its import

        self._dataset_type = h5py.Dataset
        self._file = h5py.File(file, "r")
        self._default_rate_hz = default_rate_hz

    def probe(self, key: str, path: str) -> AudioInfo:
        data = self._data(key, path)
        return AudioInfo(self._rate_hz(data, path), 1 if data.ndim == 1 else min(data.shape), max(data.shape))

    def load(self, key: str, path: str, sample_rate_hz: int, start_s: float, duration_s: float | None) -> torch.Tensor:
        data = self._data(key, path)
        rate_hz = self._rate_hz(data, path)
        start = round(start_s * rate_hz)
        stop = None if duration_s is None else start + round(duration_s * rate_hz)
        try:
            # Channels come first in some files and last in others; there are always fewer of them than samples.
            channels_first = data.ndim == 2 and data.shape[0] < data.shape[1]
            samples = data[:, start:stop].T if channels_first else data[start:stop]
        except (OSError, RuntimeError) as error:  # h5py raises either, by the filter that fails
            raise AudioError(path, f"the data set cannot be read ({error})") from error
        return audio_io.mono_waveform(samples, rate_hz, sample_rate_hz, path)

    def close(self) -> None:
        self._file.close()

    def _data(self, key: str, path: str):
        try:
            data = self._file[key]
        except (KeyError, OSError) as error:  # OSError: a damaged file
            raise AudioError(path, f"the h5 file holds no data set {key!r}") from error
        if not isinstance(data, self._dataset_type):
            raise AudioError(path, f"expected a data set, {key!r} is a {type(data).__name__.lower()}")
        if data.ndim not in (1, 2) or data.size == 0:
            raise AudioError(path, f"expected samples of shape (W,) or (W, channels), got {data.shape}")
        return data

    def _rate_hz(self, data, path: str) -> int:
        for place in (data, data.parent, self._file):
            for name in RATE_ATTRIBUTES:
                if name in place.attrs:
                    value = place.attrs[name]
                    try:
                        return int(value)
                    except (TypeError, ValueError) as error:
                        raise AudioError(path, f"its attribute {name!r} is {value!r}, expected a rate in Hz") from error
        return self._default_rate_hz


class EncodedContainer:
    """A file that holds encoded clips (wav, flac, ...) as plain ranges of bytes."""

    def __init__(self, file: str):
        self._descriptor = os.open(file, os.O_RDONLY)

    def locate(self, key: str, path: str) -> tuple[int, int]:
        """Offset and length in bytes of a clip."""
        raise NotImplementedError

    def probe(self, key: str, path: str) -> AudioInfo:
        return audio_io.probe(path, self._encoded(key, path))

    def load(self, key: str, path: str, sample_rate_hz: int, start_s: float, duration_s: float | None) -> torch.Tensor:
        return audio_io.load_waveform(path, sample_rate_hz, start_s, duration_s, self._encoded(key, path))

    def close(self) -> None:
        os.close(self._descriptor)

    def _encoded(self, key: str, path: str) -> io.BytesIO:
        offset, length = self.locate(key, path)
        data = os.pread(self._descriptor, length, offset)  # no shared file position: threads may read side by side
        if len(data) != length:
            raise AudioError(path, f"expected {length} bytes at offset {offset}, the file holds {len(data)} there")
        return io.BytesIO(data)


class ZipContainer(EncodedContainer):
    """Stored members of a zip, named by `offset:length`."""

    def locate(self, key: str, path: str) -> tuple[int, int]:
        offset, length = key.split(":")
        return int(offset), int(length)


class TarContainer(EncodedContainer):
    """Members of an uncompressed tar: through the index any of them is one positioned read away."""

    def __init__(self, file: str, index: TarIndex):
        super().__init__(file)
        self._index = index

    def locate(self, key: str, path: str) -> tuple[int, int]:
        try:
            offset, size = self._index.locate(key)
        except KeyError:
            raise AudioError(path, f"the tar holds no member {key!r}") from None
        if not header_names(os.pread(self._descriptor, BLOCK_BYTES, offset - BLOCK_BYTES), key):
            raise AudioError(path, "the tar's index belongs to another tar; delete it or make the manifest again")
        return offset, size
