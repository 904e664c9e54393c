"""The folders on the way to a clip, counted from the root or from the clip."""

from __future__ import annotations

from pathlib import Path

from ..containers import CONTAINER_SUFFIXES

OUTERMOST, INNERMOST = 1, -1
LEVEL_NAMES = {"outermost": OUTERMOST, "innermost": INNERMOST}


def parse_level(text: str) -> int:
    """`1`, `2`, ... count from the root inwards, `-1`, `-2`, ... from the clip outwards; or one of `LEVEL_NAMES`.

    Raises:
        ValueError: nothing of the kind.
    """
    try:
        level = LEVEL_NAMES[text] if text in LEVEL_NAMES else int(text)
    except ValueError:
        level = 0
    if level == 0:
        raise ValueError(
            "expected outermost (1), 2, 3, ... counted from the root, or innermost (-1), -2, ... counted from the "
            f"clip; got {text!r}"
        )
    return level


def folders_of(name: str, skipped: int = 0) -> tuple[str, ...]:
    """The folders on the way to a clip, outermost first; containers are none.

    Args:
        name: path of the clip below the root.
        skipped: how many folders to leave out, those of splits.
    """
    return tuple(part for part in name.split("/")[skipped:-1] if Path(part).suffix.lower() not in CONTAINER_SUFFIXES)


def place_of(level: int, num_folders: int) -> int | None:
    """Where among so many folders the one of a level stands, from 0; None if there is none."""
    place = level - 1 if level > 0 else num_folders + level
    return place if 0 <= place < num_folders else None


def folder_at(folders: tuple[str, ...], level: int) -> str | None:
    """The folder of a level; None if the clip lies less deep."""
    place = place_of(level, len(folders))
    return None if place is None else folders[place]


def say_level(level: int) -> str:
    """`outermost`, `innermost`, `2nd`, ... as it stands before "folder"."""
    names = {OUTERMOST: "outermost", INNERMOST: "innermost", 2: "2nd", 3: "3rd"}
    return names.get(level) or (f"{level}th" if level > 0 else f"{-level}th innermost")
