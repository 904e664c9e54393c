"""Composes the yaml that a run starts from, as `fairseq-hydra-train` will, so that a recipe's own numbers count."""

from __future__ import annotations

import difflib
import warnings
from pathlib import Path
from typing import Any

from .arguments import Arguments, quoted, split_override
from .settings import LaunchError

PROJECT = Path(__file__).resolve().parents[2]
CONFIG_FOLDER = PROJECT / "config"

# Sections of which fairseq knows keys that need not stand in the yaml.
_FAIRSEQ_SECTIONS = frozenset(
    "common common_eval checkpoint dataset distributed_training optimization bmuf ema generation interactive".split()
)


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
        self.config = _compose(file, [*self.groups, *arguments.overrides])

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
            raise LaunchError(f"{self.file}: {key}: {_one_line(error)}") from error
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


def search_path(file: Path) -> list[str]:
    """The override that lets a yaml elsewhere use this project's base and recipes; none for one of this project."""
    if file.parent == CONFIG_FOLDER:
        return []
    return [f"hydra.searchpath=[{quoted(f'file://{CONFIG_FOLDER}')}]"]


def _listed(names: tuple[str, ...]) -> str:
    return names[0] if len(names) == 1 else f"[{','.join(names)}]"


def _compose(file: Path, overrides: list[str]) -> Any:
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    groups = [word for word in overrides if _is_group(file, split_override(word)[1])]
    values = [word for word in overrides if word not in groups]
    try:
        if any(_is_fairseqs(word) for word in values):
            present = _hydra_compose(file, groups)
            values = [_added_where_absent(word, present) for word in _last_ones(values)]
        return _hydra_compose(file, [*groups, *values])
    except (HydraException, OmegaConfBaseException, YAMLError, OSError) as error:
        # hydra says what it could not read of an override, but not of which.
        raise LaunchError(f"{getattr(error, 'override', file)}: {_one_line(error)}") from error


def _hydra_compose(file: Path, overrides: list[str]) -> Any:
    try:
        from hydra import compose, initialize_config_dir
    except ImportError:  # hydra 1.0
        from hydra.experimental import compose, initialize_config_dir

    with warnings.catch_warnings():
        # As fairseq calls it: without version_base, whose absence hydra warns of.
        warnings.simplefilter("ignore")
        with initialize_config_dir(config_dir=str(file.parent)):
            return compose(file.stem, [*search_path(file), *overrides])


def _is_group(file: Path, key: str) -> bool:
    return any((folder / key).is_dir() for folder in (CONFIG_FOLDER, file.parent))


def _last_ones(overrides: list[str]) -> list[str]:
    return list({split_override(word)[1]: word for word in overrides}.values())


def _is_fairseqs(word: str) -> bool:
    prefix, key, _ = split_override(word)
    return not prefix and key.partition(".")[0] in _FAIRSEQ_SECTIONS


def _added_where_absent(word: str, config: Any) -> str:
    """A key that fairseq will know although the yaml does not name it has to be added here."""
    section, _, name = split_override(word)[1].partition(".")
    present = section in config and name in config[section].keys()
    return f"+{word}" if _is_fairseqs(word) and not present else word


def _one_line(error: Exception) -> str:
    return " ".join(str(error).partition("Config search path:")[0].split())
