"""Sizes of the network, config/size: numbers for the keys of one kind of model, used with any of its recipes.

A size in the folder itself is ASDA's. A model with other keys has its sizes in a folder of its own there, named after
its `_name` (config/size/NAME/small.yaml).
"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

from .composing import CONFIG_FOLDER, leaves
from .settings import LaunchError


def size_files(file: Path, model: str) -> dict[str, Path]:
    """The sizes for a model, by name: those beside a yaml, and this project's; none for a network from a checkpoint.

    Args:
        file: the yaml.
        model: its `model._name`.
    """
    folders = dict.fromkeys((CONFIG_FOLDER / "size", file.parent / "size"))
    of_model = [folder / model for folder in folders if model and (folder / model).is_dir()]
    return {size.stem: size for folder in of_model or folders for size in sorted(folder.glob("*.yaml"))}


def size_group(file: Path, config: Any, name: str) -> str:
    """The override that has hydra take a size.

    Args:
        file: the yaml.
        config: what it and its recipes compose to.
        name: of the size.

    Raises:
        LaunchError: there is no such size, or it states keys that this yaml's model does not have.
    """
    model = str(config["model"].get("_name") or "") if "model" in config else ""
    if "model" in config and "model_path" in config["model"].keys():
        raise LaunchError(
            f"+size={name}: what is fine-tuned has the size of its checkpoint; give +size to the pre-training"
        )
    known = size_files(file, model)
    if name not in known:
        close = difflib.get_close_matches(name.lower(), known, 1, 0.6)
        hint = f" (did you mean {close[0]}?)" if close else ""
        raise LaunchError(f"there is no size {name}{hint}; those of config/size are {', '.join(by_size(known))}")
    foreign = foreign_keys(config, known[name])
    if foreign:
        raise LaunchError(
            f"+size={name}: {file.name} has no {foreign[0]}; sizes for its model belong into config/size/{model}/"
        )
    return f"+size={known[name].relative_to(_group(known[name])).with_suffix('')}"


def by_size(files: dict[str, Path]) -> list[str]:
    """The names from the smallest to the largest."""
    from omegaconf import OmegaConf

    def numbers(name: str) -> list[float]:
        values = leaves(OmegaConf.to_container(OmegaConf.load(files[name]))).values()
        return sorted((value for value in values if isinstance(value, (int, float))), reverse=True)

    return sorted(files, key=numbers)


def _group(size: Path) -> Path:
    return next(folder for folder in size.parents if folder.name == "size")


def foreign_keys(config: Any, size: Path) -> list[str]:
    """The keys of a size that a configuration does not have."""
    from omegaconf import OmegaConf

    present = leaves(OmegaConf.to_container(config, resolve=False))
    return [key for key in leaves(OmegaConf.to_container(OmegaConf.load(size), resolve=False)) if key not in present]
