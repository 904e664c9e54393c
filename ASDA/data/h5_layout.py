"""What a data set of an HDF5 file is: one clip, a table with a clip in each row, or no sound at all.

The format does not say. A waveform and a matrix of labels are both numbers, and two rows may be two channels or two
clips. What is told from names and shapes is read; what is not is refused, never averaged as if rows were channels.
"""

from __future__ import annotations

import math
import os
import re
import unicodedata
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..audio.formats.foreign import HEAD_BYTES, audio_kind
from ..audio.samples import PLAUSIBLE_RATES_HZ
from ..audio.spelling import same_name
from .h5_links import leads_away, own_data_set, stored_away
from .h5_tables import (
    LABELS,
    LENGTHS,
    MAX_CHANNELS,
    STARTS,
    Known,
    Table,
    beginning,
    data_set_name,
    joined_clips,
    label_like,
    table_of,
)

RATE_ATTRIBUTES = ("sample_rate_hz", "sample_rate", "sampling_rate", "sr")
"""Names under which a data set, its group or its file may state the sample rate."""

_ROW = re.compile(r"(?P<key>.+)\[(?P<row>\d{1,15})\]", re.ASCII | re.DOTALL)


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


def find_place(file, key: str, known: Known) -> Place:
    """Where the samples of a clip stand in an open file.

    Args:
        file: an h5py.File.
        key: name of a data set, with a row in brackets for tables.
        known: of this file; is added to.

    Raises:
        LayoutError: no such data set, or one that is no clip.
    """
    match = _ROW.fullmatch(key)
    if match and match["key"] in known.tables:
        return _row(file[match["key"]], known.tables[match["key"]], int(match["row"]))
    data = _data_set(file, key)
    if data is not None:
        return _whole(file, data, known)
    data = _data_set(file, match["key"]) if match else None
    if match is None or data is None:
        raise LayoutError(f"the h5 file holds no data set {key!r}")
    if (reason := not_sound(file, data, known)) is not None:
        raise LayoutError(reason)
    table = table_of(data)
    if table is None:
        raise LayoutError(f"{match['key']!r} of shape {data.shape} is not a table with a clip in each row")
    known.tables[match["key"]] = table
    return _row(data, table, int(match["row"]))


def _data_set(file, key: str):
    """The data set of that name, in whichever Unicode spelling; None if there is none."""
    import h5py  # whoever has an open file has paid for this import

    item = None
    for name in dict.fromkeys((key, same_name(key), unicodedata.normalize("NFD", key))):
        if item is None and (reason := leads_away(file, name)) is not None:
            raise LayoutError(reason)
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


def _whole(file, data, known: Known) -> Place:
    if (reason := not_sound(file, data, known)) is not None:
        raise LayoutError(reason)
    table = table_of(data)
    if table is not None:
        name = data_set_name(data)
        raise LayoutError(
            f"a table of {len(table.lengths)} clips, one in each row: name a row, as in {name}[0]; "
            "asda-manifest folder lists them all"
        )
    if data.ndim == 1:
        return Place(data, None, len(data))
    # Channels come first in some files and last in others; there are always fewer of them than samples.
    return Place(data, None, max(data.shape), min(data.shape), data.shape[0] < data.shape[1])


def not_sound(file, data, known: Known) -> str | None:
    """Why a data set can be neither a clip nor a table of clips; None if it can."""
    name = data_set_name(data)
    if name.startswith(("features/", "times_s/")) and "settings" in file.attrs:
        return "features that asda-extract has written, no sound"
    try:
        dtype = data.dtype
    except TypeError as error:
        return f"values of a type that NumPy does not have ({error})"
    if dtype.kind not in "if" and dtype != np.uint8:
        return f"expected integer or float samples, got {dtype}"
    if (reason := stored_away(data)) is not None:
        return reason
    if data.ndim not in (1, 2) or data.size == 0:
        return f"expected samples of shape (W,) or (W, channels), got {data.shape}"
    base = name.rsplit("/", 1)[-1].lower()
    if base in LABELS or (dtype.kind in "iu" and base in (*LENGTHS, *STARTS)):
        return f"by its name {'labels' if base in LABELS else 'lengths or places of clips'}, no sound"
    if dtype == np.int64:
        return "integers of 64 bits, as labels and lengths have; samples would be int16, int32 or floats"
    if (reason := _not_written(file, data)) is not None:
        return reason
    return _not_a_matrix_of_samples(data) if data.ndim == 2 else _not_a_vector_of_samples(data, name, known)


def _not_a_vector_of_samples(data, name: str, known: Known) -> str | None:
    if data.dtype.itemsize == 1:
        kind = audio_kind(beginning(data).tobytes()[:HEAD_BYTES])
        if kind is not None:
            return f"the bytes of an encoded file ({kind}), no samples; store it as a file, or in a tar"
    group = name.rpartition("/")[0]
    if group in known.groups:
        return None
    if all(own_data_set(data.parent, length) is None for length in LENGTHS):
        known.groups.add(group)
    elif (lengths := joined_clips(data)) is not None:
        return f"many clips laid end to end, with their {lengths!r} beside them; store each on its own"
    return None


def _not_a_matrix_of_samples(data) -> str | None:
    if label_like(data):
        return "nothing but 0 and 1, as labels are"
    if min(data.shape) > MAX_CHANNELS and table_of(data) is None:
        return (
            f"{data.shape} values look like features, or like a table of clips that does not say so: for channels of "
            f"one recording there are too many rows and columns (more than {MAX_CHANNELS})"
        )
    return None


def _not_written(file, data) -> str | None:
    """Whether parts of the data set are not in the file, and would read as its fill value."""
    from h5py import h5d

    layout = (properties := data.id.get_create_plist()).get_layout()
    if layout == h5d.VIRTUAL:
        folder = os.path.dirname(file.filename)
        for source in data.virtual_sources():
            if source.file_name != "." and not os.path.exists(os.path.join(folder, source.file_name)):
                return f"a view of {source.file_name}, which is not there"
    elif layout == h5d.CONTIGUOUS:
        if not data.id.get_storage_size() and not data.external:
            return "nothing was ever written to it"
    elif layout == h5d.CHUNKED and (properties.get_nfilters() or data.id.get_storage_size() < data.nbytes):
        # Only of compressed ones do the chunks have to be counted: others take the place of their samples.
        expected = math.prod(-(-size // chunk) for size, chunk in zip(data.shape, data.chunks, strict=True))
        if (written := data.id.get_num_chunks()) < expected:
            return f"only {written} of its {expected} chunks were ever written"
    return None


def stated_rate_hz(data, known: Known) -> int | None:
    """The rate that a data set, its group or its file states in an attribute; None if none does.

    Raises:
        LayoutError: it is no rate.
    """
    own = _rate_in(data.attrs)
    if own is not None:
        return own
    group = data_set_name(data).rpartition("/")[0]
    if group not in known.rates_hz:
        of_group = _rate_in(data.parent.attrs)
        known.rates_hz[group] = _rate_in(data.file.attrs) if of_group is None else of_group
    return known.rates_hz[group]


def _rate_in(attributes) -> int | None:
    names = attributes.keys() if len(attributes) else ()  # most data sets have none
    return next((_rate_hz(name, attributes[name]) for name in RATE_ATTRIBUTES if name in names), None)


def _rate_hz(name: str, value: Any) -> int:
    try:
        rate_hz = float(np.asarray(value).reshape(()).item())
    except (TypeError, ValueError) as error:
        raise LayoutError(f"its attribute {name!r} is {value!r}, expected a rate in Hz") from error
    low, high = PLAUSIBLE_RATES_HZ
    if not low <= rate_hz <= high or rate_hz != int(rate_hz):
        raise LayoutError(f"its attribute {name!r} is {value!r}, expected a whole number from {low} to {high} Hz")
    return int(rate_hz)
