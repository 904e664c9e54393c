"""FLAC: is there a second stream behind the first? (A stream that is cut short makes its decoder fail.)"""

from typing import Optional

from .source import Source

_BLOCK_BYTES = 1 << 22
_MARK = b"fLaC"
_HEADS = (b"fLaC\0\0\0\x22", b"fLaC\x80\0\0\x22")  # the mark and the head of STREAMINFO, which comes first
_HEAD_BYTES = 8


def flac_damage(source: Source, start: int, whole: bool) -> Optional[str]:
    """Why the decoder would not give all of a FLAC file, or None.

    Args:
        start: of the stream.
        whole: look through all of the file.
    """
    position = start + _HEAD_BYTES
    while whole and position < source.num_bytes:
        block = source.read(position, _BLOCK_BYTES + _HEAD_BYTES - 1)
        at = block.find(_MARK)
        while at >= 0:
            if block.startswith(_HEADS, at):
                return (
                    f"several FLAC streams one after the other (a second begins at byte {position + at}), of which only "
                    "the first would be read; decode them one by one and join the sound"
                )
            at = block.find(_MARK, at + 1)
        position += _BLOCK_BYTES
    return None
