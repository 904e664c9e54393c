"""The model of a run in fairseq's trainer: its encoder, its head, and what it holds beside them for training alone.

What that is depends on the registered model: a decoder and a teacher (ASDA, EAT), a mask token and heads (SSAST).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..checkpoint import Checkpoint
from . import ssast_names
from .directory_version_1 import upgrade_name
from .published_names import (
    SSAST_MODEL,
    TEACHER_KEY,
    TEACHER_UPDATES_KEY,
    encoder_to_published,
    head_to_published,
    split_published,
    to_published,
)

_FOLLOWED = "teacher."  # no parameters of their own: they follow the encoder's


def training_tensors(state: Mapping[str, Any], checkpoint: Checkpoint) -> dict[str, Tensor]:
    """What the model of a run holds beside encoder and head, under names of this project.

    Args:
        state: the checkpoint of fairseq's trainer, in this project's spelling.
        checkpoint: what was read from it.
    """
    if state["cfg"]["model"].get("_name") == SSAST_MODEL:
        return ssast_names.from_ssast(checkpoint.path, state["model"], checkpoint.encoder_config)["training"]
    parts = split_published(state["model"])
    return {f"{part}.{name}": tensor for part in ("decoder", "teacher") for name, tensor in parts[part].items()}


def joined(
    model_name: Any, checkpoint: Checkpoint, training: Mapping[str, Tensor], teacher_updates: int | None
) -> dict[str, Any]:
    """The model of a run, as its checkpoints have it: inverse of :func:`training_tensors`.

    Args:
        model_name: the name under which fairseq knows it.
        checkpoint: encoder and head.
        training: what it holds beside them.
        teacher_updates: how many updates are in its teacher, if that is known.
    """
    if model_name == SSAST_MODEL:
        return dict(ssast_names.to_ssast(checkpoint.encoder, training, checkpoint.encoder_config))
    model: dict[str, Any] = encoder_to_published(checkpoint.encoder, "model." if checkpoint.head else "")
    model |= head_to_published(checkpoint.head)
    teacher = {}
    for name, tensor in training.items():
        if name.startswith("decoder."):
            model[to_published(f"objective.{name}")] = tensor
        elif name.startswith(_FOLLOWED):
            teacher[upgrade_name(name.removeprefix(_FOLLOWED))] = tensor
    if teacher:
        model[TEACHER_KEY] = encoder_to_published(teacher)
    if teacher_updates is not None and training:
        model[TEACHER_UPDATES_KEY] = torch.tensor(teacher_updates)
    return model


def sizes_by_part(sizes: Mapping[str, int]) -> dict[str, int]:
    """Parameters of what is for training alone, by part, from the sizes of its tensors."""
    parts: dict[str, int] = {}
    for name, size in sizes.items():
        if not name.startswith(_FOLLOWED):
            part = name.partition(".")[0]
            parts[part] = parts.get(part, 0) + size
    return parts
