"""Formats made of named chunks: wav (RIFF, RIFX, RF64), w64, aiff and svx (FORM), caf."""

from collections.abc import Iterator
from typing import Literal, NamedTuple, Optional

from .extent import DamagedHeader, Extent
from .source import Source

_Order = Literal["little", "big"]

_MAX_CHUNKS = 10_000
_UNKNOWN_32 = ((1 << 31) - (1 << 16), (1 << 31) + (1 << 16), (1 << 32) - (1 << 16))
"""Programs that write to a pipe do not know the size, and put about 2**31 or 2**32 there."""
_WITH_BLOCK_ALIGN = {1, 3, 6, 7, 0xFFFE}  # PCM, float, A-law, mu-law, extensible: one frame is one block
_FILE_NAMES = frozenset(
    {b"RIFF", b"RIFX", b"RF64", b"BW64", b"FORM", b"riff", b"caff", b"fLaC", b"OggS", b".snd", b"NIST"}
)
"""What a file begins with would pass for the name of a chunk."""


class _Chunk(NamedTuple):
    """Name, first byte behind its head, and stated size."""

    name: bytes
    start: int
    size: int


class _Style(NamedTuple):
    """How a family writes the heads of its chunks."""

    order: _Order
    name_bytes: int = 4
    size_bytes: int = 4
    alignment: int = 2
    size_counts_head: bool = False

    def read(self, source: Source, position: int) -> Optional[_Chunk]:
        """The chunk at a position; None where there is none."""
        head_bytes = self.name_bytes + self.size_bytes
        head = source.read(position, head_bytes)
        name = head[:4]
        if len(head) < head_bytes or not (name.isascii() and name.decode().isprintable()):
            return None
        size = int.from_bytes(head[self.name_bytes :], self.order)
        if self.size_counts_head:
            size -= head_bytes
        return _Chunk(name, position + head_bytes, size) if size >= 0 else None

    def behind(self, source: Source, chunk: _Chunk) -> int:
        """Where the next chunk begins: at a multiple of the alignment, which some writers forget."""
        end = chunk.start + chunk.size
        padded = end + -chunk.size % self.alignment
        if padded != end and self.read(source, padded) is None and self.read(source, end) is not None:
            return end
        return padded


_LITTLE, _BIG = _Style("little"), _Style("big")
_W64 = _Style("little", name_bytes=16, size_bytes=8, alignment=8, size_counts_head=True)
_CAF = _Style("big", size_bytes=8, alignment=1)


def _walk(source: Source, position: int, style: _Style) -> Iterator[_Chunk]:
    """The chunks from a position, up to the end or to the beginning of a file that was joined to this one."""
    for _ in range(_MAX_CHUNKS):
        chunk = style.read(source, position)
        if chunk is None or chunk.name in _FILE_NAMES:
            return
        yield chunk
        position = style.behind(source, chunk)
    raise DamagedHeader(f"damaged: more than {_MAX_CHUNKS} chunks")


def _is_unknown(size: int) -> bool:
    low, high, highest = _UNKNOWN_32
    return low <= size <= high or size >= highest


def _once(earlier: Optional[_Chunk], chunk: _Chunk) -> _Chunk:
    if earlier is not None:
        raise DamagedHeader(
            f"holds a second chunk of samples, at byte {chunk.start}, which would not be read; write it anew as one"
        )
    return chunk


def riff(source: Source, start: int) -> Extent:
    """Samples of a wav: RIFF, big-endian RIFX, or RF64 with its 64-bit sizes.

    Raises:
        DamagedHeader: no `data` chunk where the sizes lead, or two of them.
    """
    kind = source.read(start, 4)
    style = _BIG if kind == b"RIFX" else _LITTLE
    data, frame_bytes, long_size, end = None, None, None, start + 12
    for chunk in _walk(source, end, style):
        if chunk.name == b"ds64":
            long_size = int.from_bytes(source.read(chunk.start + 8, 8), "little")
        elif chunk.name == b"fmt ":
            frame_bytes = _block_align(source.read(chunk.start, 14), style.order)
        elif chunk.name == b"data":
            if chunk.size == 0xFFFFFFFF and long_size is not None:
                chunk = _Chunk(chunk.name, chunk.start, long_size)
            elif _is_unknown(chunk.size) or (chunk.size == 0 and data is None and _unfinished(source, start, style)):
                return Extent(chunk.start, None, source.num_bytes, frame_bytes=frame_bytes)
            data = _once(data, chunk)
        end = style.behind(source, chunk)
    if data is None:
        raise DamagedHeader("truncated or damaged: no `data` chunk where the sizes of the header lead")
    return Extent(data.start, data.size, end, frame_bytes=frame_bytes)


def _unfinished(source: Source, start: int, style: _Style) -> bool:
    """Whether the sizes were never filled in, as when a recorder is switched off."""
    return int.from_bytes(source.read(start + 4, 4), style.order) in (0, 8)


def _block_align(fmt: bytes, order: _Order) -> Optional[int]:
    plain = int.from_bytes(fmt[:2], order) in _WITH_BLOCK_ALIGN
    return int.from_bytes(fmt[12:14], order) or None if plain else None


def form(source: Source, start: int) -> Extent:
    """Samples of an aiff, aifc, 8svx or 16sv.

    Raises:
        DamagedHeader: no chunk of samples where the sizes lead, or two of them.
    """
    data, end = None, start + 12
    for chunk in _walk(source, end, _BIG):
        if chunk.name == b"SSND":  # its head goes on with an offset and a block size
            skipped = 8 + int.from_bytes(source.read(chunk.start, 4), "big")
            if _is_unknown(chunk.size):
                return Extent(chunk.start + skipped, None, source.num_bytes)
            data = _once(data, _Chunk(chunk.name, chunk.start + skipped, max(0, chunk.size - skipped)))
        elif chunk.name == b"BODY":
            data = _once(data, chunk)
        end = _BIG.behind(source, chunk)
    if data is None:
        raise DamagedHeader("truncated or damaged: no chunk of samples where the sizes of the header lead")
    return Extent(data.start, data.size, end, size_counts_padding=True)


def w64(source: Source, start: int) -> Extent:
    """Samples of a Sony Wave64.

    Raises:
        DamagedHeader: no `data` chunk where the sizes lead, or two of them.
    """
    data, end = None, start + 40
    for chunk in _walk(source, end, _W64):
        if chunk.name == b"data":
            data = _once(data, chunk)
        end = _W64.behind(source, chunk)
    if data is None:
        raise DamagedHeader("truncated or damaged: no `data` chunk where the sizes of the header lead")
    return Extent(data.start, data.size, end)


def caf(source: Source, start: int) -> Extent:
    """Samples of a Core Audio file.

    Raises:
        DamagedHeader: no `data` chunk where the sizes lead, or two of them.
    """
    data, end = None, start + 8
    for chunk in _walk(source, end, _CAF):
        if chunk.name == b"data":  # its head goes on with a count of edits
            if chunk.size == (1 << 64) - 1:
                return Extent(chunk.start + 4, None, source.num_bytes)
            data = _once(data, _Chunk(chunk.name, chunk.start + 4, max(0, chunk.size - 4)))
        end = _CAF.behind(source, chunk)
    if data is None:
        raise DamagedHeader("truncated or damaged: no `data` chunk where the sizes of the header lead")
    return Extent(data.start, data.size, end)
