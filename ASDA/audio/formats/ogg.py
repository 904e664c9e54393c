"""Ogg pages: is the last one there, and do all belong to one stream?"""

from typing import Optional

from .marks import find_marks
from .source import Source
from .tags import end_without_tags

_HEAD_BYTES = 27
_PAGE_MAX_BYTES = _HEAD_BYTES + 255 + 255 * 255
_FIRST_PAGE, _LAST_PAGE = 0x02, 0x04
_MAX_STREAMS = 64
_JUNK_BYTES = 4096  # some programs leave rubbish behind the audio
_MARK = b"OggS"
_FIRST_PAGES = (b"OggS\0\x02", b"OggS\0\x06")


def ogg_damage(source: Source, start: int) -> Optional[str]:
    """What the first and the last page, of which the first begins at `start`, say against an Ogg file, or None."""
    tail_start = max(start, source.num_bytes - 2 * _PAGE_MAX_BYTES)
    tail = source.read(tail_start, 2 * _PAGE_MAX_BYTES)
    at = tail.rfind(_MARK)
    size = _page_bytes(tail[at:]) if at >= 0 else 0
    if not size or len(tail) < at + size:
        return "truncated: the last Ogg page is incomplete"
    page = tail[at:]
    if not page[5] & _LAST_PAGE:
        return "truncated: the Ogg stream stops without its end mark"
    if (
        len(tail) - at - size > _JUNK_BYTES
        and end_without_tags(source, tail_start + at + size) > tail_start + at + size
    ):
        return f"damaged: {len(tail) - at - size} bytes stand behind the last Ogg page, and would not be read"
    if page[14:18] not in _serials_at(source, start):
        return _chained("")
    return None


def second_ogg_stream(source: Source, position: int) -> Optional[str]:
    """Whether another stream begins behind a position inside the first one, perhaps with the same serial number."""
    for place, head in find_marks(source, _MARK, position):
        if head.startswith(_FIRST_PAGES):
            return _chained(f" at byte {place}")
    return None


def _page_bytes(page: bytes) -> int:
    """Size of a page by its head; 0 if it is none."""
    if len(page) < _HEAD_BYTES or not page.startswith(_MARK):
        return 0
    num_segments = page[26]
    lengths = page[_HEAD_BYTES : _HEAD_BYTES + num_segments]
    return _HEAD_BYTES + num_segments + sum(lengths) if len(lengths) == num_segments else 0


def _serials_at(source: Source, position: int) -> set[bytes]:
    """Serial numbers of the streams that begin together at a position."""
    serials: set[bytes] = set()
    for _ in range(_MAX_STREAMS):
        head = source.read(position, _HEAD_BYTES + 255)
        size = _page_bytes(head)
        if not size or not head[5] & _FIRST_PAGE:
            break
        serials.add(head[14:18])
        position += size
    return serials


def _chained(place: str) -> str:
    return (
        f"several Ogg streams one after the other (a second begins{place}), of which only the first would be read; "
        "write it anew as one, e.g. ffmpeg -i in.ogg out.flac"
    )
