"""Vision transformers as timm names and lays them out, and this project's encoder: the same tensors, both ways.

AST and SSAST come from image networks. There a spectrogram is an image of frequency x time, so that a patch's weights
are (mel bins, frames), and patches are counted along time first. Here it is time x frequency.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from ...core.config import EncoderConfig, Plain, StackConfig
from ...core.patches import PatchGrid
from ..validation import expect_key, expect_shape, refuse

# The architecture of all of them, whatever their size (DeiT, arXiv 2012.12877): pre-norm blocks, a norm behind them.
VIT_NORM_EPS = 1e-6
_NAMES = {"patch_embed.proj.": "patch_embed.proj.", "blocks.": "stack.blocks.", "norm.": "stack.norm_last."}
_TOKENS = ("cls_token", "dist_token")
_KERNEL, _TABLE = "patch_embed.proj.weight", "positions"
# Of image classes; nothing in an audio network uses them.
IMAGE_HEADS = ("head.", "head_dist.")


def vit_stack(embed_dim: int, depth: int, num_heads: int, mlp_ratio: float, norm_eps: float) -> StackConfig:
    """The blocks of a vision transformer."""
    return StackConfig(
        embed_dim,
        depth,
        num_heads,
        mlp_ratio,
        attention=Plain(),
        norm="pre",
        norm_first=False,
        norm_last=True,
        norm_eps=norm_eps,
    )


def encoder_from_vit(file: str | Path, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors under timm's names -> under this project's; the axes are still those of the file.

    Raises:
        CheckpointError: a tensor that such a network does not have, or one that it needs is missing.
    """
    encoder: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        new = next((new + name[len(old) :] for old, new in _NAMES.items() if name.startswith(old)), None)
        if new is not None:
            encoder[new] = tensor
        elif name not in (*_TOKENS, "pos_embed") and not name.startswith(IMAGE_HEADS):
            refuse(file, "tensors", "those of a vision transformer (cls_token, pos_embed, blocks.N, ...)", name)
    cls_token = expect_shape(file, "cls_token", expect_key(file, "", tensors, "cls_token"), (1, 1, None))
    tokens = [expect_shape(file, name, tensors[name], tuple(cls_token.shape)) for name in _TOKENS if name in tensors]
    encoder["prefix_tokens"] = torch.cat(tokens, dim=1)
    shape = (1, None, cls_token.shape[2])
    encoder[_TABLE] = expect_shape(file, "pos_embed", expect_key(file, "", tensors, "pos_embed"), shape)
    expect_shape(file, _KERNEL, expect_key(file, "", tensors, _KERNEL), (cls_token.shape[2], None, None, None))
    return encoder


def encoder_to_vit(encoder: Mapping[str, Tensor], config: EncoderConfig) -> dict[str, Tensor]:
    """Tensors of SpectrogramEncoder -> under timm's names, with an image network's axes."""
    table = frequency_major(encoder[_TABLE], config.num_prefix_tokens, table_grid(config))
    tokens = encoder["prefix_tokens"].split(1, dim=1)
    vit = {**dict(zip(_TOKENS, tokens, strict=False)), "pos_embed": table}
    for old, new in _NAMES.items():
        vit |= {old + name[len(new) :]: tensor for name, tensor in encoder.items() if name.startswith(new)}
    return vit | {_KERNEL: swap_axes(encoder[_KERNEL])}


def with_our_axes(
    file: str | Path, encoder: Mapping[str, Tensor], config: EncoderConfig, names: Mapping[str, str] | None = None
) -> dict[str, Tensor]:
    """An encoder's tensors with an image network's axes -> with this project's.

    Args:
        file: what they were read from, for errors.
        encoder: tensors under this project's names.
        config: the architecture.
        names: what the file calls `positions` and `patch_embed.proj.weight`.

    Raises:
        CheckpointError: the position table or the patch filter has not the size that the architecture gives it.
    """
    grid, width, names = table_grid(config), config.stack.embed_dim, names or {}
    (frames, bins), num_tokens = config.patches.size, config.num_prefix_tokens + table_grid(config).num_patches
    kernel = expect_shape(file, names.get(_KERNEL, _KERNEL), encoder.get(_KERNEL), (width, 1, bins, frames))
    table = expect_shape(file, names.get(_TABLE, "pos_embed"), encoder.get(_TABLE), (1, num_tokens, width))
    return {**encoder, _KERNEL: swap_axes(kernel), _TABLE: time_major(table, config.num_prefix_tokens, grid)}


def table_grid(config: EncoderConfig) -> PatchGrid:
    """The grid that an encoder's position table is for."""
    return PatchGrid(config.max_rows, config.columns)


def swap_axes(kernel: Tensor) -> Tensor:
    """Weights of the patch projection: (D, 1, bins, frames) <-> (D, 1, frames, bins)."""
    return kernel.transpose(2, 3).contiguous()


def time_major(table: Tensor, num_prefix: int, grid: PatchGrid) -> Tensor:
    """A position table (1, X + N, D) whose patches are frequency-major -> one whose patches are time-major."""
    return _transposed(table, num_prefix, grid.columns, grid.rows)


def frequency_major(table: Tensor, num_prefix: int, grid: PatchGrid) -> Tensor:
    """Inverse of :func:`time_major`."""
    return _transposed(table, num_prefix, grid.rows, grid.columns)


def _transposed(table: Tensor, num_prefix: int, slow: int, fast: int) -> Tensor:
    patches = table[:, num_prefix:].unflatten(1, (slow, fast)).transpose(1, 2).flatten(1, 2)
    return torch.cat([table[:, :num_prefix], patches], dim=1)
