"""One name, two spellings: Unicode writes `ü` as one character (NFC) or as `u` and dots (NFD).

Macs store names decomposed, keyboards type them composed; to the file system of Linux these are two names.
"""

import os
import unicodedata
from typing import Union


def same_name(name: str) -> str:
    """What all spellings of a name have in common: NFC."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def existing_spelling(path: Union[str, os.PathLike]) -> str:
    """The path, or if nothing is there the spelling of it that is; the path as given if none is.

    Each folder on the way may be spelled in its own way.
    """
    path = os.fspath(path)
    if path.isascii() or os.path.lexists(path):
        return path
    found = os.sep if path.startswith(os.sep) else ""
    for part in path.split(os.sep):
        forms = (part, *(unicodedata.normalize(form, part) for form in ("NFC", "NFD")))
        there = (name for name in forms if os.path.lexists(os.path.join(found, name)))
        found = os.path.join(found, next(there, part))
    return found if os.path.lexists(found) else path
