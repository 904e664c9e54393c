"""What a data set of an HDF5 file is: one clip, a table with a clip in each row, or no sound at all.

The format does not say. A waveform and a matrix of labels are both numbers, and two rows may be two channels or two
clips. What is told from names and shapes is read; what is not is refused, never averaged as if rows were channels.
"""

from __future__ import annotations

import os
import re
import unicodedata
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..audio.formats.foreign import HEAD_BYTES, audio_kind
from ..audio.samples import PLAUSIBLE_RATES_HZ
from ..audio.spelling import same_name

RATE_ATTRIBUTES = ("sample_rate_hz", "sample_rate", "sampling_rate", "sr")
"""Names under which a data set, its group or its file may state the sample rate."""

MAX_CHANNELS = 8
"""More rows than this are clips, or features: recordings of more channels are seldom kept in HDF5."""

_ROW = re.compile(r"(?P<key>.+)\[(?P<row>\d{1,15})\]", re.ASCII | re.DOTALL)
_LABELS = frozenset({"target", "targets", "label", "labels", "class", "classes", "weight", "weights", "fold", "folds"})
_LENGTHS = ("lengths", "length", "num_samples", "n_samples", "audio_length", "audio_lengths", "waveform_length")
_STARTS = ("offsets", "offset", "starts", "index", "indices")
_NAMES = ("audio_name", "audio_names", "name", "names", "filename", "filenames", "file", "files", "id", "ids", "key")
_COMPANIONS = frozenset({*_NAMES, *_LENGTHS, *_LABELS})
_SOUND = re.compile(r"wave?|audio|sound|speech|sample|signal|pcm", re.IGNORECASE)
_FEATURES = re.compile(r"feat|emb|mel|spec|fbank|mfcc|logit|score|prob", re.IGNORECASE)
_MIN_ROW_SAMPLES = 2000  # rows of fewer values are vectors of features as likely as sound
_MAX_SIBLINGS = 64  # a group of more is one of clips, each with its own data set
_LOOKED_AT = 4096  # values


class LayoutError(ValueError):
    """A data set that is no clip; the message says what it looks like."""


@dataclass(frozen=True)
class Place:
    """Where the samples of a clip stand.

    Attributes:
        data: the data set.
        row: of a table; None if all of the data set is the clip.
        num_samples: per channel.
        num_channels: 1 for a row.
        channels_first: whether the first axis counts the channels.
    """

    data: Any
    row: int | None
    num_samples: int
    num_channels: int = 1
    channels_first: bool = False

    def read(self, start: int, stop: int) -> np.ndarray:
        """Samples [start, stop): (W,) or (W, channels)."""
        if self.row is not None:
            return self.data[self.row, start:stop]
        return self.data[:, start:stop].T if self.channels_first else self.data[start:stop]


@dataclass(frozen=True)
class Table:
    """A data set with a clip in each row.

    Attributes:
        lengths: samples of each row that are sound, rather than padding.
        names: what the file calls the clips; empty where it does not.
    """

    lengths: np.ndarray
    names: tuple[str, ...]


def find_place(file, key: str, tables: dict[str, Table]) -> Place:
    """Where the samples of a clip stand in an open file.

    Args:
        file: an h5py.File.
        key: name of a data set, with a row in brackets for tables.
        tables: those found so far in this file, by name; others are added.

    Raises:
        LayoutError: no such data set, or one that is no clip.
    """
    match = _ROW.fullmatch(key)
    if match and match["key"] in tables:
        return _row(file[match["key"]], tables[match["key"]], int(match["row"]))
    data = _data_set(file, key)
    if data is not None:
        return _whole(file, data)
    data = _data_set(file, match["key"]) if match else None
    if data is None:
        raise LayoutError(f"the h5 file holds no data set {key!r}")
    if (reason := not_sound(file, data)) is not None:
        raise LayoutError(reason)
    table = table_of(data)
    if table is None:
        raise LayoutError(f"{match['key']!r} of shape {data.shape} is not a table with a clip in each row")
    tables[match["key"]] = table
    return _row(data, table, int(match["row"]))


def _data_set(file, key: str):
    """The data set of that name, in whichever Unicode spelling; None if there is none."""
    import h5py  # whoever has an open file has paid for this import

    item = None
    for name in dict.fromkeys((key, same_name(key), unicodedata.normalize("NFD", key))):
        try:
            item = item if item is not None else file[name]
        except (KeyError, OSError, ValueError, RuntimeError):  # OSError, RuntimeError: a damaged file
            continue
    if item is not None and not isinstance(item, h5py.Dataset):
        raise LayoutError(f"expected a data set, {key!r} is a {type(item).__name__.lower()}")
    return item


def _row(data, table: Table, row: int) -> Place:
    if row >= len(table.lengths):
        raise LayoutError(f"a table of {len(table.lengths)} clips has no row {row}")
    if not table.lengths[row]:
        raise LayoutError(f"row {row} holds no samples: its stated length is 0")
    return Place(data, row, int(table.lengths[row]))


def _whole(file, data) -> Place:
    if (reason := not_sound(file, data)) is not None:
        raise LayoutError(reason)
    table = table_of(data)
    if table is not None:
        name = _name(data)
        raise LayoutError(
            f"a table of {len(table.lengths)} clips, one in each row: name a row, as in {name}[0]; "
            "asda-manifest folder lists them all"
        )
    if data.ndim == 1:
        return Place(data, None, len(data))
    # Channels come first in some files and last in others; there are always fewer of them than samples.
    return Place(data, None, max(data.shape), min(data.shape), data.shape[0] < data.shape[1])


def not_sound(file, data) -> str | None:
    """Why a data set can be neither a clip nor a table of clips; None if it can."""
    name = _name(data)
    if name.startswith(("features/", "times_s/")) and "settings" in file.attrs:
        return "features that asda-extract has written, no sound"
    try:
        dtype = data.dtype
    except TypeError as error:
        return f"values of a type that NumPy does not have ({error})"
    if dtype.kind not in "if" and dtype != np.uint8:
        return f"expected integer or float samples, got {dtype}"
    if data.ndim not in (1, 2) or data.size == 0:
        return f"expected samples of shape (W,) or (W, channels), got {data.shape}"
    base = name.rsplit("/", 1)[-1].lower()
    if base in _LABELS or (dtype.kind in "iu" and base in (*_LENGTHS, *_STARTS)):
        return f"by its name {'labels' if base in _LABELS else 'lengths or places of clips'}, no sound"
    if dtype == np.int64:
        return "integers of 64 bits, as labels and lengths have; samples would be int16, int32 or floats"
    if (reason := _not_written(file, data)) is not None:
        return reason
    return _not_a_vector_of_samples(data) if data.ndim == 1 else _not_a_matrix_of_samples(data)


def _name(data) -> str:
    """The name in its file; of a damaged one it may not be text."""
    name = data.name or ""
    return (name if isinstance(name, str) else os.fsdecode(name)).lstrip("/")


def _not_a_vector_of_samples(data) -> str | None:
    if data.dtype.itemsize == 1:
        kind = audio_kind(_beginning(data).tobytes()[:HEAD_BYTES])
        if kind is not None:
            return f"the bytes of an encoded file ({kind}), no samples; store it as a file, or in a tar"
    if len(data.parent) <= _MAX_SIBLINGS and (lengths := _joined_clips(data)) is not None:
        return f"many clips laid end to end, with their {lengths!r} beside them; store each on its own"
    return None


def _not_a_matrix_of_samples(data) -> str | None:
    if _label_like(data):
        return "nothing but 0 and 1, as labels are"
    if min(data.shape) > MAX_CHANNELS and table_of(data) is None:
        return (
            f"{data.shape} values look like features, or like a table of clips that does not say so: for channels of "
            f"one recording there are too many rows and columns (more than {MAX_CHANNELS})"
        )
    return None


def _beginning(data) -> np.ndarray:
    """Some of the first values; none if they cannot be read."""
    try:
        return data[:_LOOKED_AT] if data.ndim == 1 else data[: max(1, _LOOKED_AT // data.shape[1]), :_LOOKED_AT]
    except (OSError, RuntimeError, ValueError, TypeError):
        return np.empty(0, np.uint8)


def _not_written(file, data) -> str | None:
    """Whether parts of the data set are not in the file, and would read as its fill value."""
    if data.is_virtual:
        folder = os.path.dirname(file.filename)
        for source in data.virtual_sources():
            if source.file_name != "." and not os.path.exists(os.path.join(folder, source.file_name)):
                return f"a view of {source.file_name}, which is not there"
        return None
    if data.chunks is None:
        return None if data.id.get_storage_size() or data.external else "nothing was ever written to it"
    expected = int(
        np.prod([-(-size // chunk) for size, chunk in zip(data.shape, data.chunks, strict=True)], dtype=object)
    )
    written = data.id.get_num_chunks()
    if written < expected:
        return f"only {written} of its {expected} chunks were ever written"
    return None


def table_of(data) -> Table | None:
    """The clips of a data set that holds one in each row; None if it is something else.

    A matrix is a table if something beside it in its group goes with its rows: labels, names or lengths.
    """
    if data.ndim != 2 or data.shape[1] <= MAX_CHANNELS or _label_like(data):
        return None
    parent, count = data.parent, data.shape[0]
    base = _name(data).rsplit("/", 1)[-1]
    if not _SOUND.search(base) and (_FEATURES.search(base) or data.shape[1] < _MIN_ROW_SAMPLES):
        return None
    siblings = [name for name in (parent if len(parent) <= _MAX_SIBLINGS else _COMPANIONS) if name != base]
    companions = [n for n in siblings if n.lower() in _COMPANIONS and _num_entries(parent, n) == count]
    if not companions:
        return None
    lengths = np.full(count, data.shape[1], dtype=np.int64)
    for name in companions:
        if name.lower() in _LENGTHS and parent[name].ndim == 1 and parent[name].dtype.kind in "iu":
            lengths = np.clip(parent[name][:].astype(np.int64), 0, data.shape[1])
    return Table(lengths, _names(parent, companions, count))


def _num_entries(parent, name: str) -> int:
    shape = getattr(parent.get(name), "shape", None)
    return shape[0] if shape else 0


def _label_like(data) -> bool:
    """Whether the values of a matrix are those of labels: nothing but 0 and 1."""
    if data.dtype.kind not in "iu":
        return False
    first = _beginning(data)
    return first.size > 0 and bool(((first == 0) | (first == 1)).all() and first.any())


def _names(parent, companions: list[str], count: int) -> tuple[str, ...]:
    for wanted in _NAMES:
        for name in companions:
            item = parent[name]
            if name.lower() == wanted and item.shape == (count,) and item.dtype.kind in "SO":
                return tuple(v.decode("utf-8", "replace") if isinstance(v, bytes) else str(v) for v in item[:])
    return ()


def _joined_clips(data) -> str | None:
    """Name of the data set beside a long one that says how to cut it into clips."""
    for name in _LENGTHS:
        item = data.parent.get(name)
        if getattr(item, "ndim", 0) == 1 and item.dtype.kind in "iu" and 1 < len(item) < len(data):
            if int(item[:].sum()) == len(data):
                return name
    return None


def stated_rate_hz(data) -> int | None:
    """The rate that a data set, its group or its file states in an attribute; None if none does.

    Raises:
        LayoutError: it is no rate.
    """
    for place in (data, data.parent, data.file):
        for name in RATE_ATTRIBUTES:
            if name in place.attrs:
                return _rate_hz(name, place.attrs[name])
    return None


def _rate_hz(name: str, value: Any) -> int:
    try:
        rate_hz = float(np.asarray(value).reshape(()).item())
    except (TypeError, ValueError) as error:
        raise LayoutError(f"its attribute {name!r} is {value!r}, expected a rate in Hz") from error
    low, high = PLAUSIBLE_RATES_HZ
    if not low <= rate_hz <= high or rate_hz != int(rate_hz):
        raise LayoutError(f"its attribute {name!r} is {value!r}, expected a whole number from {low} to {high} Hz")
    return int(rate_hz)
