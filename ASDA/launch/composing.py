"""Composes yaml as `fairseq-hydra-train` will, with hydra, but without fairseq, which takes seconds to import."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from .arguments import quoted, split_override
from .settings import LaunchError

PROJECT = Path(__file__).resolve().parents[2]
CONFIG_FOLDER = PROJECT / "config"

# Sections of which fairseq knows keys that need not stand in the yaml.
_FAIRSEQ_SECTIONS = frozenset(
    "common common_eval checkpoint dataset distributed_training optimization bmuf ema generation interactive".split()
)


def compose(file: Path, overrides: list[str]) -> Any:
    """What hydra makes of a yaml and overrides.

    Raises:
        LaunchError: something in them is damaged or does not fit; hydra's reason in one line.
    """
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    groups = [word for word in overrides if _is_group(file, split_override(word)[1])]
    values = [word for word in overrides if word not in groups]
    try:
        if file.parent != CONFIG_FOLDER:
            _check_bases(file)
        if any(_is_fairseqs(word) for word in values):
            present = _hydra_compose(file, groups)
            values = [_added_where_absent(word, present) for word in _last_ones(values)]
        return _hydra_compose(file, [*groups, *values])
    except (HydraException, OmegaConfBaseException, YAMLError, OSError) as error:
        # hydra says what it could not read of an override, but not of which.
        raise LaunchError(f"{getattr(error, 'override', file)}: {one_line(error)}") from error


def _hydra_compose(file: Path, overrides: list[str]) -> Any:
    try:
        from hydra import compose, initialize_config_dir
    except ImportError:  # hydra 1.0
        from hydra.experimental import compose, initialize_config_dir  # type: ignore[assignment]

    with warnings.catch_warnings():
        # As fairseq calls it: without version_base, whose absence hydra warns of.
        warnings.simplefilter("ignore")
        with initialize_config_dir(config_dir=str(file.parent)):
            return compose(file.stem, [*search_path(file), *overrides])


def _check_bases(file: Path) -> None:
    """Refuses a yaml whose own keys and bases undo one another.

    fairseq merges its own defaults into the yaml that a run names. Behind its bases it would therefore undo what they
    say; before them, as it has to stand, they win over what it says itself.
    """
    from omegaconf import OmegaConf

    own: Any = OmegaConf.load(file)
    defaults = list(own.pop("defaults", []))
    if not defaults:
        return
    if defaults[0] != "_self_":
        raise LaunchError(f"{file}: _self_ has to stand first in its defaults; what changes a base is a recipe")
    if not all(isinstance(base, str) for base in defaults):  # a recipe among them is there to win
        return
    composed = leaves(OmegaConf.to_container(_hydra_compose(file, [])))
    for key, value in leaves(OmegaConf.to_container(own)).items():
        if composed.get(key) != value and not key.startswith("hydra."):
            raise LaunchError(
                f"{file}: its {key} is lost, since a base in its defaults also has one; say it in a recipe"
            )


def leaves(node: Any, path: str = "") -> dict[str, Any]:
    """The values of nested tables by their keys, as `section.key`."""
    if not isinstance(node, dict):
        return {path[1:]: node}
    return {leaf: value for key, child in node.items() for leaf, value in leaves(child, f"{path}.{key}").items()}


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


def one_line(error: Exception) -> str:
    """The message of an error of hydra or omegaconf."""
    return " ".join(str(error).partition("Config search path:")[0].split())


def search_path(file: Path) -> list[str]:
    """The override that lets a yaml elsewhere use this project's bases, recipes, sizes; none for one of its own."""
    if file.parent == CONFIG_FOLDER:
        return []
    return [f"hydra.searchpath=[{quoted(f'file://{CONFIG_FOLDER}')}]"]
