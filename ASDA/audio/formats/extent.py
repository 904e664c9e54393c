"""Where a header says that the samples lie."""

from typing import NamedTuple, Optional


class DamagedHeader(ValueError):
    """A header that leads nowhere; the message says why, in one line."""


class Extent(NamedTuple):
    """The part of a file that holds its samples, by its header.

    Attributes:
        start: first byte.
        size: bytes; None where the header does not say, as when it was written to a pipe: then up to the end.
        end: first byte behind everything that belongs to the file, such as tags behind the samples.
        size_counts_padding: some writers count a padding byte in `size` and leave it out.
        frame_bytes: bytes of one sample of all channels, where the header states that.
    """

    start: int
    size: Optional[int]
    end: int
    size_counts_padding: bool = False
    frame_bytes: Optional[int] = None
