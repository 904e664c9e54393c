"""What fine-tuning starts from: a checkpoint, or the weights of an image network."""

from __future__ import annotations

from typing import Any

from ...audio.front_end import FrontEnd
from ...checkpoints.adapters import plain_encoder
from ...checkpoints.checkpoint import Checkpoint
from ...checkpoints.image_weights import AST_STRIDE, read_image_weights
from ...checkpoints.reading import read_checkpoint
from ...checkpoints.regridding import regridded
from .encoder_keys import plain

_TIMM = "timm:"


def starting_weights(cfg: Any, front_end: FrontEnd | None, read: Checkpoint | None = None) -> Checkpoint:
    """The encoder that a classifier's config names, on the grid of patches that ``model.encoder`` asks for.

    Args:
        cfg: of the classifier.
        front_end: what the run hears; None: AudioSet's.
        read: the checkpoint of ``model.model_path``, if it has been read before.

    Raises:
        ValueError: the config names none or two, or ``model.init`` is of no known kind.
        CheckpointError: it cannot be used.
    """
    changes = plain(cfg.encoder) or {}
    if not cfg.init:
        return regridded(plain_encoder(read or read_pretrained(cfg.model_path)), changes)
    if cfg.model_path:
        raise ValueError(f"model.init={cfg.init} and model.model_path={cfg.model_path}: a run starts from one of them")
    kind, _, name = cfg.init.partition(":")
    if kind != _TIMM.rstrip(":") or not name:
        raise ValueError(
            f"model.init={cfg.init}: expected {_TIMM}NAME, the name of a vision transformer's weights in timm"
        )
    stride = (changes.get("patches") or {}).get("stride") or AST_STRIDE
    image = read_image_weights(
        name,
        front_end or FrontEnd(),
        colours=plain(cfg.init_colours),
        stride=stride,
        pretrained=not cfg.no_pretrained_weights,
    )
    return regridded(image, changes)


def read_pretrained(path: str) -> Checkpoint:
    """The checkpoint that fine-tuning starts from, pre-trained or fine-tuned, of any layout.

    Raises:
        ValueError: no path is given.
        CheckpointError: it cannot be used.
    """
    if not path:
        raise ValueError(
            "fine-tuning starts from a pre-trained checkpoint: set model.model_path=/path/to/checkpoint.pt, or from an "
            "image network: model.init=timm:NAME"
        )
    return read_checkpoint(path)
