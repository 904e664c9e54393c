"""Reading the yaml of a grid: each name once, known keys alone, and what it is based on."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from ..composing import CONFIG_FOLDER
from ..settings import LaunchError

GRID_FOLDER = CONFIG_FOLDER / "ablation"


class GridError(LaunchError):
    """Something in a grid cannot be meant; the message is one line and names file and key."""

    def __init__(self, file: Path, key: str, reason: str):
        super().__init__(": ".join(part for part in (str(file), key, " ".join(reason.split())) if part))


def find_grid(name: str) -> Path:
    """The yaml that a name in config/ablation, or a path, stands for.

    Raises:
        LaunchError: there is none; the message lists the ready ones.
    """
    ready = {file.stem: file for file in sorted(GRID_FOLDER.glob("*.yaml"))}
    if name in ready:
        return ready[name]
    file = Path.cwd() / name
    if ("/" in name or name.endswith(".yaml")) and file.is_file():
        return file
    close = difflib.get_close_matches(name.lower(), {known.lower(): known for known in ready}, 1, 0.6)
    hint = next((f" (did you mean {known}?)" for known in ready if known.lower() in close), "")
    raise LaunchError(f"there is no grid {name}{hint}; expected a yaml's path, or one of {', '.join(ready)}")


def read_grid_file(file: Path, above: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The content of a grid; what it says itself wins over its `base`, setting by setting.

    Raises:
        GridError: it is no table, a key stands there twice, its base does not exist or leads back to it.
    """
    try:
        content = yaml.load(file.read_text(encoding="utf-8"), _EachKeyOnce)
    except _DuplicateKeyError as error:
        raise GridError(file, error.key, f"stands there twice; the second is in line {error.line}") from error
    except (OSError, ValueError, TypeError, RecursionError, yaml.YAMLError) as error:
        raise GridError(file, "", " ".join(str(error).split())) from error
    if not isinstance(content, dict):
        raise GridError(file, "", "expected seeds, reference, settings, tasks, ...")
    base, without = content.pop("base", None), content.pop("without", None)
    if base is None:
        if without is not None:
            raise GridError(file, "without", "is about settings of a base, and there is none")
        return content
    beside = file.parent / f"{base}.yaml"
    other = beside if beside.is_file() else GRID_FOLDER / f"{base}.yaml"
    if not isinstance(base, str) or not other.is_file() or other in (file, *above):
        raise GridError(file, "base", f"{base}: expected the name of another grid, beside it or in config/ablation")
    below = read_grid_file(other, (file, *above))
    settings = dict(below.get("settings") or {})
    for name in [] if without is None else without if isinstance(without, list) else [without]:
        if name not in settings:
            raise GridError(
                file, "without", f"{name} is no setting of {base}; expected a list of {', '.join(settings)}"
            )
        del settings[name]
    own = content.get("settings") or {}
    if isinstance(own, dict):  # what else it is, is refused with the rest
        content["settings"] = {**settings, **own}
    return {**below, **content}


def require_keys(file: Path, where: str, content: Any, known: tuple[str, ...]) -> Mapping[str, Any]:
    """The table, if it has no other keys; what is left empty is an empty one.

    Raises:
        GridError: it is none, or has others.
    """
    content = {} if content is None else content
    if not isinstance(content, dict):
        raise GridError(file, where, f"{content}: expected a table of {', '.join(known)}")
    for key in content:
        if key not in known:
            close = difflib.get_close_matches(str(key), known, 1, 0.6)
            hint = f" (did you mean {close[0]}?)" if close else ""
            raise GridError(file, f"{where}.{key}".lstrip("."), f"unknown key{hint}; known are {', '.join(known)}")
    return content


class _DuplicateKeyError(Exception):
    def __init__(self, key: str, line: int):
        super().__init__(key)
        self.key, self.line = key, line


class _EachKeyOnce(yaml.SafeLoader):
    """yaml keeps the last of two equal keys and says nothing: of two settings with one name the first would be gone."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise _DuplicateKeyError(str(key), key_node.start_mark.line + 1)
            seen.add(key)
        return super().construct_mapping(node, deep)
