"""A `.pt` file as this project's training writes it: fairseq's layout, with architecture, input and classes.

Tensors have the published names. What a published file leaves to be guessed is recorded: ``cfg.model.encoder`` is the
architecture, ``task_state.front_end`` the input, ``task_state.label_names`` the classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...adaptation.adapting import split_added
from ...adaptation.keys import methods_of_keys
from ...adaptation.method import AdaptationError, Method
from ...audio.front_end import LONGEST_WINDOW_FRAMES, FrontEnd
from ...core.config import ConfigError, EncoderConfig, HeadConfig
from ...data.corpora.corpus import Corpus, get_corpus
from ..checkpoint import Checkpoint
from ..consistency import front_end_of
from ..contents import Contents
from ..files import CheckpointError, save_torch_file
from ..validation import (
    expect_history,
    expect_mapping,
    expect_number,
    expect_tensors,
    expect_text,
    expect_texts,
    refuse,
)
from .published_architecture import UnknownLayoutError, recorded_architecture
from .published_names import (
    PUBLISHED_FLAGS,
    TEACHER_KEY,
    TEACHER_UPDATES_KEY,
    encoder_to_published,
    head_to_published,
    split_published,
    to_published,
)
from .run_state import PREDICTION_MODES

EXPECTED = "a file with cfg.model and model as fairseq writes them"
_POOLINGS: dict[str | None, str] = {None: "cls"} | {mode: pooling for pooling, mode in PREDICTION_MODES.items()}
_FC_NORM_EPS = 1e-6  # of the published programs; later files record it


def knows(contents: Contents) -> bool:
    """Whether the contents have this layout."""
    return contents.is_fairseq


def read(contents: Contents) -> Checkpoint:
    """What such a file holds.

    Raises:
        CheckpointError: its tensors or its configuration are not those of a model of this project.
    """
    return describe(contents.path, contents.state)


def training_state(contents: Contents) -> dict[str, Any]:
    """The checkpoint of fairseq's trainer: as it is."""
    read(contents)
    return contents.state


def write(target: Path, state: dict[str, Any]) -> None:
    """Writes a checkpoint of fairseq's trainer; it appears under its name only when it is complete."""
    save_torch_file(state, target)


def describe(path: Path, state: dict[str, Any]) -> Checkpoint:
    """What a checkpoint of fairseq's trainer holds, published or of this project.

    Raises:
        CheckpointError: its layout is not known.
    """
    _require_tables(path, state)
    cfg = state["cfg"]
    parts = split_published(state["model"])
    try:
        if parts["other"]:
            names = list(parts["other"])
            raise UnknownLayoutError(
                "unknown checkpoint layout: expected the tensors of an ASDA or EAT model (modality_encoders.IMAGE.*, "
                "blocks.N.*; when fine-tuned with `model.` before them, and fc_norm.*, head.*), found "
                f"{len(names)} others: {', '.join(names[:8])}{' ...' if len(names) > 8 else ''}"
            )
        encoder_config = _encoder_config(cfg, parts["encoder"])
    except (UnknownLayoutError, ConfigError) as error:
        raise CheckpointError(f"{path}: {error}") from error
    encoder, adapters = split_added(parts["encoder"])
    task_state = state.get("task_state") or {}
    task = cfg.get("task") or {}
    multi_label = task_state.get("multi_label")
    if "multi_label" not in task_state and parts["head"]:
        multi_label = published_corpus(task).multi_label
    return Checkpoint(
        path=path,
        layout="project",
        encoder_config=encoder_config,
        encoder=encoder,
        front_end=recorded_front_end(path, task, task_state, encoder_config.num_mel_bins),
        front_end_recorded=bool(task_state.get("front_end")),
        head_config=recorded_head(path, cfg["model"], parts["head"]) if parts["head"] else None,
        head=parts["head"],
        label_names=expect_texts(path, "task_state.label_names", task_state.get("label_names") or []),
        multi_label=multi_label,
        independent_scores=not trained_with_softmax(
            cfg["model"].get("loss", "auto"), multi_label, cfg["model"].get("mixup")
        ),
        training_config=cfg,
        training_parts={"decoder": sum(t.numel() for t in parts["decoder"].values())} if parts["decoder"] else {},
        num_updates=expect_history(path, state.get("optimizer_history"))[-1].get("num_updates"),
        adaptation=recorded_methods(path, cfg["model"]) if parts["head"] else (),
        adapters=adapters,
    )


def recorded_methods(path: Path, model: Mapping[str, Any]) -> tuple[Method, ...]:
    """How the encoder of a classifier is adapted, from ``cfg.model``.

    Raises:
        CheckpointError: a method is not known, or has no such setting.
    """
    try:
        return methods_of_keys(model) or ()
    except (AdaptationError, TypeError) as error:
        raise CheckpointError(f"{path}: cfg.model: {error}") from error


def with_front_end(path: Path, state: dict[str, Any], front_end: FrontEnd) -> dict[str, Any]:  # noqa: ARG001
    """A checkpoint of fairseq's trainer that records this front end."""
    return {**state, "task_state": {**(state.get("task_state") or {}), "front_end": front_end.to_dict()}}


def outside_encoder(state: dict[str, Any]) -> dict[str, Tensor]:
    """The tensors of what is used in training alone: ``decoder.*`` and ``teacher.*``."""
    parts = split_published(state["model"])
    return {f"{part}.{name}": tensor for part in ("decoder", "teacher") for name, tensor in parts[part].items()}


def join(checkpoint: Checkpoint, outside: dict[str, Tensor], record: Mapping[str, Any]) -> dict[str, Any]:
    """The model's part of a file.

    Args:
        checkpoint: with encoder and head.
        outside: tensors of :func:`outside_encoder`.
        record: of the run; it may hold the number of updates in the teacher.
    """
    encoder = {**checkpoint.encoder, **checkpoint.adapters}
    model: dict[str, Any] = encoder_to_published(encoder, "model." if checkpoint.head else "")
    model |= head_to_published(checkpoint.head)
    parts: dict[str, dict[str, Tensor]] = {"decoder": {}, "teacher": {}}
    for name, tensor in outside.items():
        part, _, inside = name.partition(".")
        parts.setdefault(part, {})[inside] = tensor
    model |= {to_published(f"objective.decoder.{name}"): tensor for name, tensor in parts["decoder"].items()}
    if parts["teacher"]:
        model[TEACHER_KEY] = encoder_to_published(parts["teacher"])
    if outside and record.get(TEACHER_UPDATES_KEY) is not None:
        model[TEACHER_UPDATES_KEY] = torch.tensor(record[TEACHER_UPDATES_KEY])
    return model


def _require_tables(path: Path, state: dict[str, Any]) -> None:
    """What is looked into has to be a table, tensors have to be tensors."""
    model = dict(expect_mapping(path, "model", state["model"]))
    if TEACHER_KEY in model:
        expect_tensors(path, f"model.{TEACHER_KEY}", model.pop(TEACHER_KEY))
    updates = model.pop(TEACHER_UPDATES_KEY, 0)
    if not isinstance(updates, int) and not (isinstance(updates, Tensor) and updates.numel() == 1):
        refuse(path, f"model.{TEACHER_UPDATES_KEY}", "a number", updates)
    expect_tensors(path, "model", model)
    cfg = state["cfg"]
    nested = cfg["model"].get("pretrained_model_args")
    tables = {name: state.get(name) for name in ("task_state", "extra_state")}
    tables |= {"cfg.task": cfg.get("task"), "cfg.model.pretrained_model_args": nested}
    models = {"cfg.model": cfg["model"]}
    if isinstance(nested, Mapping):
        models["cfg.model.pretrained_model_args.model"] = nested.get("model")
        tables["cfg.model.pretrained_model_args.task"] = nested.get("task")
    for key, value in models.items():
        tables[key] = value
        if isinstance(value, Mapping):
            tables[f"{key}.encoder"] = value.get("encoder")
            tables[f"{key}.modalities"] = modalities = value.get("modalities")
            if isinstance(modalities, Mapping):
                tables[f"{key}.modalities.image"] = modalities.get("image")
    for key, value in tables.items():
        if value is not None and expect_mapping(path, key, value).get("_name") is not None:
            expect_text(path, f"{key}._name", value["_name"])


def pretraining_model_config(cfg: dict[str, Any]) -> dict[str, Any]:
    """``cfg.model`` of the pre-trained encoder; in a fine-tuned checkpoint it is nested.

    Raises:
        UnknownLayoutError: a fine-tuned checkpoint that does not hold it.
    """
    model = cfg["model"]
    if "num_heads" in model:
        return model
    nested = (model.get("pretrained_model_args") or {}).get("model")
    if not nested:
        raise UnknownLayoutError(
            "unknown checkpoint layout: expected the config of the pre-trained encoder in cfg.model or in "
            f"cfg.model.pretrained_model_args.model, found the keys {', '.join(model)}"
        )
    return nested


def _encoder_config(cfg: dict[str, Any], tensors: dict[str, Any]) -> EncoderConfig:
    model = cfg["model"]
    if model.get("encoder"):
        return recorded_architecture(model, tensors)
    pretraining = pretraining_model_config(cfg)
    if pretraining is not model and model.get("norm_eps") is not None:
        pretraining = {**pretraining, "norm_eps": model["norm_eps"]}
    return recorded_architecture(pretraining, tensors)


def recorded_head(path: Path, model: dict[str, Any], head: dict[str, Any]) -> HeadConfig:
    """The head; published files spell its pooling `MEAN_POOLING` or `PredictionMode.MEAN_POOLING`."""
    mode = model.get("prediction_mode")
    mode = mode if mode is None else str(mode).rpartition(".")[2]
    if mode not in _POOLINGS:
        raise CheckpointError(
            f"{path}: prediction_mode is {model['prediction_mode']}, expected {', '.join(m for m in _POOLINGS if m)}"
        )
    if "linear.bias" not in head:
        raise CheckpointError(f"{path}: head.bias is missing, found {', '.join(head)}")
    eps = model.get("fc_norm_eps") or _FC_NORM_EPS
    return HeadConfig(len(head["linear.bias"]), _POOLINGS[mode], norm="norm.weight" in head, norm_eps=eps)


def published_corpus(task: Mapping[str, Any]) -> Corpus:
    """The data set that a published file says it was trained on."""
    return get_corpus(next((name for flag, name in PUBLISHED_FLAGS.items() if task.get(flag)), "audioset"))


def recorded_front_end(
    path: Path, task: Mapping[str, Any], task_state: Mapping[str, Any], num_mel_bins: int
) -> FrontEnd:
    """As recorded; published files do not, but say which data set they were trained on."""
    if task_state.get("front_end"):
        return front_end_of(path, "task_state.front_end", task_state["front_end"])
    corpus = published_corpus(task)
    length = task.get("target_length") or corpus.target_length_frames
    expect_number(path, "cfg.task.target_length", length, low=1, high=LONGEST_WINDOW_FRAMES, whole=True)
    return replace(corpus.front_end(), target_length_frames=length, num_mel_bins=num_mel_bins)


def trained_with_softmax(loss: str, multi_label: bool | None, mixup: float | None) -> bool:
    """Whether ``model.loss`` means one softmax over the classes, rather than a sigmoid for each.

    Args:
        loss: ``bce``, ``cross_entropy`` or ``auto``, which is the latter for clips of one label that are not mixed.
        multi_label: whether a clip may have several labels; None if nobody says.
        mixup: ``model.mixup``; 0 or None without.
    """
    return loss == "cross_entropy" or (loss == "auto" and multi_label is False and not mixup)
