"""An ablation as a yaml says it: settings, seeds, what each pre-trains with, and the tasks that judge it.

seeds: [1, 2, 3]
reference: lambda_0.3
pretraining: pretraining_AS2M demo_pretraining     # what asda-train gets
tasks:
  events: {probe: mean, finetuning: finetuning demo_finetuning}
settings:
  lambda_0.3: {}
  lambda_0: {pretraining: model.diff_lambda=0}
  mean: {pretraining_of: lambda_0.3, finetuning: model.prediction_mode=MEAN_POOLING}
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...core.classifier import POOLINGS
from ...data.folders import FoldersError, data_folders, joined
from ..settings import LaunchError
from .grid_file import GridError, read_grid_file, require_keys
from .words import is_config, joined_words, split_words

_NAME = re.compile(r"[A-Za-z0-9][\w.+-]*")
_KEYS = ("data", "equal_gflop", "pretraining", "reference", "seeds", "settings", "tasks")
_KEYS_OF_TASK = ("data", "finetuning", "probe")
_KEYS_OF_SETTING = ("finetuning", "pretraining", "pretraining_of", "probe")


@dataclass(frozen=True)
class Task:
    """What a pre-trained encoder is judged by.

    Attributes:
        name: of its results.
        data: folder with manifests and labels; empty: the pre-training's.
        probe: pooling of a linear probe of the frozen encoder; empty: none.
        finetuning: what asda-train gets to fine-tune; empty: nothing is fine-tuned.
    """

    name: str
    data: str
    probe: str
    finetuning: tuple[str, ...]


@dataclass(frozen=True)
class Setting:
    """One of the things that are compared.

    Attributes:
        name: of its folder and its row in the table.
        pretraining: what asda-train gets: yaml, recipes, overrides.
        pretraining_of: the setting whose pre-trained encoders this one takes; empty: it pre-trains its own.
        tasks: that judge it.
        changes: its own words for the pre-training.
        own: what the grid says of it, in words.
    """

    name: str
    pretraining: tuple[str, ...]
    pretraining_of: str
    tasks: tuple[Task, ...]
    changes: tuple[str, ...]
    own: str

    def pretraining_with(self, words: tuple[str, ...]) -> Setting:
        """The same with further words for the pre-training."""
        return replace(self, pretraining=joined_words(self.pretraining, words))


@dataclass(frozen=True)
class Grid:
    """An ablation.

    Attributes:
        file: where it stands.
        seeds: of the runs of each setting; the same for all, so that they can be compared seed by seed.
        reference: the setting that the others are compared with.
        settings: in their order.
        data: what is pre-trained on; empty: not said yet.
        equal_gflop: whether each setting gets as much counted arithmetic in pre-training as the reference.
    """

    file: Path
    seeds: tuple[int, ...]
    reference: str
    settings: tuple[Setting, ...]
    data: str
    equal_gflop: bool

    @property
    def name(self) -> str:
        return self.file.stem

    @property
    def tasks(self) -> tuple[str, ...]:
        return tuple(task.name for task in self.settings[0].tasks)

    def setting(self, name: str) -> Setting:
        return next(setting for setting in self.settings if setting.name == name)

    def trainer_of(self, setting: Setting) -> Setting:
        """The setting that pre-trains the encoders of this one."""
        return self.setting(setting.pretraining_of) if setting.pretraining_of else setting

    @classmethod
    def read(cls, file: Path, data: Mapping[str, str] | None = None) -> Grid:
        """Reads a grid and those that it is based on.

        Args:
            file: the yaml.
            data: folders that win over those of the yaml: of a task by its name, of the pre-training by "".

        Raises:
            GridError: something in it cannot be meant; the message names file and key.
        """
        content = read_grid_file(file)
        require_keys(file, "", content, _KEYS)
        given = dict(data or {})
        tasks = _tasks(file, content.get("tasks"), given)
        unknown = sorted(given.keys() - {"", *(task.name for task in tasks)})
        if unknown:
            raise GridError(file, "tasks", f"there is no task {unknown[0]}, for which --data names a folder")
        pretraining = _words(file, "pretraining", content.get("pretraining", ""))
        settings = _settings(file, content.get("settings"), pretraining, tasks)
        names = [setting.name for setting in settings]
        reference = content.get("reference")
        if reference not in names:
            raise GridError(file, "reference", f"{reference} is no setting; expected one of {', '.join(names)}")
        return cls(
            file=file,
            seeds=_seeds(file, content.get("seeds")),
            reference=reference,
            settings=settings,
            data=_absolute(file, "data", given.get("") or content.get("data") or ""),
            equal_gflop=_switch(file, "equal_gflop", content.get("equal_gflop", False)),
        )


def _seeds(file: Path, value: Any) -> tuple[int, ...]:
    whole = isinstance(value, list) and all(isinstance(s, int) and not isinstance(s, bool) and s >= 0 for s in value)
    if not whole or not value:
        raise GridError(file, "seeds", f"{value}: expected a list of whole numbers, as [1, 2, 3]")
    if len(set(value)) < len(value):
        raise GridError(file, "seeds", f"{value}: a seed stands there twice")
    return tuple(value)


def _tasks(file: Path, value: Any, data: Mapping[str, str]) -> tuple[Task, ...]:
    tasks = []
    for name, content in _named(file, "tasks", value).items():
        where = f"tasks.{name}"
        content = require_keys(file, where, content, _KEYS_OF_TASK)
        words = _words(file, f"{where}.finetuning", content.get("finetuning", ""))
        if words:
            _require_config(file, f"{where}.finetuning", words)
        probe = _probe(file, f"{where}.probe", content.get("probe"))
        if not words and not probe:
            raise GridError(file, where, "expected probe, finetuning or both")
        folder = _absolute(file, f"{where}.data", data.get(name) or content.get("data") or "")
        tasks.append(Task(name, folder, probe, joined_words(words[:1], words[1:])))
    return tuple(tasks)


def _settings(file: Path, value: Any, pretraining: tuple[str, ...], tasks: tuple[Task, ...]) -> tuple[Setting, ...]:
    contents = {
        name: require_keys(file, f"settings.{name}", content, _KEYS_OF_SETTING)
        for name, content in _named(file, "settings", value).items()
    }
    found: dict[str, Setting] = {}
    for name, content in contents.items():
        where = f"settings.{name}"
        other = content.get("pretraining_of") or ""
        if other and (other not in contents or other == name or contents[other].get("pretraining_of")):
            raise GridError(file, f"{where}.pretraining_of", f"{other} is no other setting that pre-trains by itself")
        if other and content.get("pretraining"):
            raise GridError(file, where, "has both pretraining and pretraining_of; expected one of them")
        source = contents[other] if other else content
        own = _words(file, f"{where}.pretraining", source.get("pretraining", ""))
        words = joined_words(pretraining, own)
        _require_config(file, f"{where}.pretraining" if own or other else "pretraining", words)
        judged = tuple(_changed(file, where, content, task) for task in tasks)
        found[name] = Setting(name, words, other, judged, own, _in_words(content))
    return tuple(found.values())


def _changed(file: Path, where: str, content: Mapping[str, Any], task: Task) -> Task:
    """A task as a setting wants it."""
    words = _words(file, f"{where}.finetuning", content.get("finetuning", ""))
    pooling = _probe(file, f"{where}.probe", content.get("probe"))
    if words and not task.finetuning:
        raise GridError(file, f"{where}.finetuning", f"the task {task.name} fine-tunes nothing")
    if pooling and not task.probe:
        raise GridError(file, f"{where}.probe", f"the task {task.name} has no probe")
    finetuning = joined_words(task.finetuning, words) if words else task.finetuning
    return replace(task, finetuning=finetuning, probe=pooling or task.probe)


def _in_words(content: Mapping[str, Any]) -> str:
    own = [str(content[key]).strip() for key in ("pretraining", "finetuning") if content.get(key)]
    named = [f"{key}: {content[key]}" for key in ("pretraining_of", "probe") if content.get(key)]
    return "; ".join([*own, *named])


def _named(file: Path, key: str, value: Any) -> dict[str, Any]:
    """A table whose keys are names of folders."""
    if not isinstance(value, dict) or not value:
        raise GridError(file, key, f"{value}: expected at least one name with what is said of it")
    seen: dict[str, str] = {}
    for name in value:
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise GridError(file, key, f"{name}: a name is made of letters, digits and . _ + -")
        if name.lower() in seen:  # folders of some file systems do not tell them apart
            raise GridError(file, key, f"{seen[name.lower()]} and {name} differ in case alone")
        seen[name.lower()] = name
    return value


def _words(file: Path, key: str, value: Any) -> tuple[str, ...]:
    text = _text(file, key, value or "")
    try:
        return split_words(text)
    except LaunchError as error:
        raise GridError(file, key, str(error)) from error


def _require_config(file: Path, key: str, words: tuple[str, ...]) -> None:
    if not words or not is_config(words[0]):
        first = words[0] if words else "nothing"
        raise GridError(file, key, f"begins with {first}; expected a yaml of config/, then recipes and key=value")


def _probe(file: Path, key: str, value: Any) -> str:
    if value is not None and value not in POOLINGS:
        raise GridError(file, key, f"{value}: expected one of {', '.join(POOLINGS)}")
    return value or ""


def _absolute(file: Path, key: str, value: Any) -> str:
    """Folders as they are from the current directory, as one text."""
    try:
        return joined([Path.cwd() / folder for folder in data_folders(_text(file, key, value))])
    except FoldersError as error:
        raise GridError(file, key, str(error)) from error


def _text(file: Path, key: str, value: Any) -> str:
    if not isinstance(value, str):
        raise GridError(file, key, f"{value}: expected a text, as one would type it")
    return value


def _switch(file: Path, key: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise GridError(file, key, f"{value}: expected true or false")
    return value
