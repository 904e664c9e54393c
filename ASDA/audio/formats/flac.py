"""FLAC: is there a second stream behind the first? (A stream that is cut short makes its decoder fail.)"""

from typing import Optional

from .marks import find_marks
from .source import Source

_MARK = b"fLaC"
_HEADS = (b"fLaC\0\0\0\x22", b"fLaC\x80\0\0\x22")  # the mark and the head of STREAMINFO, which comes first


def flac_damage(source: Source, start: int, whole: bool) -> Optional[str]:
    """Why the decoder would not give all of a FLAC file, or None.

    Args:
        start: of the stream.
        whole: look through all of the file.
    """
    if not whole:
        return None
    for position, head in find_marks(source, _MARK, start + len(_MARK)):
        if head.startswith(_HEADS):
            return (
                f"several FLAC streams one after the other (a second begins at byte {position}), of which only the "
                "first would be read; decode them one by one and join the sound"
            )
    return None
