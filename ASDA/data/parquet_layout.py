"""What a Parquet file holds: its columns with encoded audio, and where their row groups stand.

The Hugging Face hub keeps audio as a column of type struct with the fields `bytes`, an encoded file, and `path`, its
name; what `datasets` knows of the columns (audio, names of classes) stands as json in the file's metadata. A column
of type binary may hold encoded files too. The footer, which says where everything is, serves as the index.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..audio.formats.foreign import HEAD_BYTES, foreign_kind
from .parquet_pages import Chunk, ChunkPages

PARQUET_SUFFIX = ".parquet"

_MARK = b"PAR1"
_ENCRYPTED_MARK = b"PARE"
_FOOTER_BYTES = 8  # its length, and the mark
_CODECS = {"UNCOMPRESSED": None, "SNAPPY": "snappy", "GZIP": "gzip", "ZSTD": "zstd", "BROTLI": "brotli"} | {
    "LZ4": "lz4_raw",  # of the older kind pyarrow says another name; it is left to it
}
_AUDIO_NAMES = ("audio", "bytes", "audio_bytes", "wav", "flac", "mp3", "ogg", "sound", "recording", "clip", "file")
_MAX_LISTED = 12


class ParquetError(ValueError):
    """A Parquet file that cannot be used; the message does not name the file."""


class MissingPyarrowError(ValueError):
    """The package that reads Parquet is not installed: it is no fault of a clip, and ends what needs it."""


@dataclass(frozen=True)
class AudioColumn:
    """A column of encoded clips.

    Attributes:
        name: of the column.
        leaf: name of the values in it.
        path_leaf: name of the clips' own names in it; None if it has none.
        chunks: where each row group has its values; None for those that only pyarrow can read.
        first_rows: (G + 1,) of each row group, and behind the last.
    """

    name: str
    leaf: str
    path_leaf: str | None
    chunks: tuple[Chunk | None, ...]
    first_rows: np.ndarray

    @property
    def num_rows(self) -> int:
        return int(self.first_rows[-1])

    def group_of(self, row: int) -> tuple[int, int]:
        """The row group that a row stands in, and its place there."""
        group = int(np.searchsorted(self.first_rows, row, side="right")) - 1
        return group, row - int(self.first_rows[group])


class ParquetLayout:
    """A file's footer, read.

    Attributes:
        schema: of its columns, pyarrow's.
        features: what `datasets` has written of the columns, by name; empty if another program wrote the file.
    """

    def __init__(self, metadata, num_bytes: int):
        self._metadata = metadata
        self._num_bytes = num_bytes
        self.schema = metadata.schema.to_arrow_schema()
        self.features = _features(metadata.metadata or {})

    @classmethod
    def open(cls, file: str | os.PathLike) -> ParquetLayout:
        """Reads the footer.

        Raises:
            OSError: no such file.
            ParquetError: not all of a Parquet file, or none.
            MissingPyarrowError: pyarrow is not installed.
        """
        parquet = pyarrow_parquet()
        num_bytes = _require_whole(file)
        with arrow_errors("its footer cannot be read"):
            return cls(parquet.read_metadata(os.fspath(file)), num_bytes)

    @property
    def num_rows(self) -> int:
        return self._metadata.num_rows

    @property
    def columns(self) -> list[str]:
        return list(self.schema.names)

    def audio_columns(self) -> list[str]:
        """The columns that hold encoded clips: those that `datasets` calls audio, else by their types and names."""
        declared = [name for name in self.columns if _kind(self.features.get(name)) == "Audio"]
        if declared:
            return [name for name in declared if self._leaf(name) is not None]
        others = [name for name in self.columns if name not in self.features and self._leaf(name) is not None]
        structs = [name for name in others if self._leaf(name) != name]
        return structs or [name for name in others if name.lower() in _AUDIO_NAMES]

    def audio_column(self, chosen: str | None = None) -> AudioColumn:
        """The column of clips, by its name or the only one there is.

        Raises:
            ParquetError: there is none, or several and none chosen.
        """
        found = self.audio_columns()
        name = chosen or (found[0] if len(found) == 1 else "audio" if "audio" in found else None)
        if name is None and found:
            raise ParquetError(f"several columns hold audio, {listed(found)}; choose one (--audio)")
        if name is None:
            raise ParquetError(
                f"no column of audio: expected one with the bytes of encoded files, such as a struct of bytes and "
                f"path, the columns are {self._described()}"
            )
        if name not in self.columns:
            raise ParquetError(f"no column {name!r}, the columns are {listed(self.columns)}")
        leaf = self._leaf(name)
        if leaf is None:
            raise ParquetError(
                f"column {name!r} is no audio: expected the bytes of encoded files (binary, or a struct with bytes), "
                f"its type is {_short(self.schema.field(name).type)}"
            )
        with arrow_errors("its footer cannot be read"):
            return self._audio_column(name, leaf)

    def class_names(self, column: str) -> list[str] | None:
        """The names of the classes that a column numbers, if the file has them."""
        feature = self.features.get(column)
        while isinstance(feature, (list, dict)) and "names" not in feature:
            feature = (feature[0] if feature else None) if isinstance(feature, list) else feature.get("feature")
        names = feature.get("names") if isinstance(feature, dict) else None
        return [str(name) for name in names] if isinstance(names, list) else None

    def _leaf(self, name: str) -> str | None:
        """Name of the byte arrays in a column; None if it has none."""
        from pyarrow import types

        kind = self.schema.field(name).type
        if types.is_struct(kind):
            inside = {kind.field(i).name: kind.field(i).type for i in range(kind.num_fields)}
            return f"{name}.bytes" if "bytes" in inside and _is_binary(inside["bytes"]) else None
        return name if _is_binary(kind) else None

    def _audio_column(self, name: str, leaf: str) -> AudioColumn:
        places = {self._metadata.schema.column(i).path: i for i in range(len(self._metadata.schema))}
        if leaf not in places:
            raise ParquetError(f"damaged: no values {leaf!r} in its footer")
        groups = [self._metadata.row_group(i) for i in range(self._metadata.num_row_groups)]
        first_rows = np.cumsum([0, *(group.num_rows for group in groups)])
        levels = self._metadata.schema.column(places[leaf])
        simple = levels.max_repetition_level == 0
        chunks = tuple(
            self._chunk(group, places[leaf], levels.max_definition_level) if simple else None for group in groups
        )
        path_leaf = f"{name}.path" if f"{name}.path" in places and leaf != name else None
        return AudioColumn(name, leaf, path_leaf, chunks, first_rows)

    def _chunk(self, group, place: int, max_level: int) -> Chunk | None:
        column = group.column(place)
        start = min(p for p in (column.dictionary_page_offset, column.data_page_offset) if p)
        stop = start + column.total_compressed_size
        if column.compression not in _CODECS or column.file_path or column.num_values != group.num_rows:
            return None
        if stop > self._num_bytes:
            raise ParquetError(f"truncated: a row group ends at byte {stop}, the file has {self._num_bytes}")
        codec = _CODECS[column.compression]
        return Chunk(start, stop, group.num_rows, column.total_uncompressed_size, codec, max_level)

    def _described(self) -> str:
        fields = [f"{name} ({_short(self.schema.field(name).type)})" for name in self.columns]
        return listed(fields) or "none"


class ParquetIndex:
    """What is remembered of a file, so that it can be closed and opened again without its footer.

    Args:
        file: the file.
        status: its size and date; another file of the same name is read anew.
    """

    def __init__(self, file: str, status: os.stat_result):
        self._layout: ParquetLayout | None = ParquetLayout.open(file)
        self._file = file
        self._state = (status.st_size, status.st_mtime_ns)
        self._columns: dict[str, AudioColumn] = {}
        self.pages: dict[tuple[str, int], ChunkPages | None] = {}

    def belongs_to(self, status: os.stat_result) -> bool:
        return self._state == (status.st_size, status.st_mtime_ns)

    def column(self, name: str) -> AudioColumn:
        """A column of clips.

        Raises:
            ParquetError: no such column, or it holds no audio.
        """
        if name not in self._columns:
            layout = self._layout or ParquetLayout.open(self._file)
            self._columns[name] = layout.audio_column(name)
            self._layout = None  # footers of many files take memory; most have one column of clips
        return self._columns[name]


@contextmanager
def arrow_errors(what: str) -> Iterator[None]:
    """Turns what pyarrow raises inside the block into a `ParquetError`."""
    import pyarrow

    try:
        yield
    except (ParquetError, FileNotFoundError):
        raise
    except (pyarrow.ArrowException, OSError, ValueError, RuntimeError, LookupError, TypeError, MemoryError) as error:
        raise ParquetError(f"damaged: {what} ({' '.join(str(error).split())})") from error


def pyarrow_parquet():
    """The module that reads Parquet.

    Raises:
        MissingPyarrowError: it is not installed.
    """
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise MissingPyarrowError(
            "reading Parquet files takes the package pyarrow, which is not installed: pip install 'asda[parquet]', or "
            "pip install '.[parquet]' in the project's folder"
        ) from error
    return parquet


def listed(names: list[str]) -> str:
    """The first of them."""
    return ", ".join(names[:_MAX_LISTED]) + (f" and {len(names) - _MAX_LISTED} more" if names[_MAX_LISTED:] else "")


def _require_whole(file: str | os.PathLike) -> int:
    """The size of a file that begins and ends as a Parquet file does; pyarrow's words for others are harder to read."""
    with open(file, "rb") as handle:
        head = handle.read(HEAD_BYTES)
        num_bytes = handle.seek(0, os.SEEK_END)
        handle.seek(max(0, num_bytes - _FOOTER_BYTES))
        tail = handle.read()
    if not num_bytes:
        raise ParquetError("the file has 0 bytes")
    if head.startswith(_ENCRYPTED_MARK):
        raise ParquetError("encrypted, which is not read here")
    if not head.startswith(_MARK):
        raise ParquetError(f"not a Parquet file: {foreign_kind(head) or f'expected it to begin with {_MARK!r}'}")
    if not tail.endswith(_MARK):
        raise ParquetError(
            f"truncated: expected {_MARK!r} at its end, found {tail[-len(_MARK) :]!r} behind {num_bytes} bytes"
        )
    footer = int.from_bytes(tail[:4], "little")
    if footer + _FOOTER_BYTES + len(_MARK) > num_bytes:
        raise ParquetError(f"damaged: its footer should have {footer} bytes, the file has {num_bytes}")
    return num_bytes


def _features(metadata: dict[bytes, bytes]) -> dict[str, Any]:
    try:
        features = json.loads(metadata[b"huggingface"])["info"]["features"]
    except (KeyError, TypeError, ValueError, RecursionError):
        return {}
    return features if isinstance(features, dict) else {}


def _kind(feature: Any) -> str | None:
    return feature.get("_type") if isinstance(feature, dict) else None


def _is_binary(kind) -> bool:
    from pyarrow import types

    return types.is_binary(kind) or types.is_large_binary(kind)


def _short(kind) -> str:
    text = " ".join(str(kind).split())
    return text if len(text) <= 60 else f"{text[:57]}..."
