"""The arguments of a launch: recipes, a size, hydra overrides, and flags that hydra's own program gets."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from .settings import LaunchError

# key=value, +key=value, ++key=value; ~key deletes
_OVERRIDE = re.compile(r"(?P<prefix>\+{0,2}|~)(?P<key>[A-Za-z_][\w./@:-]*)(?P<value>=.*)?", re.DOTALL)
_REFUSED = {
    **dict.fromkeys(("-m", "--multirun"), "start a run of its own, with its own SAVE_DIR, for each value"),
    **dict.fromkeys(("-cn", "--config-name", "-cd", "--config-dir", "-cp", "--config-path"), "set CONFIG to the yaml"),
}


@dataclass(frozen=True)
class Arguments:
    """What was typed after a script's name.

    Attributes:
        recipes: names of config/recipe, in their order: what a later one says wins.
        words: all other arguments as they were typed, overrides and hydra's flags.
        size: name of config/size; empty: what yaml and recipes say.
    """

    recipes: tuple[str, ...]
    words: tuple[str, ...]
    size: str = ""

    @classmethod
    def parse(cls, words: list[str]) -> Arguments:
        """Reads `RECIPE... key=value...`; `+recipe=A`, `+recipe=[A,B]` and `+size=NAME` may stand anywhere.

        Raises:
            LaunchError: several runs or sizes are asked for at once, or recipes in a form that hydra takes for a sweep.
        """
        bare = [re.fullmatch(r"\w[\w.,-]*", word) is not None for word in words]
        count = [*bare, False].index(False)
        recipes = [name for word in words[:count] for name in word.split(",") if name]
        rest, sizes = [], []
        for word in words[count:]:
            if word.partition("=")[0] in _REFUSED:
                raise LaunchError(f"{word}: {_REFUSED[word.partition('=')[0]]}")
            prefix, key, value = split_override(word)
            if key == "recipe" and prefix in ("+", "++") and value is not None:
                recipes += _names(word, value)
            elif key == "size" and prefix in ("+", "++") and value is not None:
                sizes.append(value.strip("'\""))
            else:
                rest.append(word)
        return cls(tuple(dict.fromkeys(recipes)), tuple(rest), one_size(sizes))

    @property
    def overrides(self) -> list[str]:
        """The words that change the configuration; not hydra's flags and their values, nor settings of hydra itself."""
        keys = ((word, split_override(word)) for word in self.words)
        return [word for word, (prefix, key, value) in keys if _changes(prefix, key, value)]

    def names(self, key: str) -> bool:
        """Whether an override gives the key a value."""
        return any(split_override(word)[1] == key for word in self.overrides)

    def without(self, *keys: str) -> Arguments:
        """The same without the overrides of these keys."""
        return replace(self, words=tuple(word for word in self.words if split_override(word)[1] not in keys))


def one_size(names: list[str]) -> str:
    """The size that is named; empty if none is.

    Raises:
        LaunchError: several are, or one without a name.
    """
    different = list(dict.fromkeys(names))
    if len(different) > 1 or not all(re.fullmatch(r"\w[\w.-]*", name) for name in different):
        raise LaunchError(f"+size={','.join(different)}: a network has one size, as in +size=small")
    return different[0] if different else ""


def split_override(word: str) -> tuple[str, str, str | None]:
    """`+a.b=c` -> ("+", "a.b", "c"). A word of another form has no key; without `=` the value is None."""
    match = _OVERRIDE.fullmatch(word)
    if match is None:
        return "", "", None
    return match["prefix"], match["key"], None if match["value"] is None else match["value"][1:]


def quoted(value: object) -> str:
    """A value as hydra reads it back: plain where possible, else in quotes."""
    text = str(value)
    if re.fullmatch(r"[A-Za-z0-9_./:@+-]*", text):
        return text
    return "'" + re.sub(r"(\\*)('|\Z)", lambda m: 2 * m[1] + ("\\'" if m[2] else ""), text) + "'"


def _changes(prefix: str, key: str, value: str | None) -> bool:
    return bool(key) and (value is not None or prefix == "~") and key.split(".")[0] != "hydra"


def _names(word: str, value: str) -> list[str]:
    text = value.strip("'\"")
    listed = text.startswith("[") and text.endswith("]")
    names = [name.strip(" '\"") for name in text.strip("[]").split(",")]
    if len(names) > 1 and not listed:
        raise LaunchError(f'{word}: several recipes are a list, "+recipe=[{",".join(names)}]"')
    return [name for name in names if name]
