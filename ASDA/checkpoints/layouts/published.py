"""The same fairseq checkpoint in the published layout and in this project's.

The tensors have the same names in both. What differs is the config: published files name EAT's classes and record
neither the attention kind nor its constants, and they do not say how many updates went into the teacher.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from .project import describe_state, pretraining_model_config
from .published_architecture import PUBLISHED_ARCHITECTURE, recorded_architecture
from .published_names import PUBLISHED_MODELS, PUBLISHED_TASKS, TEACHER_KEY, TEACHER_UPDATES_KEY, split_published

# Published files of differential models state the first ratio for the MLP where the second is built.
_STATED_MLP_RATIO, _BUILT_MLP_RATIO = 4.0, 3.5
# Where a file in the published layout keeps this project's count: the task's state, which EAT's programs do not read.
_TEACHER_UPDATES_RECORD = "teacher_num_updates"
_OPTIMISER_GROUP = "no_decay_group"
_PUBLISHED_OPTIMISER_GROUP = ""


def is_published(state: dict[str, Any]) -> bool:
    """Whether the config names EAT's classes."""
    return state["cfg"]["model"].get("_name") in PUBLISHED_MODELS.values()


def to_project(state: dict[str, Any], path: Path) -> dict[str, Any]:
    """A published checkpoint in this project's layout; one of this project is returned as it is.

    The config then states what was implied, and the task's state the front end. Tensors, optimiser state and progress
    of training are taken over untouched.

    Args:
        state: a fairseq checkpoint.
        path: its name, for errors.

    Raises:
        CheckpointError: the layout is not known.
    """
    checkpoint = describe_state(path, state)
    if not is_published(state):
        return state
    cfg = copy.deepcopy(state["cfg"])
    _rename(cfg, {v: k for k, v in PUBLISHED_MODELS.items()}, {v: k for k, v in PUBLISHED_TASKS.items()})
    pretraining = pretraining_model_config(cfg)
    architecture = recorded_architecture(pretraining, split_published(state["model"])["student"])
    pretraining.update({name: architecture[name] for name in (*PUBLISHED_ARCHITECTURE, "mlp_ratio")})
    for model in (pretraining, cfg["model"]):
        model.setdefault(_OPTIMISER_GROUP, _PUBLISHED_OPTIMISER_GROUP)

    task_state = {**(state.get("task_state") or {}), "front_end": checkpoint.front_end.to_dict()}
    if checkpoint.head:
        task_state |= {"label_names": checkpoint.label_names, "multi_label": checkpoint.multi_label}
    model = dict(state["model"])
    if TEACHER_KEY in model:
        due = max((state.get("optimizer_history") or [{}])[-1].get("num_updates", 0) - 1, 0)
        model[TEACHER_UPDATES_KEY] = torch.tensor(task_state.pop(_TEACHER_UPDATES_RECORD, due))
    return {**state, "cfg": cfg, "model": model, "task_state": task_state}


def to_published(state: dict[str, Any], path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """A checkpoint of this project in the published layout; a published one is returned as it is.

    Args:
        state: a fairseq checkpoint.
        path: its name, for errors.

    Returns:
        The checkpoint, and what of its architecture the published programs do not know: they compute with their own
        constants whatever the file says, while this project reads the keys.

    Raises:
        CheckpointError: the layout is not known.
    """
    describe_state(path, state)
    if is_published(state):
        return state, {}
    cfg = copy.deepcopy(state["cfg"])
    pretraining = pretraining_model_config(cfg)
    kept = {
        name: pretraining[name]
        for name, implied in PUBLISHED_ARCHITECTURE.items()
        if name != "attention" and pretraining.get(name, implied) != implied
    }
    if pretraining.get("attention") == "differential" and pretraining.get("mlp_ratio") == _BUILT_MLP_RATIO:
        pretraining["mlp_ratio"] = _STATED_MLP_RATIO
    for name in PUBLISHED_ARCHITECTURE:
        if name not in kept:
            pretraining.pop(name, None)
    for model in (pretraining, cfg["model"]):
        if model.get(_OPTIMISER_GROUP) == _PUBLISHED_OPTIMISER_GROUP:
            del model[_OPTIMISER_GROUP]
    _rename(cfg, PUBLISHED_MODELS, PUBLISHED_TASKS)

    model, task_state = dict(state["model"]), dict(state.get("task_state") or {})
    if TEACHER_UPDATES_KEY in model:
        task_state[_TEACHER_UPDATES_RECORD] = int(model.pop(TEACHER_UPDATES_KEY))
    return {**state, "cfg": cfg, "model": model, "task_state": task_state}, kept


def _rename(cfg: dict[str, Any], models: dict[str, str], tasks: dict[str, str]) -> None:
    """Changes the names of the registered classes, in place."""
    for whole in _configs(cfg):
        for part, names in (("model", models), ("task", tasks)):
            section = whole.get(part) or {}
            if section.get("_name") in names:
                section["_name"] = names[section["_name"]]


def _configs(cfg: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A fairseq config and, in a fine-tuned checkpoint, that of the pre-trained one."""
    yield cfg
    nested = (cfg.get("model") or {}).get("pretrained_model_args")
    if nested:
        yield from _configs(nested)
