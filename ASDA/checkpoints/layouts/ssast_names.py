"""Tensor names of SSAST's own files, and this project's: the encoder, and what its pre-training adds to it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...core.config import EncoderConfig, PatchConfig
from ..validation import expect_shape, refuse
from .vit_tensors import encoder_from_vit, encoder_to_vit, with_our_axes

SSAST_MODEL = "ssast"  # the name under which fairseq knows the model
ENCODER = "v."
_WRAPPED = "module."  # by torch.nn.DataParallel
# Parts of MaskedPrediction <-> published names.
_TRAINING = {"mask_token": "mask_embed", "classify.": "cpredlayer.", "reconstruct.": "gpredlayer."}
_LAST_OF_HEAD = ".2."  # linear, ReLU, linear: it gives the values of a patch, in the file mel bin by mel bin
HEAD = {"norm.": "mlp_head.0.", "linear.": "mlp_head.1."}
MEL_BINS = "p_input_fdim"
SIZES = (MEL_BINS, "p_input_tdim")  # of the spectrograms of pre-training


def unwrapped(tensors: Mapping[Any, Any]) -> dict[str, Any]:
    """The tensors without what DataParallel puts before their names."""
    return {str(name).removeprefix(_WRAPPED): tensor for name, tensor in tensors.items()}


def wrapped(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors as DataParallel names them."""
    return {_WRAPPED + name: tensor for name, tensor in tensors.items()}


def sizes_of(config: EncoderConfig) -> dict[str, Tensor]:
    """Mel bins and frames of pre-training, as files record them."""
    frames = config.patches.size[0] + (config.max_rows - 1) * config.patches.stride[0]
    return {name: torch.tensor(size) for name, size in zip(SIZES, (config.num_mel_bins, frames), strict=True)}


def split_ssast(file: str | Path, tensors: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Sorts tensors by what they belong to, with the axes of the file.

    Returns:
        ``encoder``, ``training`` (mask token and heads of :class:`MaskedPrediction`), ``head`` (of a classifier) under
        this project's names, ``sizes`` under their own.

    Raises:
        CheckpointError: a tensor that belongs to none of them.
    """
    parts: dict[str, dict[str, Tensor]] = {"encoder": {}, "training": {}, "head": {}, "sizes": {}}
    for name, tensor in unwrapped(tensors).items():
        if name.startswith(ENCODER):
            parts["encoder"][name.removeprefix(ENCODER)] = tensor
        elif found := _renamed(name, _TRAINING):
            parts["training"][found] = tensor
        elif found := _renamed(name, HEAD):
            parts["head"][found] = tensor
        elif name in SIZES:
            parts["sizes"][name] = tensor
        else:
            refuse(file, "tensors", "those of SSAST or AST (v.*, mask_embed, cpredlayer.*, mlp_head.*, ...)", name)
    parts["encoder"] = encoder_from_vit(file, parts["encoder"])
    return parts


def from_ssast(file: str | Path, tensors: Mapping[str, Tensor], config: EncoderConfig) -> dict[str, dict[str, Tensor]]:
    """As :func:`split_ssast`, with the axes of this project.

    Raises:
        CheckpointError: the tensors are not those of such an encoder.
    """
    parts = split_ssast(file, tensors)
    parts["encoder"] = with_our_axes(file, parts["encoder"], config)
    frames, bins = config.patches.size
    for name, tensor in parts["training"].items():
        if _LAST_OF_HEAD in name:
            expect_shape(file, name, tensor, (frames * bins, *[None] * (tensor.dim() - 1)))
            parts["training"][name] = _reordered(tensor, (bins, frames))
    return parts


def to_ssast(encoder: Mapping[str, Tensor], training: Mapping[str, Tensor], config: EncoderConfig) -> dict[str, Tensor]:
    """Inverse of :func:`from_ssast`: the tensors of a pre-training model under their published names."""
    published = {f"{ENCODER}{name}": tensor for name, tensor in encoder_to_vit(encoder, config).items()}
    for name, tensor in training.items():
        new = next(new + name[len(old) :] for old, new in _TRAINING.items() if name.startswith(old))
        published[new] = _reordered(tensor, config.patches.size) if _LAST_OF_HEAD in name else tensor
    return published


def patches_of(encoder: Mapping[str, Tensor]) -> PatchConfig:
    """Patches without overlap of the size that a patch filter in a file has."""
    bins, frames = encoder["patch_embed.proj.weight"].shape[2:]
    return PatchConfig((frames, bins))


def _renamed(name: str, names: Mapping[str, str]) -> str | None:
    return next((new + name[len(old) :] for new, old in names.items() if name.startswith(old)), None)


def _reordered(rows: Tensor, size: tuple[int, int]) -> Tensor:
    """Rows that are the values of a patch of ``size``, counted along its second axis first -> along its first."""
    return rows.unflatten(0, size).transpose(0, 1).flatten(0, 1)
