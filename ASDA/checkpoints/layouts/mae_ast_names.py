"""Tensor names of MAE-AST's checkpoints, and this project's own for the same tensors.

Checkpoints keep the published names, so that MAE-AST's users can take them as they are. Two tensors differ in more than
their name: attention has its queries, keys and values apart there, and the patch projection is a matrix.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from ...core.config import PatchConfig

PUBLISHED_MODEL, PUBLISHED_TASK = "mae_ast", "mae_ast_pretraining"

# Beginnings of names of MaskedAutoencoder <-> published ones.
_NAMES = (
    ("encoder.patch_embed.proj.", "post_extract_proj."),
    ("encoder.positions", "enc_sine_pos_embed.pe"),
    ("encoder.stack.blocks.", "encoder.layers."),
    ("decoder.stack.blocks.", "decoder.layers."),
    ("decoder.mask_token", "decoder_mask_emb"),
    ("decoder.positions", "dec_sine_pos_embed.pe"),
    ("decoder.project.", "post_enc_proj."),
    ("heads.0.", "final_proj_reconstruction."),
    ("heads.1.", "final_proj_classification."),
    ("input_norm.", "batch_norm."),
    ("unused.mask_token", "encoder_mask_emb"),
    ("unused.norm.", "layer_norm."),
)
# The same within a block. Attention that MAE-AST does not have keeps the names that it has here.
_NAMES_OF_BLOCK = (
    ("attn.proj.", "self_attn.out_proj."),
    ("attn.", "self_attn."),
    ("norm1.", "self_attn_layer_norm."),
    ("norm2.", "final_layer_norm."),
    ("mlp.", ""),
)
# A stack has a norm before its blocks or behind them; there, both are called the same.
_NORM = re.compile(r"(encoder|decoder)\.stack\.norm_(first|last)\.(\w+)")
_PUBLISHED_NORM = re.compile(r"(encoder|decoder)\.layer_norm\.(\w+)")
_BLOCK = re.compile(r"((?:encoder|decoder)\.(?:stack\.blocks|layers)\.\d+\.)(.*)")
_QUERIES_KEYS_VALUES = ("q_proj", "k_proj", "v_proj")
_OF_ATTENTION = re.compile(r"(.*\.self_attn\.)(qkv|q_proj)\.(\w+)")
_PROJECTION = "encoder.patch_embed.proj.weight"


def _rewrite(name: str, pairs: tuple[tuple[str, str], ...], forward: bool) -> str:
    for native, published in pairs:
        old, new = (native, published) if forward else (published, native)
        if name.startswith(old):
            return new + name[len(old) :]
    return name


def published_name(name: str) -> str:
    """The published name of a tensor of MaskedAutoencoder; queries, keys and values in one, ``qkv``, have none."""
    if norm := _NORM.fullmatch(name):
        return f"{norm[1]}.layer_norm.{norm[3]}"
    published = _rewrite(name, _NAMES, True)
    if block := _BLOCK.fullmatch(published):
        return block[1] + _rewrite(block[2], _NAMES_OF_BLOCK, True)
    return published


def _native_name(name: str, norm_first: bool) -> str:
    if norm := _PUBLISHED_NORM.fullmatch(name):
        return f"{norm[1]}.stack.norm_{'first' if norm_first else 'last'}.{norm[2]}"
    if block := _BLOCK.fullmatch(name):
        inside = block[2] if block[2].startswith(("self_attn", "final_layer_norm")) else f"mlp.{block[2]}"
        inside = _rewrite(inside, _NAMES_OF_BLOCK[:-1], False)
        return _rewrite(block[1], _NAMES, False) + inside
    return _rewrite(name, _NAMES, False)


def to_published(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of MaskedAutoencoder under their published names, and in the form that they have there."""
    published: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        new = published_name(name)
        attention = _OF_ATTENTION.fullmatch(new)
        if attention and attention[2] == "qkv":
            for part, rows in zip(_QUERIES_KEYS_VALUES, tensor.chunk(3), strict=True):
                published[f"{attention[1]}{part}.{attention[3]}"] = rows
        else:
            published[new] = tensor.flatten(1) if name == _PROJECTION else tensor
    return published


def from_published(tensors: Mapping[str, Tensor], patches: PatchConfig, norm_first: bool) -> dict[str, Tensor]:
    """Inverse of :func:`to_published`.

    Args:
        tensors: under published names. Names that are not known stay.
        patches: of the encoder, which the matrix that projects them does not show.
        norm_first: whether the norm of the stacks is the one before their blocks.

    Raises:
        ValueError: there are queries without keys or values, or of other shapes than these; the message names them.
    """
    native: dict[str, Tensor] = {}
    parts = tuple(f".self_attn.{part}." for part in _QUERIES_KEYS_VALUES[1:])
    for name, tensor in tensors.items():
        if any(part in name for part in parts):
            continue  # with the queries
        attention = _OF_ATTENTION.fullmatch(name)
        if attention and attention[2] == "q_proj":
            rows = [tensors.get(f"{attention[1]}{part}.{attention[3]}") for part in _QUERIES_KEYS_VALUES]
            shapes = [None if part is None else tuple(part.shape) for part in rows]
            if len(set(shapes)) > 1 or not shapes[0]:
                raise ValueError(
                    f"{name}: expected queries, keys and values ({', '.join(_QUERIES_KEYS_VALUES)}) of one shape, "
                    f"found {', '.join('nothing' if shape is None else str(shape) for shape in shapes)}"
                )
            name, tensor = f"{attention[1]}qkv.{attention[3]}", torch.cat([part for part in rows if part is not None])
        new = _native_name(name, norm_first)
        if new == _PROJECTION and tensor.ndim == 2 and tensor.shape[1] == patches.size[0] * patches.size[1]:
            tensor = tensor.unflatten(1, (1, *patches.size))
        native[new] = tensor
    return native
