"""A `.pt` file as a run with ``model.adaptation`` writes it: fairseq's layout, of the model what is trained alone.

Among the tensors stands the checksum of the encoder that they belong to, in ``cfg.model.model_path`` where it was.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ...core.config import ConfigError, EncoderConfig
from ..adapters import BASE_KEY, Adapter
from ..checkpoint import Base
from ..contents import Contents
from ..files import CheckpointError
from ..validation import expect_history, expect_key, expect_mapping, expect_tensors, expect_texts, refuse
from . import project
from .published_names import split_published

EXPECTED = f"a file of fairseq's with {BASE_KEY} among its tensors"
_SHA256_BYTES = 32


def knows(contents: Contents) -> bool:
    """Whether the contents have this layout."""
    return contents.is_fairseq and BASE_KEY in contents.state["model"]


def checksum_tensor(sha256: str) -> Tensor:
    """A checksum as it stands among the tensors."""
    return torch.tensor(list(bytes.fromhex(sha256)), dtype=torch.uint8, device="cpu")


def checksum_in(tensors: dict[str, Any], file: Any) -> str:
    """The checksum among a run's tensors.

    Raises:
        CheckpointError: it is none.
    """
    value = tensors[BASE_KEY]
    if not isinstance(value, Tensor) or value.dtype != torch.uint8 or value.shape != (_SHA256_BYTES,):
        refuse(file, f"model.{BASE_KEY}", f"{_SHA256_BYTES} bytes", value)
    return bytes(value.tolist()).hex()


def read_adapter(contents: Contents) -> Adapter:
    """What such a file holds.

    Raises:
        CheckpointError: its tensors or its configuration are not those of a classifier of this project.
    """
    path, state = contents.path, contents.state
    cfg, tensors = state["cfg"], dict(expect_mapping(path, "model", state["model"]))
    sha256 = checksum_in(tensors, path)
    del tensors[BASE_KEY]
    parts = split_published(expect_tensors(path, "model", tensors))
    if parts["other"]:
        raise CheckpointError(
            f"{path}: expected tensors of an encoder and of a head, found {', '.join(parts['other'])}"
        )
    task = expect_mapping(path, "cfg.task", cfg.get("task") or {})
    task_state = expect_mapping(path, "task_state", state.get("task_state") or {})
    try:
        encoder = EncoderConfig.from_dict(expect_key(path, "cfg.model", cfg["model"], "encoder"))
    except ConfigError as error:
        raise CheckpointError(f"{path}: cfg.model.encoder.{error}") from error
    multi_label = task_state.get("multi_label")
    return Adapter(
        path=path,
        layout="adapter",
        methods=project.recorded_methods(path, cfg["model"]),
        tensors=parts["encoder"],
        base=Base(sha256, str(cfg["model"].get("model_path") or "")),
        encoder_config=encoder,
        front_end=project.recorded_front_end(path, task, task_state, encoder.num_mel_bins),
        head_config=project.recorded_head(path, cfg["model"], parts["head"]),
        head=parts["head"],
        label_names=expect_texts(path, "task_state.label_names", task_state.get("label_names") or []),
        multi_label=multi_label,
        independent_scores=not project.trained_with_softmax(
            cfg["model"].get("loss", "auto"), multi_label, cfg["model"].get("mixup")
        ),
        training_config=cfg,
        num_updates=expect_history(path, state.get("optimizer_history"))[-1].get("num_updates"),
    )
