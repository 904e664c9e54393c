"""Which folders a run takes its clips from, and how often from each: `task.data` and `task.data_weights`."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any


class FoldersError(ValueError):
    """Folders or weights that cannot be meant; the message names them and fits one line."""


def data_folders(data: str | os.PathLike | Sequence[str]) -> tuple[str, ...]:
    """The folders that `task.data` names; none for an empty one.

    Args:
        data: one folder; several as a list, or as in PATH, `/a:/b`. A text that names an existing folder, or that has
            brackets around it as a list on a command line, is taken for that.

    Raises:
        FoldersError: an empty name, the same folder twice, or one of several that has the separator in its name.
    """
    folders = _split(data)
    if len(folders) < 2:
        return folders
    seen: dict[str, str] = {}
    for folder in folders:
        if os.pathsep in folder:
            raise FoldersError(
                f'task.data: the name of {folder} holds "{os.pathsep}", which stands between several folders; give it '
                "another name, or a link with one"
            )
        place = os.path.realpath(folder)
        if place in seen:
            same = "twice" if seen[place] == folder else f"and {seen[place]}, which is the same folder"
            raise FoldersError(
                f"task.data names {folder} {same}; name each once: task.data_weights says how often its clips are drawn"
            )
        seen[place] = folder
    return folders


def joined(folders: Sequence[str | os.PathLike]) -> str:
    """The folders as one text, which `data_folders` reads."""
    return os.pathsep.join(map(str, folders))


def data_shares(weights: Any, folders: Sequence[str]) -> tuple[float, ...] | None:
    """The share of the drawn clips that each folder has by `task.data_weights`; None for no weights.

    Raises:
        FoldersError: not a number above 0 for each of several folders.
    """
    if weights is None:
        return None
    if isinstance(weights, (str, int, float)) or not isinstance(weights, Sequence):
        raise FoldersError(f"task.data_weights={weights}: expected a list, as in task.data_weights=[1,2]")
    shown = f"task.data_weights=[{','.join(map(str, weights))}]"
    if len(folders) < 2:
        raise FoldersError(f"{shown}: weights are for several folders, and task.data names {len(folders)}")
    if len(weights) != len(folders):
        raise FoldersError(
            f"{shown} has {len(weights)} weights, but task.data names {len(folders)} folders ({', '.join(folders)}); "
            "give each folder one, in their order"
        )
    for weight, folder in zip(weights, folders, strict=True):
        number = isinstance(weight, (int, float)) and not isinstance(weight, bool)
        if not number or not 0 < weight < math.inf:
            raise FoldersError(
                f"{shown}: the weight of {folder} is {weight}; expected a number above 0 (a folder that is not to be "
                "heard is left out of task.data)"
            )
    total = math.fsum(weights) if all(weight < 1e300 for weight in weights) else math.inf
    if not math.isfinite(total):
        raise FoldersError(f"{shown}: these are too large to be added; only their ratios count")
    return tuple(weight / total for weight in weights)


def folder_names(folders: Sequence[str | os.PathLike]) -> tuple[str, ...]:
    """Short names for the log: of each path as many last parts as tell all of them apart."""
    parts = [PurePath(os.path.abspath(folder)).parts for folder in folders]
    most = max(map(len, parts), default=0)
    for number in range(1, most + 1):
        names = tuple("/".join(path[-number:]).lstrip("/") for path in parts)
        if len(set(names)) == len(names):
            return names
    return tuple(map(str, folders))


def _split(data: str | os.PathLike | Sequence[str]) -> tuple[str, ...]:
    if isinstance(data, os.PathLike):
        return (os.fspath(data),)
    if isinstance(data, str):
        if not data:
            return ()
        if data.startswith("[") and data.endswith("]"):
            given = [name.strip(" '\"") for name in data[1:-1].split(",")]
        elif os.pathsep not in data or os.path.isdir(data):
            return (data,)
        else:
            given = data.split(os.pathsep)
    else:
        given = [str(folder) for folder in data]
    if not all(given):
        raise FoldersError(f"task.data={data}: a folder between its separators has no name")
    return tuple(given)
