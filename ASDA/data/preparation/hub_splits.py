"""Which split a file belongs to by its name, as data sets on the Hugging Face hub are laid out.

There the words train, validation and test, or what is used in their place, stand in the names of files or of folders:
`data/train-00000-of-00004.parquet`, `test/0000.parquet`, `dev-000017.tar`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase

from ..manifest import ManifestError

_WORDS = {
    "train": "train|training",
    "valid": "validation|valid|val|dev",
    "eval": "test|testing|eval|evaluation",
}
_SPLITS = {split: re.compile(rf"(?<![a-z])(?:{words})(?![a-z])", re.IGNORECASE) for split, words in _WORDS.items()}


def split_files(names: Sequence[str], patterns: Sequence[tuple[str, str]] = ()) -> dict[str, str]:
    """The split of each file: `train`, `valid` or `eval` by the words in its name, else of its folders.

    Args:
        names: relative paths.
        patterns: (split, shell pattern of the path) in the place of the words; the first that fits counts, and files
            that none fits have no split.

    Returns:
        Splits by name; all `train` if no name says a split.

    Raises:
        ManifestError: a pattern that fits no file, or names of which some say no split or more than one.
    """
    if patterns:
        return _by_patterns(names, patterns)
    found = {name: _said_by(name) for name in names}
    unsaid = [name for name, split in found.items() if split is None]
    if len(unsaid) == len(names):
        return {name: "train" for name in names}
    if unsaid:
        raise ManifestError(
            f"{unsaid[0]}: its name says no split, where others do: expected train, validation or test in the name of "
            f"the file or a folder; say which files are which split: --split train='data/*' eval='test/*'"
        )
    return {name: split for name, split in found.items() if split is not None}


def _said_by(name: str) -> str | None:
    for part in reversed(name.split("/")):
        splits = [split for split, words in _SPLITS.items() if words.search(part)]
        if len(splits) > 1:
            raise ManifestError(
                f"{name}: its name says {' and '.join(splits)}; say which files are which split: --split train='...'"
            )
        if splits:
            return splits[0]
    return None


def _by_patterns(names: Sequence[str], patterns: Sequence[tuple[str, str]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for split, pattern in patterns:
        fitting = [name for name in names if fnmatchcase(name, pattern)]
        if not fitting:
            there = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
            raise ManifestError(f"--split {split}={pattern}: no file fits; there are {there}")
        for name in fitting:
            found.setdefault(name, split)
    return found
