"""The yaml that a run starts from, with its recipes and overrides, so that a recipe's own numbers count."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

from .arguments import Arguments
from .composing import CONFIG_FOLDER, compose, one_line
from .settings import LaunchError


class Recipe:
    """A yaml of config/ with its recipes and overrides, composed.

    Attributes:
        file: the yaml.
        config: what hydra makes of it.
    """

    def __init__(self, file: Path, arguments: Arguments):
        """Composes.

        Raises:
            LaunchError: the yaml or a recipe does not exist or is damaged, or an override does not fit.
        """
        self.file = file
        self.groups = [f"+recipe={_listed(check_recipes(file, arguments.recipes))}"] if arguments.recipes else []
        self.config = compose(file, [*self.groups, *arguments.overrides])

    def get(self, key: str, default: Any = None) -> Any:
        """A value with its interpolations resolved; the default where there is none.

        Raises:
            LaunchError: an interpolation leads nowhere.
        """
        from omegaconf import OmegaConf
        from omegaconf.errors import OmegaConfBaseException

        try:
            value = OmegaConf.select(self.config, key)
        except OmegaConfBaseException as error:
            raise LaunchError(f"{self.file}: {key}: {one_line(error)}") from error
        return default if value is None else value

    def set(self, key: str, value: Any) -> None:
        """Changes a value, so that those which refer to it follow."""
        from omegaconf import OmegaConf

        OmegaConf.update(self.config, key, value)

    def has(self, key: str) -> bool:
        """Whether the yaml names the key, be its value missing (`???`) or null."""
        section, _, name = key.partition(".")
        return section in self.config and name in self.config[section].keys()


def find_config(name: str) -> Path:
    """The yaml that a name in config/, or a path, stands for.

    Raises:
        LaunchError: there is none.
    """
    if "/" in name or name.endswith(".yaml"):
        file = Path.cwd() / f"{name.removesuffix('.yaml')}.yaml"
    else:
        file = CONFIG_FOLDER / f"{name}.yaml"
    if not file.is_file():
        raise LaunchError(f"CONFIG: {file} does not exist")
    return file


def recipe_files(file: Path) -> dict[str, Path]:
    """The recipes that go with a yaml, by name: those beside it, and this project's."""
    folders = dict.fromkeys((CONFIG_FOLDER / "recipe", file.parent / "recipe"))
    return {recipe.stem: recipe for folder in folders for recipe in sorted(folder.glob("*.yaml"))}


def check_recipes(file: Path, names: tuple[str, ...]) -> tuple[str, ...]:
    """The names, if there is a recipe of each.

    Raises:
        LaunchError: there is none; the message lists those there are.
    """
    known = recipe_files(file)
    for name in names:
        if name not in known:
            close = difflib.get_close_matches(name.lower(), {k.lower(): k for k in known}, 1, 0.6)
            hint = next((f" (did you mean {k}?)" for k in known if k.lower() in close), "")
            raise LaunchError(f"there is no recipe {name}{hint}; those of config/recipe are {', '.join(known)}")
    return names


def _listed(names: tuple[str, ...]) -> str:
    return names[0] if len(names) == 1 else f"[{','.join(names)}]"
