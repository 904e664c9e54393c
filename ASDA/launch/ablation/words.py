"""What is typed behind `asda-train`, put together from the parts of a grid: later parts win, key by key."""

from __future__ import annotations

import re
import shlex

from ..arguments import split_override
from ..composing import CONFIG_FOLDER
from ..settings import LaunchError

RESERVED = {
    "common.seed": "the grid's seeds say it",
    "task.data": "--data, or data in the grid, says it",
    "checkpoint.save_dir": "each run has a folder of its own",
    "model.model_path": "fine-tuning starts from the run's own pre-training",
}
"""Keys that a grid decides for each of its runs, and why no words may."""


def split_words(text: str) -> tuple[str, ...]:
    """The words of a text, as a shell splits them.

    Raises:
        LaunchError: a quote is left open, a word is a flag of hydra's, or it sets what the grid itself decides.
    """
    try:
        words = tuple(shlex.split(text))
    except ValueError as error:
        raise LaunchError(f"{text!r}: {str(error).lower()}") from error
    for word in words:
        if re.match(r"-", word):
            raise LaunchError(f"{word}: expected recipes and key=value")
        key = split_override(word)[1]
        if key in RESERVED and "=" in word:
            raise LaunchError(f"{word}: {RESERVED[key]}")
    return words


def is_config(word: str) -> bool:
    """Whether a word names a yaml of config/, or is the path of one."""
    return word.endswith(".yaml") or (bool(re.fullmatch(r"\w+", word)) and (CONFIG_FOLDER / f"{word}.yaml").is_file())


def joined_words(first: tuple[str, ...], second: tuple[str, ...]) -> tuple[str, ...]:
    """Both parts as one: yaml, recipes, then overrides, of which each key stands once.

    A second part that begins with a yaml's name stands for itself, as the keys of one yaml are not another's.
    """
    if second and is_config(second[0]):
        return joined_words(second[:1], second[1:])
    words = [*first, *second]
    bare = [word for word in words if "=" not in word and not word.startswith("~")]
    recipes = [word for word in words if word not in bare and split_override(word)[1] == "recipe"]
    overrides = {split_override(word)[1]: word for word in words if word not in bare and word not in recipes}
    return (*dict.fromkeys(bare), *dict.fromkeys(recipes), *overrides.values())
