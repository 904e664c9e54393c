"""A `.pt` file of MAE-AST, as its own programs write and read it, and as pre-training here writes it.

The normalisation of the input is part of that model: a BatchNorm whose running statistics travel in the file, half of
whose output the encoder sees. In evaluation that is (x - mean) / (2 std), and reading a file makes it the front end's.
Released files do not say what is heard before it; what this project's training writes says so in
``task_state.front_end``, and its architecture in ``cfg.model.encoder``.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...audio.front_end import FrontEnd
from ...core.config import ConfigError, EncoderConfig
from ..checkpoint import Checkpoint
from ..consistency import front_end_of
from ..contents import Contents
from ..files import CheckpointError, save_torch_file
from ..validation import expect_history, expect_key, expect_mapping, expect_shape, expect_tensors, refuse
from .mae_ast_architecture import config_of_keys
from .mae_ast_names import PUBLISHED_MODEL, from_published, to_published

EXPECTED = f"a file whose cfg.model._name is {PUBLISHED_MODEL}"

# What the released program hears before its BatchNorm: Kaldi's log-mel values as they are; mean 0 and twice a standard
# deviation of 0.5 change nothing. Its clips are as long as they are; the length is that of its fine-tuning on AudioSet.
RAW_FRONT_END = FrontEnd(1024, norm_mean=0.0, norm_std=0.5, window="povey", remove_mean=False)
_NORM_EPS = 1e-5  # of the BatchNorm
_RUNNING_MEAN, _RUNNING_VARIANCE = "batch_norm.running_mean", "batch_norm.running_var"
_NO_HISTORY: dict[str, Any] = {
    "args": None,
    "optimizer_history": [
        {"criterion_name": "", "optimizer_name": "", "lr_scheduler_state": {}, "num_updates": 0},
    ],
    "extra_state": {"train_iterator": {"epoch": 1, "iterations_in_epoch": 0}},
    "last_optimizer_state": None,
}
_ENCODER, _NORM = "encoder.", "input_norm."
_TABLE = "enc_sine_pos_embed.pe"


def knows(contents: Contents) -> bool:
    """Whether the config names MAE-AST's class."""
    return contents.model_name == PUBLISHED_MODEL


def read(contents: Contents) -> Checkpoint:
    """What such a file holds.

    Raises:
        CheckpointError: its tensors or its configuration are not those of MAE-AST.
    """
    return describe(contents.path, contents.state)


def training_state(contents: Contents) -> dict[str, Any]:
    """The checkpoint of fairseq's trainer; what a released file leaves unsaid is recorded.

    Some files hold the model and its config alone, which fairseq's own loader does not take: they get a history too.

    Raises:
        CheckpointError: see :func:`read`.
    """
    state, checkpoint = contents.state, read(contents)
    cfg = {**state["cfg"], "model": {**state["cfg"]["model"], "encoder": checkpoint.encoder_config.to_dict()}}
    task_state = state.get("task_state") or {}
    return {**_NO_HISTORY, **state, "cfg": cfg, "task_state": {"front_end": RAW_FRONT_END.to_dict(), **task_state}}


def write_published(target: Path, state: dict[str, Any]) -> dict[str, Any]:
    """Writes a checkpoint of fairseq's trainer without what only this project's have.

    Returns:
        Nothing: all that is written is known there.

    Raises:
        CheckpointError: MAE-AST knows no such encoder.
    """
    cfg = copy.deepcopy(state["cfg"])
    stated = cfg["model"].pop("encoder", None)
    if stated is not None and config_of_keys(_keys(cfg["model"], state["model"])) != EncoderConfig.from_dict(stated):
        raise CheckpointError(f"{target}: MAE-AST's layout has no keys for an encoder like {stated}")
    save_torch_file({**state, "cfg": cfg}, target)
    return {}


def describe(path: Path, state: dict[str, Any]) -> Checkpoint:
    """What a checkpoint of fairseq's trainer holds.

    Raises:
        CheckpointError: it is none of MAE-AST.
    """
    tensors = expect_tensors(path, "model", expect_mapping(path, "model", state["model"]))
    model_cfg = expect_mapping(path, "cfg.model", state["cfg"]["model"])
    try:
        config = config_of_keys(_keys(model_cfg, tensors))
    except (ConfigError, TypeError, ZeroDivisionError) as error:
        raise CheckpointError(f"{path}: cfg.model.{error}") from error
    try:
        native = from_published(tensors, config.patches, config.stack.norm_first)
    except ValueError as error:
        raise CheckpointError(f"{path}: model.{error}") from error
    _require_patches(path, config, tensors)
    encoder = _part(native, _ENCODER)
    if "positions" in encoder:
        table = expect_shape(path, f"model.{_TABLE}", encoder["positions"], (1, None, None))
        encoder["positions"] = table[:, : config.num_prefix_tokens + config.max_rows * config.columns]
    task_state = expect_mapping(path, "task_state", state.get("task_state") or {})
    heard = task_state.get("front_end")
    raw = RAW_FRONT_END if heard is None else front_end_of(path, "task_state.front_end", heard)
    return Checkpoint(
        path=path,
        layout="mae_ast",
        encoder_config=config,
        encoder=encoder,
        front_end=_folded(path, replace(raw, num_mel_bins=config.num_mel_bins), tensors),
        training_config=state["cfg"],
        training_parts=_parameters_outside(native),
        num_updates=expect_history(path, state.get("optimizer_history"))[-1].get("num_updates"),
    )


def outside_encoder(state: dict[str, Any]) -> dict[str, Tensor]:
    """The tensors of a checkpoint that are not its encoder's: ``decoder.*``, ``heads.*``, ``input_norm.*``, ..."""
    config = config_of_keys(_keys(state["cfg"]["model"], state["model"]))
    native = from_published(state["model"], config.patches, config.stack.norm_first)
    return {name: tensor for name, tensor in native.items() if not name.startswith(_ENCODER)}


def join(checkpoint: Checkpoint, outside: dict[str, Tensor], record: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ARG001
    """The model's part of a file from its encoder and the tensors of :func:`outside_encoder`."""
    return to_published({f"{_ENCODER}{name}": tensor for name, tensor in checkpoint.encoder.items()} | outside)


def with_front_end(path: Path, state: dict[str, Any], front_end: FrontEnd) -> dict[str, Any]:
    """A checkpoint of fairseq's trainer whose front end, with its BatchNorm in it, is the one given."""
    if describe(path, state).front_end == front_end:
        return state
    variance = front_end.norm_std**2 - _NORM_EPS
    model = dict(state["model"])
    model[_RUNNING_MEAN] = torch.tensor([front_end.norm_mean])
    model[_RUNNING_VARIANCE] = torch.tensor([variance])
    raw = replace(front_end, norm_mean=RAW_FRONT_END.norm_mean, norm_std=RAW_FRONT_END.norm_std)
    return {**state, "model": model, "task_state": {**state["task_state"], "front_end": raw.to_dict()}}


def _keys(model_cfg: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """The config's keys, but for what the tensors say."""
    keys = dict(model_cfg)
    if _TABLE in tensors and tensors[_TABLE].ndim == 3 and keys.get("encoder") is None:
        keys["max_token_length"] = tensors[_TABLE].shape[1]
    return keys


def _require_patches(path: Path, config: EncoderConfig, tensors: Mapping[str, Tensor]) -> None:
    """The patches' size is a matter of the config alone: at least their number of values has to be the tensors'."""
    key, (frames, bins) = "post_extract_proj.weight", config.patches.size
    width = expect_shape(path, f"model.{key}", expect_key(path, "model", tensors, key), (None, None)).shape[1]
    if width != frames * bins:
        sizes = "cfg.model.ast_kernel_size_time and ast_kernel_size_chan"
        refuse(path, sizes, f"a product of {width}, as {key} has it", f"{frames} x {bins}")


def _folded(path: Path, raw: FrontEnd, tensors: Mapping[str, Tensor]) -> FrontEnd:
    """The front end with the BatchNorm in it: 0.5 (y - m) / sqrt(v + eps) of y = (x - mean) / (2 std)."""
    moments = []
    for name in (_RUNNING_MEAN, _RUNNING_VARIANCE):
        moments.append(float(expect_shape(path, f"model.{name}", expect_key(path, "model", tensors, name), (1,))))
    mean, variance = moments
    if not (math.isfinite(mean) and math.isfinite(variance) and variance >= 0):
        raise CheckpointError(
            f"{path}: model.batch_norm: expected a finite mean and a variance of at least 0, found {mean} and "
            f"{variance}"
        )
    twice = 2.0 * raw.norm_std
    return replace(raw, norm_mean=raw.norm_mean + twice * mean, norm_std=twice * math.sqrt(variance + _NORM_EPS))


def _parameters_outside(native: Mapping[str, Tensor]) -> dict[str, int]:
    """Parameters of what is not the encoder's, by part; position tables are none, nor are running statistics."""
    counts: dict[str, int] = {}
    for name, tensor in native.items():
        part = name.split(".")[0]
        if not name.startswith((_ENCODER, _NORM)) and name != "decoder.positions":
            counts[part] = counts.get(part, 0) + tensor.numel()
    return counts


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
