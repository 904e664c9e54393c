"""The mean of several checkpoints of one run, as one checkpoint."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .adapters import BASE_KEY

_NUMBERED = re.compile(r"checkpoint(?:_\d+_(?P<update>\d+)|(?P<epoch>\d+))\.pt")


class AveragingError(ValueError):
    """The checkpoints cannot be averaged."""


def last_checkpoints(folder: Path, count: int) -> list[Path]:
    """The last ``count`` checkpoints of a run, oldest first: those written at intervals, else those of epochs.

    Raises:
        AveragingError: there are fewer.
    """
    matches = [m for m in (_NUMBERED.fullmatch(file.name) for file in folder.glob("checkpoint*.pt")) if m]
    by_update = sorted((int(m["update"]), m.string) for m in matches if m["update"])
    by_epoch = sorted((int(m["epoch"]), m.string) for m in matches if m["epoch"])
    numbered = by_update if len(by_update) >= len(by_epoch) else by_epoch
    if count < 1 or len(numbered) < count:
        raise AveragingError(
            f"{folder} holds {len(numbered)} numbered checkpoints, {count} are to be averaged; "
            "checkpoint.save_interval_updates and checkpoint.keep_interval_updates set how many a run keeps"
        )
    return [folder / name for _, name in numbered[-count:]]


def average_checkpoints(files: Sequence[Path], read: Callable[[Path], Any]) -> dict:
    """The mean of the models (teachers included); everything else is the last file's.

    The sums are made in float64, with one file in memory at a time. The optimiser's state fits no mean and is left out.

    Args:
        files: checkpoints of one run.
        read: opens one of them.

    Raises:
        AveragingError: no files, one that is no training checkpoint, or models that differ in names or shapes.
    """
    if not files:
        raise AveragingError("no checkpoints to average")
    state: dict[str, Any] = {}
    total: dict[str, Any] = {}
    for file in files:
        state = read(file)
        if not isinstance(state, dict) or not isinstance(state.get("model"), dict):
            raise AveragingError(f"{file} is not a training checkpoint: it has no model")
        model = state["model"]
        total = _add(total, model, file) if total else _map(lambda t: t.double() if t.is_floating_point() else t, model)
    mean = _finish(total, state["model"], len(files))
    extra = {k: v for k, v in state["extra_state"].items() if not isinstance(v, dict) or "master_weights" not in v}
    extra["averaged_checkpoints"] = [file.name for file in files]
    return {**state, "model": mean, "last_optimizer_state": None, "extra_state": extra}


def _map(function: Callable, state: dict) -> dict:
    return {k: _map(function, v) if isinstance(v, dict) else function(v) for k, v in state.items()}


def _add(total: dict, model: dict, file: Path) -> dict:
    if total.keys() != model.keys():
        names = ", ".join(sorted(total.keys() ^ model.keys())[:5])
        raise AveragingError(f"the model in {file} has other tensors than those before it: {names}")
    result = {}
    for name, value in model.items():
        if isinstance(value, dict):
            result[name] = _add(total[name], value, file)
        elif value.shape != total[name].shape:
            raise AveragingError(
                f"{name} has shape {tuple(value.shape)} in {file}, {tuple(total[name].shape)} in those before it"
            )
        elif name == BASE_KEY and not value.equal(total[name]):
            raise AveragingError(f"{file} holds adapters of another encoder than those before it")
        else:
            result[name] = total[name] + value if value.is_floating_point() else value
    return result


def _finish(total: dict, like: dict, count: int) -> dict:
    return {
        name: _finish(value, like[name], count)
        if isinstance(value, dict)
        else (value / count).to(like[name].dtype)
        if value.is_floating_point()
        else value
        for name, value in total.items()
    }
