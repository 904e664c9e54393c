"""Tables in HDF5 files: data sets with a clip in each row, recognised by what stands beside them."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field

import numpy as np

from .h5_links import own_data_set

MAX_CHANNELS = 8
"""More rows than this are clips, or features: recordings of more channels are seldom kept in HDF5."""

LABELS = frozenset({"target", "targets", "label", "labels", "class", "classes", "weight", "weights", "fold", "folds"})
LENGTHS = ("lengths", "length", "num_samples", "n_samples", "audio_length", "audio_lengths", "waveform_length")
STARTS = ("offsets", "offset", "starts", "index", "indices")
_NAMES = ("audio_name", "audio_names", "name", "names", "filename", "filenames", "file", "files", "id", "ids", "key")
_COMPANIONS = frozenset({*_NAMES, *LENGTHS, *LABELS})
_SOUND = re.compile(r"wave?|audio|sound|speech|sample|signal|pcm", re.IGNORECASE)
_FEATURES = re.compile(r"feat|emb|mel|spec|fbank|mfcc|logit|score|prob", re.IGNORECASE)
_MIN_ROW_SAMPLES = 2000  # rows of fewer values are vectors of features as likely as sound
MAX_SIBLINGS = 64  # a group of more is one of clips, each with its own data set
_LOOKED_AT = 4096  # values


@dataclass(frozen=True)
class Table:
    """A data set with a clip in each row.

    Attributes:
        lengths: samples of each row that are sound, rather than padding.
        names: what the file calls the clips; empty where it does not.
    """

    lengths: np.ndarray
    names: tuple[str, ...]


@dataclass
class Known:
    """What was found out about an open file, so that it is not asked again for each of its clips.

    Attributes:
        tables: data sets with a clip in each row, by name.
        groups: those that hold no lengths beside their data sets.
        rates_hz: what groups, or else the file, state for their data sets, by name; None if they state none.
    """

    tables: dict[str, Table] = field(default_factory=dict)
    groups: set[str] = field(default_factory=set)
    rates_hz: dict[str, int | None] = field(default_factory=dict)


def data_set_name(data) -> str:
    """The name in its file; of a damaged one it may not be text."""
    name = data.name or ""
    return (name if isinstance(name, str) else os.fsdecode(name)).lstrip("/")


def beginning(data) -> np.ndarray:
    """Some of the first values; none if they cannot be read."""
    try:
        return data[:_LOOKED_AT] if data.ndim == 1 else data[: max(1, _LOOKED_AT // data.shape[1]), :_LOOKED_AT]
    except (OSError, RuntimeError, ValueError, TypeError):
        return np.empty(0, np.uint8)


def table_of(data) -> Table | None:
    """The clips of a data set that holds one in each row; None if it is something else.

    A matrix is a table if something beside it in its group goes with its rows: labels, names or lengths.
    """
    if data.ndim != 2 or data.shape[1] <= MAX_CHANNELS or label_like(data):
        return None
    parent, count = data.parent, data.shape[0]
    base = data_set_name(data).rsplit("/", 1)[-1]
    if not _SOUND.search(base) and (_FEATURES.search(base) or data.shape[1] < _MIN_ROW_SAMPLES):
        return None
    siblings = [name for name in (parent if len(parent) <= MAX_SIBLINGS else _COMPANIONS) if name != base]
    companions = [n for n in siblings if n.lower() in _COMPANIONS and _num_entries(parent, n) == count]
    if not companions:
        return None
    lengths = np.full(count, data.shape[1], dtype=np.int64)
    for name in companions:
        if name.lower() in LENGTHS and parent[name].ndim == 1 and parent[name].dtype.kind in "iu":
            lengths = np.clip(parent[name][:].astype(np.int64), 0, data.shape[1])
    return Table(lengths, _names(parent, companions, count))


def _num_entries(parent, name: str) -> int:
    shape = getattr(own_data_set(parent, name), "shape", None)
    return shape[0] if shape else 0


def label_like(data) -> bool:
    """Whether the values of a matrix are those of labels: nothing but 0 and 1."""
    if data.dtype.kind not in "iu":
        return False
    first = beginning(data)
    return first.size > 0 and bool(((first == 0) | (first == 1)).all() and first.any())


def _names(parent, companions: list[str], count: int) -> tuple[str, ...]:
    for wanted in _NAMES:
        for name in companions:
            item = parent[name]
            if name.lower() == wanted and item.shape == (count,) and item.dtype.kind in "SO":
                return tuple(v.decode("utf-8", "replace") if isinstance(v, bytes) else str(v) for v in item[:])
    return ()


def joined_clips(data) -> str | None:
    """Name of the data set beside a long one that says how to cut it into clips."""
    for name in LENGTHS:
        item = own_data_set(data.parent, name)
        if getattr(item, "ndim", 0) == 1 and item.dtype.kind in "iu" and 1 < len(item) < len(data):
            if int(item[:].sum()) == len(data):
                return name
    return None
