"""Classes that are the names of folders: which folders, and whether their names look like classes at all."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from ...audio.spelling import same_name
from .finding import FoundClip
from .folder_levels import INNERMOST, OUTERMOST, folder_at, folders_of, say_level
from .plan import PlannedClip, Problem

MAX_NAMED = 3
"""How many names a hint lists."""

_NUMBER = re.compile(r"[+-]?\d+([._:-]\d+)*")
_NUMBERED = re.compile(
    r"(p|s|id|spk|spkr|speaker|subj|subject|user|ses|sess|session|rec|recording|chapter|day|year)[ _-]?\d+",
    re.IGNORECASE,
)
_SPLIT = re.compile(
    r"(train(ing)?|test(ing)?|val(id(ation)?)?|dev(el(opment)?)?|eval(uation)?|(fold|split|part(ition)?)[ _-]?\d+)"
    r"([ _-]?(set|data|split|clean|other|audio|\d+)([ _-]\w+)*)?",
    re.IGNORECASE,
)


def labelled_by_folders(
    found: Iterable[FoundClip], level: int, skipped: int, problems: list[Problem]
) -> list[PlannedClip]:
    """The clips that have a folder of a level, with its name as their label.

    Args:
        level: see `folder_levels.parse_level`.
        skipped: folders of splits, which do not count.
        problems: gets those that have none, and are left out.
    """
    planned = []
    for clip in found:
        folder = folder_at(folders_of(clip.name, skipped), level)
        if folder is not None:
            planned.append(PlannedClip(clip.row, (folder,), clip.name))
        else:
            lacks = "no sub-folder" if level in (OUTERMOST, INNERMOST) else f"no {say_level(level)} sub-folder"
            problems.append(Problem("unlabelled", clip.row, f"lies in {lacks} that could name its class; left out"))
    return planned


def names_by_level(names: Iterable[str], skipped: int) -> dict[int, list[str]]:
    """The different folders of each level that clips have, sorted; levels count from the root.

    Args:
        names: paths of the clips below the root.
        skipped: folders of splits, which do not count.
    """
    found: dict[int, set[str]] = {}
    for folders in {folders_of(name, skipped) for name in names}:
        for level, folder in enumerate(folders, start=1):
            found.setdefault(level, set()).add(folder)
    return {level: sorted(folders) for level, folders in sorted(found.items())}


def other_levels(names: Sequence[str], level: int, skipped: int) -> str:
    """What other levels would make of the clips, for a hint: `--label-level 2 has 5 names (cs, de, en, ...)`."""
    chosen = {folder_at(folders_of(name, skipped), level) for name in names}
    others = [
        f"--label-level {other} has {len(folders)} names ({named(folders)})"
        for other, folders in names_by_level(names, skipped).items()
        if len(folders) > 1 and set(folders) != chosen
    ]
    return ", ".join(others)


def named(names: Sequence[str]) -> str:
    """The first few."""
    return ", ".join(names[:MAX_NAMED]) + (", ..." if len(names) > MAX_NAMED else "")


def doubts(classes: Sequence[str], split_folders: bool) -> list[str]:
    """Warnings of class names that more likely say something else.

    Args:
        split_folders: whether folders of splits are named already.
    """
    warnings = []
    splits = [name for name in classes if _SPLIT.fullmatch(name)]
    if splits:
        remedy = "--label-level names another folder"
        if not split_folders:
            remedy = "--split-folders takes them as splits, and the labels from the folders below them"
        warnings.append(f"class names that look like splits: {named(splits)}; if they divide the data, {remedy}")
    numbers = [name for name in classes if _NUMBER.fullmatch(name) or _NUMBERED.fullmatch(name)]
    if numbers:
        warnings.append(
            f"{len(numbers)} of the {len(classes)} class names look like numbers ({named(numbers)}), as speakers, "
            "sessions and years have; if these are not to be told apart, --label-level names another folder, or "
            "--labels CSV lists the labels (and --group-by keeps the clips of a speaker on one side)"
        )
    spellings: dict[str, list[str]] = {}
    for name in classes:
        spellings.setdefault(same_name(name).casefold(), []).append(name)
    for alike in (names for names in spellings.values() if len(names) > 1):
        warnings.append(
            f"class names that differ in spelling only: {' and '.join(map(repr, alike))}; if they are one class, give "
            "its folders one name"
        )
    return warnings
