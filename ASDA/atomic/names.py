"""File names that a file system takes, whatever their length, and those of files that are being written."""

from __future__ import annotations

import hashlib
import os
import re
import secrets

MAX_NAME_BYTES = 255
"""What nearly every file system takes for one name."""

_HASH_DIGITS = 12
_TEMPORARY = re.compile(r"\..*\.asda-[0-9a-f]{8}\.part", re.DOTALL)


def fitting_name(name: str, suffix: str = "", longest_suffix: str | None = None) -> str:
    """`name + suffix`, with the name shortened where that would be too long for a file system.

    A hash of the whole name tells shortened names apart; the same name is always shortened in the same way.

    Args:
        name: one component of a path.
        suffix: what follows it.
        longest_suffix: room for this one is made, so that files of one name with several suffixes stay together.
    """
    room = MAX_NAME_BYTES - len(os.fsencode(suffix if longest_suffix is None else longest_suffix))
    encoded = os.fsencode(name)
    if len(encoded) <= room:
        return name + suffix
    mark = f"~{hashlib.sha256(encoded).hexdigest()[:_HASH_DIGITS]}"
    # A character that the cut goes through is left out; so is what is no UTF-8: the hash stands for all of it.
    start = encoded[: room - len(mark)].decode("utf-8", "ignore")
    return f"{start}{mark}{suffix}"


def temporary_name(name: str) -> str:
    """A new name beside `name` for what is being written; starts with a dot."""
    return fitting_name(f".{name}", f".asda-{secrets.token_hex(4)}.part")


def is_temporary(name: str, of: str | None = None) -> bool:
    """Whether a name is one of :func:`temporary_name`, for any file or for the one called `of`."""
    if not _TEMPORARY.fullmatch(name):
        return False
    return of is None or name[: -len("xxxxxxxx.part")] == temporary_name(of)[: -len("xxxxxxxx.part")]
