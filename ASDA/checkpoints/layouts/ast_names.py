"""Tensor names of AST in Hugging Face directories, as every version of transformers writes them, and this project's."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from ..files import CheckpointError
from ..validation import expect_shape, refuse

_BASE = "audio_spectrogram_transformer."  # before an encoder's names where it has a head
_EMBEDDINGS = {
    "embeddings.cls_token": "cls_token",
    "embeddings.distillation_token": "distillation_token",
    "embeddings.position_embeddings": "positions",
    "embeddings.patch_embeddings.projection.": "patch_embed.proj.",
    "layernorm.": "stack.norm_last.",
}
# What errors call the tensors whose sizes the architecture gives.
TENSOR_NAMES = {
    "positions": "embeddings.position_embeddings",
    "patch_embed.proj.weight": "embeddings.patch_embeddings.projection.weight",
}
_HEAD = {"classifier.layernorm.": "norm.", "classifier.dense.": "linear."}
_LAYER = re.compile(r"(?:encoder\.layer|layers)\.(\d+)\.(.+\.)(weight|bias)")
_OF_LAYER = {  # up to transformers 4, and since 5
    "attention.attention.query.": "attn.q.",
    "attention.attention.key.": "attn.k.",
    "attention.attention.value.": "attn.v.",
    "attention.output.dense.": "attn.proj.",
    "intermediate.dense.": "mlp.fc1.",
    "output.dense.": "mlp.fc2.",
    "attention.q_proj.": "attn.q.",
    "attention.k_proj.": "attn.k.",
    "attention.v_proj.": "attn.v.",
    "attention.o_proj.": "attn.proj.",
    "mlp.fc1.": "mlp.fc1.",
    "mlp.fc2.": "mlp.fc2.",
    "layernorm_before.": "norm1.",
    "layernorm_after.": "norm2.",
}


def split_tensors(
    file: Path, tensors: Mapping[str, Tensor], qkv_bias: bool
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The tensors of an encoder and of a head (empty if there is none), under names of this project.

    Tokens and maps that are one tensor here (`prefix_tokens`, `attn.qkv`) are joined; the axes are still those of the
    file. Maps without biases get biases of zero, which compute the same.

    Args:
        file: what they were read from, for errors.
        tensors: under the names of transformers.
        qkv_bias: whether queries, keys and values have biases.

    Raises:
        CheckpointError: a tensor that AST does not have, or one that it needs is missing.
    """
    encoder: dict[str, Tensor] = {}
    head: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        plain = name.removeprefix(_BASE)
        if found := _renamed(plain, _HEAD):
            head[found] = tensor
        elif found := _renamed(plain, _EMBEDDINGS) or _of_layer(plain):
            if found in encoder:
                raise CheckpointError(f"{file}: {name}: there twice, under its old and its new name")
            encoder[found] = tensor
        else:
            refuse(file, "tensors", "those of audio-spectrogram-transformer", name)
    _join_tokens(file, encoder)
    for name in [name for name in encoder if name.endswith(".attn.q.weight")]:
        _join_maps(file, encoder, name.removesuffix("q.weight"), qkv_bias)
    return encoder, head


def _renamed(name: str, names: Mapping[str, str]) -> str | None:
    return next((new + name[len(old) :] for old, new in names.items() if name.startswith(old)), None)


def _of_layer(name: str) -> str | None:
    match = _LAYER.fullmatch(name)
    if match is None or match[2] not in _OF_LAYER:
        return None
    return f"stack.blocks.{match[1]}.{_OF_LAYER[match[2]]}{match[3]}"


def _join_tokens(file: Path, encoder: dict[str, Tensor]) -> None:
    cls_token = _taken(file, encoder, "cls_token", (1, 1, None))
    distillation = _taken(file, encoder, "distillation_token", tuple(cls_token.shape))
    encoder["prefix_tokens"] = torch.cat([cls_token, distillation], dim=1)


def _join_maps(file: Path, encoder: dict[str, Tensor], attention: str, qkv_bias: bool) -> None:
    width = expect_shape(file, f"{attention}q.weight", encoder[f"{attention}q.weight"], (None, None)).shape[0]
    weights = [_taken(file, encoder, f"{attention}{part}.weight", (width, width)) for part in "qkv"]
    biases = [weights[0].new_zeros(width)] * 3
    if qkv_bias:
        biases = [_taken(file, encoder, f"{attention}{part}.bias", (width,)) for part in "qkv"]
    encoder[f"{attention}qkv.weight"], encoder[f"{attention}qkv.bias"] = torch.cat(weights), torch.cat(biases)


def _taken(file: Path, encoder: dict[str, Tensor], name: str, shape: tuple[int | None, ...]) -> Tensor:
    if name not in encoder:
        refuse(file, name, "a tensor", None)
    return expect_shape(file, name, encoder.pop(name), shape)
