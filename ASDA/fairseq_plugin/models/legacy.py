"""Configs of EAT's names, and what the tensors of a published file say."""

from __future__ import annotations

from typing import Any

from fairseq.dataclass.utils import merge_with_parent
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from ...checkpoints.layouts.published_architecture import infer_architecture
from ...checkpoints.layouts.published_names import (
    LEGACY_PRETRAINING_MODEL,
    split_published,
)
from ..eat_keys import reject_unsupported
from .asda_keys import LegacyPretrainingModelConfig, PretrainingModelConfig
from .encoder_keys import AttentionKind, encoder_arguments


def pretraining_config(cfg: Any) -> DictConfig:
    """A pre-training model config as recorded in a checkpoint, completed with the defaults of its name.

    Keys that this project does not know are dropped, as a published file may carry more than it needs.
    """
    cfg = cfg if isinstance(cfg, DictConfig) else OmegaConf.create(cfg)
    legacy = cfg.get("_name") == LEGACY_PRETRAINING_MODEL
    return merge_with_parent(LegacyPretrainingModelConfig() if legacy else PretrainingModelConfig(), cfg, True)


def arguments_for(cfg: Any, tensors: dict[str, Tensor]) -> dict:
    """Arguments of the encoder that ``cfg`` describes; with attention=auto, as the tensors of its checkpoint say.

    Args:
        cfg: a merged pre-training model config.
        tensors: the model's tensors under their published names; may be empty for a new model.
    """
    reject_unsupported(PretrainingModelConfig, cfg, "model", training=False)
    arguments = encoder_arguments(cfg)
    encoder = split_published(tensors)["student"]
    if cfg.attention is AttentionKind.auto and encoder:
        arguments.update(infer_architecture(encoder, arguments["num_mel_bins"]))
    return arguments
