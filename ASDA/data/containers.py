"""One reader for clips in files and in containers.

| path | what is read |
|---|---|
| `folder/clip.flac` | an audio file |
| `shard.h5/key` | data set `key` of an HDF5 file: samples, integer or float, one or several channels |
| `shard.h5/key[17]` | row 17, counted from 0, of a data set that holds a clip in each row (see `h5_layout`) |
| `shard.parquet/audio[17]` | row 17 of a column of encoded clips, as on the Hugging Face hub (see `parquet_layout`) |
| `shard.tar/clip.flac` | a member of an uncompressed tar, found through an index (see `tar_index`) |
| `shard.zip:offset:length` | an encoded clip stored without compression in a zip, the form fairseq's own tools write |

Open containers are kept per process: after a fork each data-loader worker opens its own.
"""

from __future__ import annotations

import os
import re
import tarfile
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

import torch

from ..audio.errors import AudioError
from ..audio.io import AudioInfo, opened
from ..audio.spelling import existing_spelling
from .encoded_container import EncodedContainer
from .h5_container import Hdf5Container
from .parquet_container import ParquetContainer
from .parquet_layout import ParquetError, ParquetIndex
from .parquet_pages import KeptPages
from .tar_index import Location, MissingMemberError, TarIndex
from .tar_members import BLOCK_BYTES

MAX_OPEN_CONTAINERS = 64
CONTAINER_SUFFIXES = frozenset({".h5", ".hdf5", ".parquet", ".tar", ".zip"})

_KINDS = {"h5": "h5", "hdf5": "h5", "parquet": "parquet", "tar": "tar"}
_MEMBER_BORDER = re.compile(r"\.(?P<kind>h5|hdf5|parquet|tar)/", re.IGNORECASE)
_SLICE = re.compile(r"^(?P<file>.+\.zip):(?P<key>\d+:\d+)$", re.IGNORECASE | re.ASCII | re.DOTALL)
_MAX_DIGITS = 18  # of a place in a file


class Opened(Protocol):
    """A clip whose header, or place, is known; its samples can be had once."""

    @property
    def info(self) -> AudioInfo: ...

    def load(self, sample_rate_hz: int, start_s: float, duration_s: float | None) -> torch.Tensor: ...


class Container(Protocol):
    """An open container; `key` names a clip in it and `path` is what to call the clip in an error."""

    def open(self, key: str, path: str) -> AbstractContextManager[Opened]: ...

    def close(self) -> None: ...


class OpenClip:
    """A clip that `ClipReader.open` has opened.

    Attributes:
        info: rate, channels and length, as its header has them.
    """

    def __init__(self, clip: Opened, sample_rate_hz: int):
        self.info = clip.info
        self._clip, self._sample_rate_hz = clip, sample_rate_hz

    def load(self, start_s: float = 0.0, duration_s: float | None = None) -> torch.Tensor:
        """Decodes an excerpt, once; see `ClipReader.load`."""
        return self._clip.load(self._sample_rate_hz, start_s, duration_s)


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
        self._parquet_indices: dict[str, ParquetIndex] = {}
        self._kept_pages = KeptPages()
        self._process = os.getpid()

    @contextmanager
    def open(self, path: str) -> Iterator[OpenClip]:
        """Opens a clip, for those who want its header and its samples: it is then found and opened once.

        Raises:
            AudioError: the clip is missing or cannot be read.
        """
        file, kind, key = split_container(path)
        with opened(path) if kind is None else self._container(path, file, kind).open(key, path) as clip:
            yield OpenClip(clip, self.sample_rate_hz)

    def probe(self, path: str) -> AudioInfo:
        """Rate, channels and length of a clip, without decoding it.

        Raises:
            AudioError: the clip is missing or cannot be read.
        """
        with self.open(path) as clip:
            return clip.info

    def load(self, path: str, start_s: float = 0.0, duration_s: float | None = None) -> torch.Tensor:
        """Decodes an excerpt of a clip; channels are averaged before resampling.

        Returns:
            (W,) float32.

        Raises:
            AudioError: the clip is missing, cannot be read, is empty or holds NaN or infinity.
        """
        with self.open(path) as clip:
            return clip.load(start_s, duration_s)

    def close(self) -> None:
        """Closes every open container."""
        while self._open:
            self._open.popitem()[1].close()

    def __getstate__(self) -> dict:
        fresh = {"_open": OrderedDict(), "_tar_indices": {}, "_parquet_indices": {}, "_kept_pages": KeptPages()}
        return {**self.__dict__, **fresh}

    def _container(self, path: str, file: str, kind: str) -> Container:
        if self._process != os.getpid():  # a forked worker must not share file positions with its parent
            self.close()
            self._process = os.getpid()
        if file in self._open:
            self._open.move_to_end(file)
            return self._open[file]
        try:
            container = self._make(existing_spelling(file), kind)
        except (OSError, RuntimeError, tarfile.TarError, ParquetError) as error:  # h5py raises the second now and then
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
        if kind == "parquet":
            return ParquetContainer(file, self._parquet_indices, self._kept_pages)
        return TarContainer(file, self._tar_indices)


def split_container(path: str) -> tuple[str, str | None, str]:
    """(container file, its kind, key in it), or (path, None, "") for an audio file."""
    match = _SLICE.match(path)
    if match is not None:
        return match["file"], "zip", match["key"]
    for match in _MEMBER_BORDER.finditer(path):
        file = path[: match.end() - 1]
        if not os.path.isdir(file):  # folders may be called like containers
            return file, _KINDS[match["kind"].lower()], path[match.end() :]
    return path, None, ""


class ZipContainer(EncodedContainer):
    """Stored members of a zip, named by `offset:length`."""

    def locate(self, key: str, path: str) -> tuple[int, int]:
        offset, length = key.split(":")
        if max(len(offset), len(length)) > _MAX_DIGITS:
            raise AudioError(path, "expected a place in the file as :offset:length, these numbers are beyond any file")
        return int(offset), int(length)


class TarContainer(EncodedContainer):
    """Members of an uncompressed tar: through the index any of them is one positioned read away.

    Args:
        file: the tar.
        indices: of all tars by file; kept by the caller, as a tar is closed to make room for others.
    """

    def __init__(self, file: str, indices: dict[str, TarIndex]):
        if file not in indices:
            indices[file] = TarIndex.open(file)
        super().__init__(file)
        self._file = file
        self._indices = indices

    def locate(self, key: str, path: str) -> tuple[int, int]:
        index = self._indices[self._file]
        try:
            location = index.locate(key)
            if self._is_there(location):
                return location.offset, location.size
        except MissingMemberError as error:
            if index.is_scanned:
                raise AudioError(path, error.args[0]) from None
        return self._located_anew(key, path)

    def _located_anew(self, key: str, path: str) -> tuple[int, int]:
        """After the index has turned out not to be that of the tar: the tar itself says where its members are."""
        try:
            index = self._indices[self._file] = TarIndex.scanned(self._file)
            location = index.locate(key)
        except MissingMemberError as error:
            raise AudioError(path, error.args[0]) from None
        except (OSError, tarfile.TarError) as error:
            raise AudioError(path, f"the container cannot be read ({error})") from error
        if not self._is_there(location):
            raise AudioError(path, "the tar has changed while it is being read")
        return location.offset, location.size

    def _is_there(self, location: Location) -> bool:
        header = location.offset - BLOCK_BYTES
        return header >= 0 and location.fits(os.pread(self._descriptor, BLOCK_BYTES, header))
