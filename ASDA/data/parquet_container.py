"""Clips in Parquet files: `shard.parquet/audio[17]` is what column `audio` has in row 17, counted from 0."""

from __future__ import annotations

import io
import os
import re

from ..audio.errors import AudioError
from .encoded_container import EncodedContainer
from .parquet_layout import AudioColumn, ParquetError, ParquetIndex, arrow_errors, pyarrow_parquet
from .parquet_pages import ChunkPages, KeptPages, PageError

_KEY = re.compile(r"(?P<column>.+)\[(?P<row>\d{1,15})\]", re.ASCII | re.DOTALL)


class ParquetContainer(EncodedContainer):
    """Encoded clips in the rows of a Parquet file: one read away where its pages are not compressed, else one page.

    Args:
        file: the file.
        indices: of all files by name; kept by the caller, as a file is closed to make room for others.
        kept: pages that were decompressed, of all files.
    """

    def __init__(self, file: str, indices: dict[str, ParquetIndex], kept: KeptPages):
        super().__init__(file)
        self._file = file
        self._kept = kept
        try:
            status = os.fstat(self._descriptor)
            if file not in indices or not indices[file].belongs_to(status):
                indices[file] = ParquetIndex(file, status)
        except BaseException:
            self.close()
            raise
        self._index = indices[file]

    def _encoded(self, key: str, path: str) -> io.BytesIO:
        match = _KEY.fullmatch(key)
        if match is None:
            raise AudioError(path, "a Parquet file has a clip in each row: expected a column and a row, as in audio[0]")
        row = int(match["row"])
        try:
            column = self._index.column(match["column"])
            if row >= column.num_rows:
                raise AudioError(path, f"column {column.name!r} has {column.num_rows} rows, there is no row {row}")
            data = self._value(column, row)
            if data is None:
                raise AudioError(path, self._what_it_has_instead(column, row))
        except (ParquetError, OSError) as error:
            raise AudioError(path, str(error)) from error
        return io.BytesIO(data)

    def _value(self, column: AudioColumn, row: int) -> bytes | None:
        group, place = column.group_of(row)
        try:
            pages = self._pages(column, group)
            if pages is not None:
                return pages.value(place, self._read, self._kept, self._file)
        except PageError:  # pyarrow may know better, or say what is wrong
            pass
        values = self._kept.get((self._file, column.name, group), lambda: self._row_group(group, column.leaf))
        value = values[place].as_buffer()
        return None if value is None else value.to_pybytes()

    def _pages(self, column: AudioColumn, group: int) -> ChunkPages | None:
        pages, place = self._index.pages, (column.name, group)
        if place not in pages:
            chunk = column.chunks[group]
            pages[place] = None  # in case that they are of a kind that is not known
            if chunk is not None:
                pages[place] = ChunkPages(chunk, self._read)
        return pages[place]

    def _read(self, offset: int, num_bytes: int) -> bytes:
        return os.pread(self._descriptor, num_bytes, offset)

    def _row_group(self, group: int, leaf: str):
        """All values of a row group, as pyarrow reads them."""
        with arrow_errors(f"row group {group} cannot be read"):
            with pyarrow_parquet().ParquetFile(self._file) as file:
                column = file.read_row_group(group, columns=[leaf], use_threads=False).column(0)
            return column.flatten()[0] if leaf not in file.schema_arrow.names else column

    def _what_it_has_instead(self, column: AudioColumn, row: int) -> str:
        if column.path_leaf is None:
            return f"row {row} is null, expected the bytes of a clip in column {column.name!r}"
        group, place = column.group_of(row)
        named = self._row_group(group, column.path_leaf)[place].as_py()
        there = f"the path {named!r} alone" if named else "neither bytes nor a path"
        return f"row {row} has {there}, expected the bytes of a clip in {column.leaf!r}"
