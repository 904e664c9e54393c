"""Formats with one header before the samples: au, NIST SPHERE; and voc, whose blocks have no names."""

import re
from typing import Literal

from .extent import DamagedHeader, Extent
from .source import Source

_UNKNOWN_SIZE = 0xFFFFFFFF
_MAX_BLOCKS = 10_000
_NIST_FIELD = re.compile(rb"^(\w+) -(?:i|s\d+) (.*)$", re.MULTILINE)
_VOC_END, _VOC_SOUND, _VOC_CONTINUED, _VOC_SILENCE, _VOC_SOUND_NEW = 0, 1, 2, 3, 9
_VOC_HEAD_BYTES = {_VOC_SOUND: 2, _VOC_CONTINUED: 0, _VOC_SOUND_NEW: 12}
"""What stands before the samples inside a block."""


def au(source: Source, start: int) -> Extent:
    """Samples of an au (Sun, NeXT), which also goes by the name of snd."""
    head = source.read(start, 12)
    order: Literal["little", "big"] = "little" if head.startswith(b"dns.") else "big"
    offset, size = int.from_bytes(head[4:8], order), int.from_bytes(head[8:12], order)
    if size == _UNKNOWN_SIZE:
        return Extent(start + offset, None, source.num_bytes)
    return Extent(start + offset, size, start + offset + size)


def nist(source: Source, start: int) -> Extent:
    """Samples of a NIST SPHERE file.

    Raises:
        DamagedHeader: no size of the header, or samples that are compressed.
    """
    head = source.read(start, 16)
    if not head[8:15].strip().isdigit():
        raise DamagedHeader("damaged: its NIST header does not state its own size")
    size = int(head[8:15])
    fields = dict(_NIST_FIELD.findall(source.read(start, size).partition(b"\nend_head")[0]))
    coding = fields.get(b"sample_coding", b"pcm").decode("ascii", "replace")
    if "," in coding:
        raise DamagedHeader(f"its samples are compressed ({coding}); expand it first, e.g. with sph2pipe")
    numbers = [fields.get(name, b"").strip() for name in (b"sample_count", b"channel_count", b"sample_n_bytes")]
    if not all(number.isdigit() and len(number) < 16 for number in numbers):
        return Extent(start + size, None, source.num_bytes)
    count, channels, width = map(int, numbers)
    num_bytes = count * channels * width
    return Extent(start + size, num_bytes, start + size + num_bytes)


def voc(source: Source, start: int) -> Extent:
    """Samples of a Creative voc.

    Raises:
        DamagedHeader: no block of sound, or several, which libsndfile does not join.
    """
    position = start + int.from_bytes(source.read(start + 20, 2), "little")
    sound = None
    for _ in range(_MAX_BLOCKS):
        head = source.read(position, 4)
        if not head or head[0] == _VOC_END:
            break
        size, first = int.from_bytes(head[1:], "little"), position + 4
        if head[0] in (*_VOC_HEAD_BYTES, _VOC_SILENCE):
            if sound is not None or head[0] == _VOC_SILENCE:
                raise DamagedHeader("holds several blocks of sound or silence, which are not joined; write it anew")
            skipped = _VOC_HEAD_BYTES[head[0]]
            sound = (first + skipped, max(0, size - skipped))
        position = first + size
    if sound is None:
        raise DamagedHeader("truncated or damaged: no block of sound where the sizes of the header lead")
    return Extent(*sound, min(position + 1, max(source.num_bytes, sum(sound))))
