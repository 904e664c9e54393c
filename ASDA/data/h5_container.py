"""Clips in HDF5 files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

import torch

from ..audio.errors import AudioError
from ..audio.io import AudioInfo
from ..audio.samples import mono_waveform
from .h5_layout import LayoutError, Place, find_place, stated_rate_hz
from .h5_tables import Known


@dataclass(frozen=True)
class OpenRow:
    """A clip in a data set, found but not read; `info` is what is known of it."""

    place: Place
    path: str
    info: AudioInfo

    def load(self, sample_rate_hz: int, start_s: float, duration_s: float | None) -> torch.Tensor:
        """Reads an excerpt, or all of it."""
        rate_hz, num_samples = self.info.sample_rate_hz, self.info.num_samples
        start = round(start_s * rate_hz)
        stop = num_samples if duration_s is None else start + max(1, round(duration_s * rate_hz))
        if start >= num_samples:
            length_s = num_samples / rate_hz
            raise AudioError(self.path, f"the excerpt starts at {start_s} s, the clip ends at {length_s:.3f} s")
        try:
            samples = self.place.read(start, min(stop, num_samples))
        except (OSError, RuntimeError, ValueError, TypeError, MemoryError) as error:  # by the filter that fails
            raise AudioError(self.path, f"the data set cannot be read ({error})") from error
        return mono_waveform(samples, rate_hz, sample_rate_hz, self.path)


class Hdf5Container:
    """HDF5 data sets of samples."""

    def __init__(self, file: str, default_rate_hz: int):
        import h5py  # only those who have h5 data pay for its import

        self._file = h5py.File(file, "r")
        self._default_rate_hz = default_rate_hz
        self._known = Known()

    def open(self, key: str, path: str) -> AbstractContextManager[OpenRow]:
        with _layout_errors(path):
            place = find_place(self._file, key, self._known)
            rate_hz = stated_rate_hz(place.data, self._known) or self._default_rate_hz
        return nullcontext(OpenRow(place, path, AudioInfo(rate_hz, place.num_channels, place.num_samples)))

    def close(self) -> None:
        self._file.close()


@contextmanager
def _layout_errors(path: str) -> Iterator[None]:
    try:
        yield
    except LayoutError as error:
        raise AudioError(path, str(error)) from error
    except (OSError, RuntimeError, LookupError, TypeError, ValueError) as error:  # what h5py makes of damaged files
        raise AudioError(path, f"damaged: the data set cannot be opened ({error})") from error
