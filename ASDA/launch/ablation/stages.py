"""What each setting of a grid composes to, stage by stage: checked before anything runs, kept beside what ran."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ...training.file_names import RECORD_SECTIONS
from ...training.run_differences import differences, is_free
from ..arguments import Arguments
from ..inputs import is_labelled
from ..recipe import Recipe, find_config
from ..settings import LaunchError
from .grid import Grid, Setting
from .grid_file import GridError

PRETRAINING = "pretraining"
Composed = Mapping[str, Any]
"""Section -> key -> value of a composed yaml; of a probe its settings."""


@dataclass(frozen=True)
class ComposedSetting:
    """A setting with what its stages compose to.

    Attributes:
        setting: as the grid has it.
        recipe: of its pre-training.
        stages: name of a stage -> what it composes to.
    """

    setting: Setting
    recipe: Recipe
    stages: dict[str, Composed]


def probe_stage(task: str) -> str:
    return f"{task} probe"


def finetuning_stage(task: str) -> str:
    return f"{task} finetuning"


def compose_grid(grid: Grid, check: Callable[[Any], None] = lambda config: None) -> list[ComposedSetting]:
    """Composes all stages of all settings.

    Args:
        grid: the ablation.
        check: further checks of a composed yaml, which raise ValueError.

    Raises:
        GridError: one does not compose, is of the wrong kind, or two settings are the same; with file and key.
    """
    known: dict[tuple[str, ...], Recipe] = {}  # hydra takes half a second for each
    composed = [_compose_setting(grid, setting, check, known) for setting in grid.settings]
    for number, later in enumerate(composed):
        for earlier in composed[:number]:
            _require_different(grid, earlier, later)
    return composed


def changed(then: Composed, now: Composed, same_words: bool = False) -> list[str]:
    """What of two stages differs in a way that changes results, in words.

    Args:
        then: what one composes to.
        now: what the other composes to.
        same_words: both are of the same words, at two times: a key that one of them lacks was added since.
    """
    if "model" not in then or "model" not in now:
        keys = {**then, **now}
        return [f"{key}: {then.get(key)} then, {now.get(key)} now" for key in keys if then.get(key) != now.get(key)]
    if not same_words:
        then, now = _with_the_keys_of(then, now), _with_the_keys_of(now, then)
    found = differences(dict(then), dict(now))
    return [str(difference) for difference in found if not is_free(difference.key, dict(then), dict(now))]


def _with_the_keys_of(one: Composed, other: Composed) -> Composed:
    """The same with null for the keys that only the other has."""
    sections: dict[str, Any] = {**{name: {} for name in RECORD_SECTIONS}, **one}
    for name, values in other.items():
        if isinstance(values, dict) and isinstance(sections[name], dict):
            sections[name] = {**dict.fromkeys(values), **sections[name]}
    return sections


def _compose_setting(
    grid: Grid, setting: Setting, check: Callable[[Any], None], known: dict[tuple[str, ...], Recipe]
) -> ComposedSetting:
    where = f"settings.{setting.name}"
    recipe = _composed(grid, f"{where}.pretraining", setting.pretraining, False, check, known)
    stages: dict[str, Composed] = {PRETRAINING: _plain(recipe)}
    for task in setting.tasks:
        if task.probe:
            stages[probe_stage(task.name)] = {"pooling": task.probe}
        if task.finetuning:
            key = f"{where}.finetuning ({task.name})"
            stages[finetuning_stage(task.name)] = _plain(_composed(grid, key, task.finetuning, True, check, known))
    return ComposedSetting(setting, recipe, stages)


def _composed(
    grid: Grid,
    key: str,
    words: tuple[str, ...],
    labelled: bool,
    check: Callable[[Any], None],
    known: dict[tuple[str, ...], Recipe],
) -> Recipe:
    if words in known:
        return known[words]
    try:
        recipe = Recipe(find_config(words[0]), Arguments.parse(list(words[1:])))
        if is_labelled(recipe) != labelled:
            raise LaunchError(f"{words[0]} is not for {'fine-tuning' if labelled else 'pre-training'}")
        check(recipe.config)
    except ValueError as error:
        raise GridError(grid.file, key, str(error)) from error
    known[words] = recipe
    return recipe


def _plain(recipe: Recipe) -> Composed:
    """The composed yaml as plain values, with nothing in the places of the paths that each run has its own of."""
    from omegaconf import OmegaConf

    config: Any = OmegaConf.create(OmegaConf.to_container(recipe.config, resolve=False))
    for section in RECORD_SECTIONS:
        for key in list(config.get(section) or {}) if OmegaConf.is_dict(config.get(section)) else []:
            if OmegaConf.is_missing(config[section], key):
                config[section][key] = ""
    plain: Any = OmegaConf.to_container(config, resolve=True)
    return {name: plain[name] for name in RECORD_SECTIONS if name in plain}


def _require_different(grid: Grid, earlier: ComposedSetting, later: ComposedSetting) -> None:
    names = f"{earlier.setting.name} and {later.setting.name}"
    if not any(changed(earlier.stages[stage], later.stages[stage]) for stage in earlier.stages):
        raise GridError(grid.file, f"settings.{later.setting.name}", f"{names} differ in nothing that changes a result")
    trainers = [grid.trainer_of(one.setting) for one in (earlier, later)]
    same = not changed(earlier.stages[PRETRAINING], later.stages[PRETRAINING])
    if same and trainers[0] != trainers[1]:
        raise GridError(
            grid.file,
            f"settings.{later.setting.name}",
            f"{names} pre-train alike; pretraining_of: {trainers[0].name} does it once",
        )
