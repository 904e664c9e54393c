"""What may stand before and behind the audio of any format: tags and padding."""

from .source import Source

_MAX_TAGS = 64  # a file of nothing but tags is no reason to go through all of them
_ID3V1_BYTES = 128
_APE_FOOTER_BYTES = 32
_LYRICS_FOOTER_BYTES = 15
_BLOCK_BYTES = 1 << 16


def skip_id3(source: Source, position: int = 0) -> int:
    """The first byte behind the ID3v2 tags that begin at a position; there may be several."""
    for _ in range(_MAX_TAGS):
        head = source.read(position, 10)
        if len(head) < 10 or head[:3] != b"ID3" or max(head[6:]) > 0x7F:
            break
        position += 10 + _syncsafe(head[6:]) + (10 if head[5] & 0x10 else 0)
    return position


def skip_padding(source: Source, position: int) -> int:
    """The first byte behind the zeros and ID3v2 tags at a position."""
    while block := source.read(position, _BLOCK_BYTES):
        num_left = len(block.lstrip(b"\0"))
        position += len(block) - num_left
        if num_left:
            behind = skip_id3(source, position)
            if behind == position:
                break
            position = behind
    return position


def end_without_tags(source: Source, start: int) -> int:
    """The end of what stands behind `start`, less the tags and zeros at the very end of the file."""
    end = source.num_bytes
    if end <= start:
        return end
    for _ in range(_MAX_TAGS):
        shorter = _before_zeros(source, start, _before_tag(source, start, end))
        if shorter == end:
            break
        end = shorter
    return end


def _before_tag(source: Source, start: int, end: int) -> int:
    """Where the tag that ends at `end` begins; `end` if there is none."""
    foot = source.read(max(start, end - _ID3V1_BYTES), min(_ID3V1_BYTES, end - start)) if end > start else b""
    size = 0
    if len(foot) == _ID3V1_BYTES and foot.startswith(b"TAG"):
        size = _ID3V1_BYTES
    elif foot[-_APE_FOOTER_BYTES:].startswith(b"APETAGEX"):
        footer = foot[-_APE_FOOTER_BYTES:]
        has_header = footer[23] & 0x80
        size = int.from_bytes(footer[12:16], "little") + (_APE_FOOTER_BYTES if has_header else 0)
    elif foot.endswith(b"LYRICS200") and foot[-_LYRICS_FOOTER_BYTES:-9].isdigit():
        size = _LYRICS_FOOTER_BYTES + int(foot[-_LYRICS_FOOTER_BYTES:-9])
    elif foot[-10:-7] == b"3DI":
        size = 20 + _syncsafe(foot[-4:])
    return end - size if size <= end - start else end


def _before_zeros(source: Source, start: int, end: int) -> int:
    while end > start:
        size = min(_BLOCK_BYTES, end - start)
        kept = len(source.read(end - size, size).rstrip(b"\0"))
        end -= size - kept
        if kept:
            break
    return end


def _syncsafe(number: bytes) -> int:
    """ID3's way to write sizes: seven bits in each byte."""
    value = 0
    for byte in number:
        value = value << 7 | byte & 0x7F
    return value
