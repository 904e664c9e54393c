"""A `.pt` file as this project's pre-training of SSAST writes it: fairseq's layout, SSAST's own tensors.

``cfg.model.encoder`` is the architecture, ``task_state.front_end`` the input.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ...core.config import ConfigError, EncoderConfig
from ..checkpoint import Checkpoint
from ..consistency import front_end_of
from ..contents import Contents
from ..files import CheckpointError, save_torch_file
from ..validation import expect_history, expect_key, expect_mapping, expect_tensors
from .run_state import sizes_by_part
from .ssast_file import inferred_architecture
from .ssast_names import SSAST_MODEL, from_ssast, sizes_of, to_ssast, wrapped

EXPECTED = f"a file whose cfg.model._name is {SSAST_MODEL}"


def knows(contents: Contents) -> bool:
    """Whether the config names SSAST's class."""
    return contents.model_name == SSAST_MODEL


def read(contents: Contents) -> Checkpoint:
    """What such a file holds.

    Raises:
        CheckpointError: its tensors or its configuration are not those of SSAST.
    """
    return describe(contents.path, contents.state)


def training_state(contents: Contents) -> dict[str, Any]:
    """The checkpoint of fairseq's trainer: as it is."""
    read(contents)
    return contents.state


def describe(path: Path, state: dict[str, Any]) -> Checkpoint:
    """What a checkpoint of fairseq's trainer holds.

    Raises:
        CheckpointError: it is none of SSAST.
    """
    tensors = expect_tensors(path, "model", state["model"])
    recorded = expect_key(path, "cfg.model", expect_mapping(path, "cfg.model", state["cfg"]["model"]), "encoder")
    try:
        config = EncoderConfig.from_dict(expect_mapping(path, "cfg.model.encoder", recorded))
    except ConfigError as error:
        raise CheckpointError(f"{path}: cfg.model.encoder.{error}") from error
    parts = from_ssast(path, tensors, config)
    task_state = expect_mapping(path, "task_state", state.get("task_state"))
    heard = expect_key(path, "task_state", task_state, "front_end")
    return Checkpoint(
        path=path,
        layout=SSAST_MODEL,
        encoder_config=config,
        encoder=parts["encoder"],
        front_end=front_end_of(path, "task_state.front_end", heard),
        training_config=state["cfg"],
        training_parts=sizes_by_part(parts["training"]),
        num_updates=expect_history(path, state.get("optimizer_history"))[-1].get("num_updates"),
    )


def outside_encoder(state: dict[str, Any]) -> dict[str, Tensor]:
    """The tensors of a checkpoint that are not its encoder's: ``mask_token``, ``classify.*``, ``reconstruct.*``."""
    config = EncoderConfig.from_dict(state["cfg"]["model"]["encoder"])
    return from_ssast("the checkpoint", state["model"], config)["training"]


def join(checkpoint: Checkpoint, outside: dict[str, Tensor], record: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ARG001
    """The model's part of a file from its encoder and the tensors of :func:`outside_encoder`."""
    return dict(to_ssast(checkpoint.encoder, outside, checkpoint.encoder_config))


def write_published(target: Path, state: dict[str, Any]) -> dict[str, Any]:
    """Writes a checkpoint as SSAST's own program does: a `.pth` with tensors alone.

    Returns:
        Nothing: all that is written is known there.

    Raises:
        CheckpointError: such a file does not say of an encoder what this one is.
    """
    config = EncoderConfig.from_dict(state["cfg"]["model"]["encoder"])
    published = wrapped(state["model"] | sizes_of(config))
    if inferred_architecture(target, published) != config:
        raise CheckpointError(f"{target}: SSAST's files hold tensors alone, which do not tell an encoder like {config}")
    save_torch_file(published, target)
    return {}
