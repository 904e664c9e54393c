"""FLAC: is there a second stream behind the first? (A stream that is cut short makes its decoder fail.)"""

from typing import Optional

from .marks import find_marks
from .source import Source

_HEADS = (b"fLaC\0\0\0\x22", b"fLaC\x80\0\0\x22")  # the mark and the head of STREAMINFO, which comes first


def second_flac_stream(source: Source, position: int) -> Optional[str]:
    """Whether another stream begins behind a position inside the first one."""
    for place, head in find_marks(source, _HEADS[0][:4], position):
        if head.startswith(_HEADS):
            return (
                f"several FLAC streams one after the other (a second begins at byte {place}), of which only the first "
                "would be read; decode them one by one and join the sound"
            )
    return None
