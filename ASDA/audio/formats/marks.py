"""Finding the four bytes with which a format begins, anywhere in a file."""

from collections.abc import Iterator

import numpy as np

from .source import Source

_BLOCK_BYTES = 1 << 22
_OVERLAP_BYTES = 16  # what callers want to see behind a mark, and a mark that lies across the border of two blocks
_FEW_BYTES = 1 << 14


def find_marks(source: Source, mark: bytes, start: int) -> Iterator[tuple[int, bytes]]:
    """The places of a mark of four bytes from `start`, in order, each with the 16 bytes that begin there."""
    while start < source.num_bytes:
        block = source.read(start, min(_BLOCK_BYTES + _OVERLAP_BYTES, source.num_bytes - start))
        for place in _places(block, mark):
            if place < _BLOCK_BYTES:
                yield start + place, block[place : place + _OVERLAP_BYTES]
        start += _BLOCK_BYTES


def _places(block: bytes, mark: bytes) -> list[int]:
    """Where a mark stands in some bytes.

    In more than a few, its first half is looked for as a number of 16 bits, several times as fast as by `bytes.find`,
    which would count beside the decoding of a short clip.
    """
    if len(block) <= _FEW_BYTES:
        places, place = [], block.find(mark)
        while place >= 0:
            places.append(place)
            place = block.find(mark, place + 1)
        return places
    half = int.from_bytes(mark[:2], "little")
    candidates = []
    for shift in range(2):
        hits = np.frombuffer(block, "<u2", (len(block) - shift) // 2, shift) == half
        if hits.any():
            candidates += (2 * np.flatnonzero(hits) + shift).tolist()
    return [place for place in sorted(candidates) if block.startswith(mark, place)]
