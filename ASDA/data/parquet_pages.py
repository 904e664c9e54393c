"""One value of a Parquet column without the rest of its row group.

pyarrow reads row groups, in which the hub's files keep a hundred clips and more. A row group is a chain of pages, each
behind a header that says how long it is: from header to header one finds the page that a row stands in without reading
any other. Of pages that are not compressed one value is read alone, of compressed ones the page is, and kept.

Known are byte arrays without repetition, PLAIN or by dictionary, in data pages of either version: what pyarrow and
`datasets` write. Anything else is a `PageError`, and left to pyarrow. Source: the Parquet format (PageHeader in
parquet.thrift, Encodings.md) and Thrift's compact protocol.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

Read = Callable[[int, int], bytes]
"""Bytes of a file by offset and length; fewer at its end."""

MAX_KEPT = 2  # pages that had to be decompressed, each up to a row group's size

_DATA_PAGE, _INDEX_PAGE, _DICTIONARY_PAGE, _DATA_PAGE_V2 = range(4)
_PLAIN, _PLAIN_DICTIONARY, _RLE_DICTIONARY = 0, 2, 8
_HEADER_BYTES = (256, 1 << 14, 1 << 16)  # what nearly all take; with statistics, of up to 4 kB in files of pyarrow
_PREFIX_BYTES = 4  # of each PLAIN value: its length
_MAX_VARINT_BITS = 63
_MAX_BITS = 32


class PageError(ValueError):
    """Pages that are damaged or of a kind that is not known here; the message says which."""


@dataclass(frozen=True)
class Chunk:
    """A column in one row group, as the file's footer describes it.

    Attributes:
        start, stop: its bytes in the file.
        num_rows: of the row group.
        num_bytes: after decompression.
        codec: of its pages; None if they are not compressed.
        max_level: definition level of a value that is there; those of less are null.
    """

    start: int
    stop: int
    num_rows: int
    num_bytes: int
    codec: str | None
    max_level: int


class _Header(NamedTuple):
    """What stands before a page; `level_bytes` and `is_compressed` are of version 2."""

    kind: int
    position: int
    stored_bytes: int
    num_bytes: int
    num_values: int = 0
    encoding: int = _PLAIN
    level_bytes: int = 0
    is_compressed: bool = True


class _Values(NamedTuple):
    """PLAIN values: where each lies in `data`, or in the file where that is None."""

    starts: np.ndarray
    sizes: np.ndarray
    data: bytes | None

    def read(self, index: int, read: Read) -> bytes:
        start, size = int(self.starts[index]), int(self.sizes[index])
        value = read(start, size) if self.data is None else self.data[start : start + size]
        if len(value) != size:
            raise PageError(f"expected {size} bytes at byte {start}, {len(value)} could be read")
        return value


class _Page(NamedTuple):
    """Which value each row of a page has, -1 for null; `values` is None where those of the dictionary are meant."""

    indices: np.ndarray
    values: _Values | None


class KeptPages:
    """The last pages that had to be decompressed: neighbouring rows, as evaluation reads them, need them next."""

    def __init__(self) -> None:
        self._pages: OrderedDict[tuple, Any] = OrderedDict()

    def get(self, key: tuple, make: Callable[[], Any]) -> Any:
        if key in self._pages:
            self._pages.move_to_end(key)
            return self._pages[key]
        while len(self._pages) >= MAX_KEPT:  # before the next one takes its memory
            self._pages.popitem(last=False)
        self._pages[key] = page = make()
        return page


class ChunkPages:
    """The pages of a column in one row group.

    Args:
        chunk: where they stand.
        read: of their file.

    Raises:
        PageError: the chain of headers does not hold the chunk's rows.
    """

    def __init__(self, chunk: Chunk, read: Read):
        self.chunk = chunk
        self._dictionary: _Header | None = None
        self._headers: list[_Header] = []
        self._pages: dict[int, _Page] = {}
        self._dictionary_places: _Values | None = None
        firsts, row, position = [], 0, chunk.start
        while row < chunk.num_rows:
            header = _read_header(read, position, chunk)
            position = header.position + header.stored_bytes
            if header.kind == _DICTIONARY_PAGE:
                self._dictionary = header
            elif header.kind in (_DATA_PAGE, _DATA_PAGE_V2):
                self._headers.append(header)
                firsts.append(row)
                row += header.num_values
        if row != chunk.num_rows:
            raise PageError(f"the pages hold {row} rows, the row group {chunk.num_rows}")
        self._first_rows = np.array(firsts, dtype=np.int64)

    @property
    def largest_page_bytes(self) -> int:
        """What has to be decompressed for one value, at worst."""
        headers = [*self._headers, *([self._dictionary] if self._dictionary else [])]
        return max((header.num_bytes for header in headers), default=0)

    def value(self, row: int, read: Read, kept: KeptPages, file: str) -> bytes | None:
        """The value of a row of the row group; None for null.

        Args:
            kept: for pages that have to be decompressed, also of other files.
            file: what these are kept under.

        Raises:
            PageError: damaged, or of a kind that is not known here.
        """
        number = int(np.searchsorted(self._first_rows, row, side="right")) - 1
        page = self._pages.get(number)
        if page is None:
            header = self._headers[number]
            page = self._keep(header, kept, file, lambda: self._read_page(header, read))
            if page.values is None or page.values.data is None:  # small: places alone
                self._pages[number] = page
        index = int(page.indices[row - int(self._first_rows[number])])
        if index < 0:
            return None
        return (page.values or self._dictionary_values(read, kept, file)).read(index, read)

    def _keep(self, header: _Header, kept: KeptPages, file: str, make: Callable[[], Any]) -> Any:
        return make() if self.chunk.codec is None else kept.get((file, header.position), make)

    def _dictionary_values(self, read: Read, kept: KeptPages, file: str) -> _Values:
        if self._dictionary_places is not None:
            return self._dictionary_places
        header = self._dictionary
        assert header is not None  # or the page's indices would have been refused
        values = self._keep(header, kept, file, lambda: self._read_dictionary(header, read))
        if values.data is None:
            self._dictionary_places = values
        return values

    def _read_dictionary(self, header: _Header, read: Read) -> _Values:
        if header.encoding not in (_PLAIN, _PLAIN_DICTIONARY):
            raise PageError(f"a dictionary in encoding {header.encoding}")
        start, stop, data = self._contents(header, 0, read)
        return _plain_values(start, stop, data, read, header.num_values)

    def _read_page(self, header: _Header, read: Read) -> _Page:
        start, stop, data = self._contents(header, header.level_bytes, read)
        inside = read if data is None else _reader_of(data)
        levels = b""
        if header.kind == _DATA_PAGE_V2:
            levels = read(header.position, header.level_bytes)
        elif self.chunk.max_level:
            size = int.from_bytes(inside(start, 4), "little")
            start += 4 + size
            if start > stop:
                raise PageError(f"levels of {size} bytes in a page of {header.num_bytes}")
            levels = inside(start - size, size)
        indices = np.arange(header.num_values, dtype=np.int64)
        if self.chunk.max_level:
            width = self.chunk.max_level.bit_length()
            there = _run_lengths(levels, width, header.num_values) == self.chunk.max_level
            indices = np.where(there, np.cumsum(there) - 1, -1)
        num_there = int((indices >= 0).sum())
        if header.encoding == _PLAIN:
            return _Page(indices, _plain_values(start, stop, data, read, num_there))
        if header.encoding not in (_PLAIN_DICTIONARY, _RLE_DICTIONARY) or self._dictionary is None:
            raise PageError(f"a page in encoding {header.encoding}")
        if num_there:
            stored = inside(start, stop - start)
            entries = _run_lengths(stored[1:], stored[0], num_there)
            if entries.max() >= self._dictionary.num_values:
                raise PageError(f"entry {entries.max()} of a dictionary of {self._dictionary.num_values}")
            indices = np.where(indices >= 0, entries[indices], -1)
        return _Page(indices, None)

    def _contents(self, header: _Header, skipped: int, read: Read) -> tuple[int, int, bytes | None]:
        """Where a page's contents start and stop, in bytes that had to be decompressed or (None) in the file."""
        start, stop = header.position + skipped, header.position + header.stored_bytes
        if self.chunk.codec is None or not header.is_compressed:
            return start, stop, None
        num_bytes = header.num_bytes - skipped
        if not 0 <= num_bytes <= self.chunk.num_bytes:
            raise PageError(f"a page of {num_bytes} bytes in a column of {self.chunk.num_bytes}")
        stored = read(start, stop - start)
        if len(stored) != stop - start:
            raise PageError(f"expected {stop - start} bytes at byte {start}, {len(stored)} could be read")
        return 0, num_bytes, _decompressed(stored, self.chunk.codec, num_bytes)


def _decompressed(stored: bytes, codec: str, num_bytes: int) -> bytes:
    import pyarrow

    if not num_bytes:
        return b""
    try:
        data = pyarrow.Codec(codec).decompress(stored, num_bytes, asbytes=True)
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise PageError(f"a page cannot be decompressed ({error})") from error
    if len(data) != num_bytes:
        raise PageError(f"a page of {num_bytes} bytes decompresses to {len(data)}")
    return data


def _reader_of(data: bytes) -> Read:
    return lambda start, size: data[start : start + size]


def _plain_values(start: int, stop: int, data: bytes | None, read: Read, count: int) -> _Values:
    """Goes from length to length; the values themselves are not read."""
    if count * _PREFIX_BYTES > stop - start:
        raise PageError(f"{count} values in {stop - start} bytes")
    inside = read if data is None else _reader_of(data)
    starts, sizes = np.empty(count, dtype=np.int64), np.empty(count, dtype=np.int64)
    for number in range(count):
        size = int.from_bytes(inside(start, _PREFIX_BYTES), "little")
        start += _PREFIX_BYTES
        if start + size > stop:
            raise PageError(f"value {number} of {count} reaches to byte {start + size} of {stop}")
        starts[number], sizes[number] = start, size
        start += size
    return _Values(starts, sizes, data)


def _run_lengths(data: bytes, width: int, count: int) -> np.ndarray:
    """Numbers in Parquet's hybrid of run lengths and bit packing.

    Args:
        width: bits of a number.

    Returns:
        (count,) int64.
    """
    found = np.zeros(count, dtype=np.int64)
    stream, filled = _Compact(data), 0
    if width > _MAX_BITS:
        raise PageError(f"numbers of {width} bits")
    if width == 0:  # all are 0, and take no bytes
        return found
    try:
        while filled < count:
            head = stream.varint()
            if head & 1:  # groups of eight numbers, each of `width` bytes
                packed = np.frombuffer(stream.take((head >> 1) * width), dtype=np.uint8)
                bits = np.unpackbits(packed, bitorder="little").reshape(-1, width)
                numbers = bits @ (1 << np.arange(width, dtype=np.int64))
                run = min((head >> 1) * 8, count - filled)
                found[filled : filled + run] = numbers[:run]
            else:
                run = min(head >> 1, count - filled)
                found[filled : filled + run] = int.from_bytes(stream.take((width + 7) // 8), "little")
            if run == 0:
                raise PageError("a run of no numbers")
            filled += run
    except IndexError:
        raise PageError(f"{count} numbers expected, the page ends after {filled}") from None
    return found


def _read_header(read: Read, position: int, chunk: Chunk) -> _Header:
    for num_bytes in _HEADER_BYTES:
        stream = _Compact(read(position, min(num_bytes, chunk.stop - position)))
        try:
            fields = stream.struct()
        except IndexError:
            continue
        header = _header_of(fields, position + stream.position)
        if header.stored_bytes < 0 or header.position + header.stored_bytes > chunk.stop or header.num_values < 0:
            raise PageError(f"the page at byte {position} reaches beyond its row group")
        if not 0 <= header.level_bytes <= header.stored_bytes:
            raise PageError(f"levels of {header.level_bytes} bytes in a page of {header.stored_bytes}")
        return header
    raise PageError(f"no header of a page at byte {position}")


def _header_of(fields: dict[int, Any], position: int) -> _Header:
    """The header whose fields have these numbers in parquet.thrift."""
    try:
        kind, num_bytes, stored_bytes = fields[1], fields[2], fields[3]
        if kind == _DATA_PAGE:
            return _Header(kind, position, stored_bytes, num_bytes, fields[5][1], fields[5][2])
        if kind == _DICTIONARY_PAGE:
            return _Header(kind, position, stored_bytes, num_bytes, fields[7][1], fields[7][2])
        if kind == _DATA_PAGE_V2:
            page = fields[8]
            if page.get(6, 0):
                raise PageError("repeated values")
            return _Header(kind, position, stored_bytes, num_bytes, page[1], page[4], page.get(5, 0), page.get(7, True))
        if kind == _INDEX_PAGE:
            return _Header(kind, position, stored_bytes, num_bytes)
    except (KeyError, TypeError) as error:
        raise PageError(f"the header of the page before byte {position} lacks {error}") from None
    raise PageError(f"a page of kind {kind}")


class _Compact:
    """Thrift's compact protocol, as far as page headers need it; IndexError where the data ends."""

    def __init__(self, data: bytes):
        self._data = data
        self.position = 0

    def take(self, num_bytes: int) -> bytes:
        if self.position + num_bytes > len(self._data):
            raise IndexError
        self.position += num_bytes
        return self._data[self.position - num_bytes : self.position]

    def varint(self) -> int:
        value = shift = 0
        while shift <= _MAX_VARINT_BITS:
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7
        raise PageError("a number that does not end")

    def struct(self, depth: int = 0) -> dict[int, Any]:
        """Fields by their numbers; texts are passed over."""
        fields: dict[int, Any] = {}
        number = 0
        while head := self.take(1)[0]:
            number = number + (head >> 4) if head >> 4 else self._signed()
            fields[number] = self._field(head & 0x0F, depth)
        return fields

    def _signed(self) -> int:
        value = self.varint()
        return (value >> 1) ^ -(value & 1)

    def _field(self, kind: int, depth: int) -> Any:
        if kind in (1, 2):
            return kind == 1
        if kind == 3:
            return self.take(1)[0]
        if kind in (4, 5, 6):
            return self._signed()
        if kind == 8:
            return self.take(self.varint()) and None
        if kind == 12 and depth < 4:
            return self.struct(depth + 1)
        raise PageError(f"a header with a field of kind {kind}")
