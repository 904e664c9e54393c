"""As much arithmetic for each setting: so many updates, with its own share of them as warm-up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from ..arguments import split_override
from .grid import Grid
from .grid_file import GridError
from .stages import ComposedSetting

UPDATES = "optimization.max_update"
WARMUP = "optimizer.groups.default.lr_scheduler.warmup_updates"


def equal_updates(updates: int, flops: float, others: Sequence[float]) -> list[int]:
    """How many updates of others take as much as so many of one.

    Args:
        updates: of the one.
        flops: of its update.
        others: FLOPs of an update of each other.
    """
    return [max(1, round(updates * flops / own)) for own in others]


def equalised(grid: Grid, composed: Sequence[ComposedSetting], update_flops: Callable[[Any], float]) -> Grid:
    """The grid with the number of updates that gives each setting the reference's arithmetic.

    Args:
        grid: whose settings say no length themselves; it is the reference's.
        composed: its settings.
        update_flops: of an update of a composed pre-training.

    Raises:
        GridError: a setting says its length, or has none in updates; an update cannot be counted.
    """
    for one in composed:
        _require_length_in_updates(grid, one)
    by_name = {one.setting.name: one for one in composed}
    flops = {}
    for one in composed:
        trainer = grid.trainer_of(one.setting).name
        if trainer not in flops:
            try:
                flops[trainer] = update_flops(by_name[trainer].recipe.config)
            except ValueError as error:
                raise GridError(grid.file, f"settings.{trainer}.pretraining", str(error)) from error
    reference = by_name[grid.trainer_of(grid.setting(grid.reference)).name]
    wanted, most = reference.recipe.get(UPDATES), flops[reference.setting.name]
    settings = []
    for one in composed:
        recipe, own = one.recipe, flops[grid.trainer_of(one.setting).name]
        (updates,) = equal_updates(wanted, most, [own])
        warmup = round(recipe.get(WARMUP, 0) * updates / recipe.get(UPDATES))
        told = f"{updates:,} updates of {own / 1e9:.4g} GFLOP"
        setting = one.setting.pretraining_with((f"{UPDATES}={updates}", f"{WARMUP}={warmup}"))
        settings.append(replace(setting, own="; ".join(part for part in (setting.own, told) if part)))
    return replace(grid, settings=tuple(settings))


def _require_length_in_updates(grid: Grid, one: ComposedSetting) -> None:
    key = f"settings.{one.setting.name}.pretraining"
    if one.recipe.get("task.epochs") is not None:
        raise GridError(grid.file, key, "task.epochs says its length; equal_gflop needs task.epochs=null")
    if any(split_override(word)[1] == UPDATES for word in one.setting.changes) and one.setting.name != grid.reference:
        raise GridError(grid.file, key, f"{UPDATES} is what equal_gflop decides; only the reference may say it")
