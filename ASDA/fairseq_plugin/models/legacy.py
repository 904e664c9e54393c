"""The architecture of a checkpoint that a run goes on from: taken over where the run leaves it open, or the same."""

from __future__ import annotations

import logging
import os
from typing import Any

from ...checkpoints.reading import read_checkpoint
from ...core.config import Differential, EncoderConfig
from ..run.epoch_position import configuration_in
from .encoder_keys import AttentionKind, is_complete, plain, record_encoder

logger = logging.getLogger(__name__)

_OPEN_POSITIONS = "sincos_1d"  # a word that meant something else in files written before architectures were recorded


def decide_architecture(cfg: Any, file: str | None) -> None:
    """Settles what a pre-training model config leaves open, in place.

    Args:
        cfg: the model part of a run's config.
        file: the checkpoint that the run goes on from, if there is one.

    Raises:
        CheckpointError: the file cannot be read.
    """
    if "attention" not in cfg or is_complete(cfg.get("encoder")):
        return
    is_open = cfg.attention in (AttentionKind.auto, AttentionKind.auto.name)
    found = file is not None and os.path.isfile(file)
    if found and (is_open or plain(cfg.positions) == _OPEN_POSITIONS):
        recorded = read_checkpoint(file).encoder_config.to_dict()
        if not is_open:
            recorded = {"positions": recorded["positions"]}
        elif recorded["stack"]["attention"]["kind"] == Differential.kind:
            constants = ("diff_lambda", "out_scale", "lambda_init")
            recorded["stack"]["attention"] |= {name: plain(cfg[name]) for name in constants}
        record_encoder(cfg, {**recorded, **(plain(cfg.get("encoder")) or {})})
        logger.info(f"the architecture is that of {file}: {plain(cfg.encoder)}")
    elif is_open:
        cfg.attention = AttentionKind.differential
        logger.info(
            "model.attention=auto without a checkpoint to go on from: differential attention with lambda "
            f"{cfg.diff_lambda} and an MLP of {cfg.mlp_ratio} x D (EAT's own: model.attention=plain)"
        )


def require_recorded_architecture(built: Any, file: str | None) -> None:
    """Refuses to go on from a checkpoint that records another architecture: tensors fit whatever lambda they get.

    Args:
        built: ``model.encoder`` of the run's model; None while that is open.
        file: the checkpoint that the run goes on from, if there is one.

    Raises:
        ValueError: it is another one; the message names the settings and both values.
    """
    if built is None or file is None or not os.path.isfile(file):
        return
    recorded = configuration_in(file).get("model", {}).get("encoder")
    if not is_complete(recorded):
        return
    then, now = _leaves(EncoderConfig.from_dict(recorded).to_dict()), _leaves(plain(built))
    other = [
        f"{key}: {then.get(key)} there, {now.get(key)} now"
        for key in dict.fromkeys((*then, *now))
        if then.get(key) != now.get(key)
    ]
    if other:
        raise ValueError(
            f"{file} was trained with another architecture: {'; '.join(other)}. Go on with what it has, or give this "
            "run a save folder (checkpoint.save_dir) of its own"
        )


def _leaves(tree: Any, path: str = "model.encoder") -> dict[str, Any]:
    if not isinstance(tree, dict):
        return {path: tree}
    return {key: value for name, node in tree.items() for key, value in _leaves(node, f"{path}.{name}").items()}
