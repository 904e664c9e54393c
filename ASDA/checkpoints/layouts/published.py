"""A `.pt` file as ASDA's and EAT's own programs write and read it.

The tensors have the same names as in this project's files. What differs is the config: published files name EAT's
classes and record neither the attention kind nor its constants, and they do not say how many updates went into the
teacher.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from ...core.config import EncoderConfig
from ..checkpoint import Checkpoint
from ..contents import Contents
from ..files import CheckpointError, save_torch_file
from . import project
from .published_architecture import PUBLISHED_ARCHITECTURE, UnknownLayoutError, keys_of_config
from .published_names import PUBLISHED_MODELS, PUBLISHED_TASKS, TEACHER_KEY, TEACHER_UPDATES_KEY

EXPECTED = f"a file whose cfg.model._name is {' or '.join(PUBLISHED_MODELS.values())}"

# Published files of differential models state the first ratio for the MLP where the second is built.
_STATED_MLP_RATIO, _BUILT_MLP_RATIO = 4.0, 3.5
# Where a file in the published layout keeps this project's count: the task's state, which EAT's programs do not read.
_TEACHER_UPDATES_RECORD = "teacher_num_updates"
_OPTIMISER_GROUP = "no_decay_group"
_PUBLISHED_OPTIMISER_GROUP = ""


def knows(contents: Contents) -> bool:
    """Whether the config names EAT's classes."""
    return contents.model_name in PUBLISHED_MODELS.values()


def read(contents: Contents) -> Checkpoint:
    """What such a file holds.

    Raises:
        CheckpointError: its tensors or its configuration are not those of ASDA or EAT.
    """
    checkpoint = project.describe(contents.path, contents.state)
    checkpoint.layout = "published"
    return checkpoint


def training_state(contents: Contents) -> dict[str, Any]:
    """The same checkpoint of fairseq's trainer in this project's spelling.

    The config then states what was implied, and the task's state the front end. Tensors, optimiser state and progress
    of training are taken over untouched.

    Raises:
        CheckpointError: the layout is not known.
    """
    state = contents.state
    checkpoint = read(contents)
    cfg = copy.deepcopy(state["cfg"])
    _rename(cfg, {v: k for k, v in PUBLISHED_MODELS.items()}, {v: k for k, v in PUBLISHED_TASKS.items()})
    pretraining = project.pretraining_model_config(cfg)
    stated = keys_of_config(checkpoint.encoder_config)
    pretraining.update({name: stated[name] for name in (*PUBLISHED_ARCHITECTURE, "mlp_ratio")})
    cfg["model"]["encoder"] = checkpoint.encoder_config.to_dict()
    for model in (pretraining, cfg["model"]):
        model.setdefault(_OPTIMISER_GROUP, _PUBLISHED_OPTIMISER_GROUP)

    task_state = {**(state.get("task_state") or {}), "front_end": checkpoint.front_end.to_dict()}
    if checkpoint.head:
        task_state |= {"label_names": checkpoint.label_names, "multi_label": checkpoint.multi_label}
    model = dict(state["model"])
    if TEACHER_KEY in model:
        due = max((checkpoint.num_updates or 0) - 1, 0)
        model[TEACHER_UPDATES_KEY] = torch.tensor(task_state.pop(_TEACHER_UPDATES_RECORD, due))
    return {**state, "cfg": cfg, "model": model, "task_state": task_state}


def write(target: Path, state: dict[str, Any]) -> dict[str, Any]:
    """Writes a checkpoint in this project's spelling in the published one.

    Returns:
        What of its architecture the published programs do not know: they compute with their own constants whatever the
        file says, while this project reads the keys.

    Raises:
        CheckpointError: the layout is not known, or knows no such encoder.
    """
    published, kept = to_published(state, target)
    save_torch_file(published, target)
    return kept


def to_published(state: dict[str, Any], path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """A checkpoint in this project's spelling in the published one, and what :func:`write` returns.

    Args:
        state: a checkpoint of fairseq's trainer in this project's spelling.
        path: its name, for errors.

    Raises:
        CheckpointError: see :func:`write`.
    """
    checkpoint = project.describe(path, state)
    if checkpoint.adapters:
        raise CheckpointError(f"{path}: the published programs know no adapters; write a directory or --to project")
    if not _has_eats_frame(checkpoint.encoder_config):
        raise CheckpointError(
            f"{path}: the published layout has no keys for an encoder like {checkpoint.encoder_config}"
        )
    cfg = copy.deepcopy(state["cfg"])
    try:
        pretraining = project.pretraining_model_config(cfg)
    except UnknownLayoutError as error:
        raise CheckpointError(f"{path}: {error}") from error
    stated = keys_of_config(checkpoint.encoder_config)
    pretraining.update({name: stated[name] for name in (*PUBLISHED_ARCHITECTURE, "mlp_ratio")})
    kept = {
        name: pretraining[name]
        for name, implied in PUBLISHED_ARCHITECTURE.items()
        if name != "attention" and pretraining.get(name, implied) != implied
    }
    if pretraining["attention"] == "differential" and pretraining["mlp_ratio"] == _BUILT_MLP_RATIO:
        pretraining["mlp_ratio"] = _STATED_MLP_RATIO
    for name in PUBLISHED_ARCHITECTURE:
        if name not in kept:
            pretraining.pop(name, None)
    for model in (pretraining, cfg["model"]):
        model.pop("encoder", None)
        if model.get(_OPTIMISER_GROUP) == _PUBLISHED_OPTIMISER_GROUP:
            del model[_OPTIMISER_GROUP]
    _rename(cfg, PUBLISHED_MODELS, PUBLISHED_TASKS)

    model, task_state = dict(state["model"]), dict(state.get("task_state") or {})
    if TEACHER_UPDATES_KEY in model:
        task_state[_TEACHER_UPDATES_RECORD] = int(model.pop(TEACHER_UPDATES_KEY))
    return {**state, "cfg": cfg, "model": model, "task_state": task_state}, kept


def _has_eats_frame(config: EncoderConfig) -> bool:
    """Whether everything of an architecture but its attention and its positions is as in EAT."""
    stack, (frames, bins) = config.stack, config.patches.size
    frame = (stack.norm, stack.norm_first, stack.norm_last, config.num_prefix_tokens, config.patches.overlap)
    return frame == ("post", True, False, 1, False) and frames == bins


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
