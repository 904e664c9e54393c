"""Finding the four bytes with which a format begins, anywhere in a file."""

from collections.abc import Iterator

import numpy as np

from .source import Source

_BLOCK_BYTES = 1 << 22
_OVERLAP_BYTES = 16  # what callers want to see behind a mark, and a mark that lies across the border of two blocks


def find_marks(source: Source, mark: bytes, start: int) -> Iterator[tuple[int, bytes]]:
    """The places of a mark of four bytes from `start`, in order, each with the 16 bytes that begin there.

    As numbers of 32 bits they are found ten times as fast as by `bytes.find`, which counts beside the decoding of a
    short clip.
    """
    wanted = int.from_bytes(mark, "little")
    while start < source.num_bytes:
        block = source.read(start, min(_BLOCK_BYTES + _OVERLAP_BYTES, source.num_bytes - start))
        places = []
        for shift in range(4):
            words = np.frombuffer(block, "<u4", max(0, len(block) - shift) // 4, shift if len(block) >= 4 else 0)
            hits = words == wanted
            if hits.any():
                places += (4 * np.flatnonzero(hits) + shift).tolist()
        for place in sorted(place for place in places if place < _BLOCK_BYTES):
            yield start + place, block[place : place + _OVERLAP_BYTES]
        start += _BLOCK_BYTES
