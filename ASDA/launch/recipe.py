"""The yaml that a run starts from, with its recipes, size and overrides, so that a recipe's own numbers count."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

from ..checkpoints.layouts.published_names import PUBLISHED_FLAGS
from .arguments import Arguments, one_size
from .composing import CONFIG_FOLDER, compose, leaves, one_line
from .settings import LaunchError
from .sizes import size_group


class Recipe:
    """A yaml of config/ with its recipes, its size and overrides, composed. What is said later in this order wins.

    Attributes:
        file: the yaml.
        config: what hydra makes of it.
    """

    def __init__(self, file: Path, arguments: Arguments):
        """Composes.

        Raises:
            LaunchError: the yaml, a recipe or the size does not exist or is damaged, or an override does not fit.
        """
        self.file = file
        self.names, size = _recipes_and_size(file, arguments)
        self.groups = [f"+recipe={_listed(check_recipes(file, self.names))}"] if self.names else []
        if size:
            self.groups.append(size_group(file, compose(file, self.groups), size))
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

    @property
    def dataset(self) -> str:
        """The data set that is named, by `task.dataset` or by one of EAT's flags; empty for own data."""
        flagged = (name for flag, name in PUBLISHED_FLAGS.items() if self.get(f"task.{flag}", False))
        return self.get("task.dataset", "") or next(flagged, "")

    def set(self, key: str, value: Any) -> None:
        """Changes a value, so that those which refer to it follow."""
        from omegaconf import OmegaConf

        OmegaConf.update(self.config, key, value)

    def has(self, key: str) -> bool:
        """Whether the yaml names the key, be its value missing (`???`) or null."""
        section, _, name = key.partition(".")
        return section in self.config and name in self.config[section].keys()

    def recipe_states(self, key: str) -> bool:
        """Whether one of the recipes, or a base of theirs, gives the key a value, not the yaml that they change."""
        files = recipe_files(self.file)
        return any(key in _stated_by(files[name]) for name in self.names)

    @property
    def model(self) -> str:
        """The registered name of what is trained; empty where the yaml has none."""
        return str(self.get("model._name", ""))


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


def _stated_by(file: Path) -> set[str]:
    """The keys to which a recipe, or a base in its defaults, gives a value."""
    from omegaconf import OmegaConf

    content: Any = OmegaConf.to_container(OmegaConf.load(file))
    bases = [base for base in content.pop("defaults", []) if base != "_self_"]
    return set(leaves(content)).union(*(_stated_by(CONFIG_FOLDER / f"{base.lstrip('/')}.yaml") for base in bases))


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


def _recipes_and_size(file: Path, arguments: Arguments) -> tuple[tuple[str, ...], str]:
    """The recipes, and the size. A bare word that names a size and no recipe is a size."""
    known = recipe_files(file)
    sizes = {size.stem for folder in (CONFIG_FOLDER, file.parent) for size in (folder / "size").rglob("*.yaml")}
    bare = [name for name in arguments.recipes if name not in known and name in sizes]
    named = [arguments.size] if arguments.size else []
    return tuple(name for name in arguments.recipes if name not in bare), one_size([*bare, *named])


def _listed(names: tuple[str, ...]) -> str:
    return names[0] if len(names) == 1 else f"[{','.join(names)}]"
