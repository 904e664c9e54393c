"""Positions of the patches of a grid, and of the prefix tokens where the whole sequence is counted.

Fixed tables are computed, a learned one is trained. A table has ``max_rows`` patch rows; a shorter clip uses the first
rows of a fixed one and the middle rows of a learned one, a longer clip a learned one interpolated (AST, section 2.1).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from .config import EncoderConfig
from .patches import PatchGrid, real_rows


def sincos(position: Tensor, dim: int) -> Tensor:
    """(N,) -> (N, dim): sines, then cosines, of position / 10000^(2i / dim), in float32."""
    if dim % 2:
        raise ValueError(f"sine-cosine positions need an even number of channels, got {dim}")
    frequency = 1.0 / 10000 ** (torch.arange(dim // 2, dtype=torch.float32) / (dim / 2))
    angle = position.to(torch.float32)[:, None] * frequency[None, :]
    return torch.cat([angle.sin(), angle.cos()], dim=1)


def sincos_2d(grid: PatchGrid, num_prefix: int, dim: int) -> Tensor:  # noqa: ARG001 - prefix tokens have no place in it
    """Positions of the rows (time) and columns (mel) of the patches, (N, dim), time-major.

    The mel coordinate fills the first half of the channels, the time coordinate the second.

    Raises:
        ValueError: 4 does not divide ``dim``.
    """
    if dim % 4:
        raise ValueError(f"2-D sine-cosine positions need a number of channels that 4 divides, got {dim}")
    time = torch.arange(grid.rows).repeat_interleave(grid.columns)
    mel = torch.arange(grid.columns).repeat(grid.rows)
    return torch.cat([sincos(mel, dim // 2), sincos(time, dim // 2)], dim=1)


def sincos_1d(grid: PatchGrid, num_prefix: int, dim: int) -> Tensor:
    """Positions that count the whole sequence, prefix tokens and patches in time-major order, (X + N, dim)."""
    return sincos(torch.arange(num_prefix + grid.num_patches), dim)


def sincos_1d_patches(grid: PatchGrid, num_prefix: int, dim: int) -> Tensor:  # noqa: ARG001
    """Positions that count the patches alone, (N, dim): what `sincos_1d` meant in files of format version 1."""
    return sincos(torch.arange(grid.num_patches), dim)


def interleaved_1d(grid: PatchGrid, num_prefix: int, dim: int) -> Tensor:
    """As `sincos_1d`, but sines and cosines in turns (MAE-AST, section 3.1): (X + N, dim)."""
    return sincos_1d(grid, num_prefix, dim).unflatten(1, (2, dim // 2)).transpose(1, 2).flatten(1)


def learned(grid: PatchGrid, num_prefix: int, dim: int) -> Tensor:
    """Initial values of a learned table of the whole sequence, (X + N, dim): truncated normal of 0.02."""
    table = torch.empty(num_prefix + grid.num_patches, dim)
    torch.nn.init.trunc_normal_(table, std=0.02)  # what it returns is nothing while transformers 4 loads a model
    return table


@dataclass(frozen=True)
class PositionKind:
    """A kind of positions.

    Attributes:
        table: grid, number of prefix tokens, width -> entries (n, dim).
        counts_prefix: the entries are those of the whole sequence, prefix tokens included.
        is_learned: the table is trained and fits clips of any length; its first entries are the prefix tokens'.
    """

    table: Callable[[PatchGrid, int, int], Tensor]
    counts_prefix: bool = False
    is_learned: bool = False


POSITIONS = {
    "sincos_2d": PositionKind(sincos_2d),
    "sincos_1d": PositionKind(sincos_1d, counts_prefix=True),
    "sincos_1d_patches": PositionKind(sincos_1d_patches),
    "interleaved_1d": PositionKind(interleaved_1d, counts_prefix=True),
    "learned": PositionKind(learned, counts_prefix=True, is_learned=True),
}


def position_table(config: EncoderConfig) -> Tensor:
    """The table of an encoder, (1, n, D)."""
    grid = PatchGrid(config.max_rows, config.columns)
    return POSITIONS[config.positions].table(grid, config.num_prefix_tokens, config.stack.embed_dim)[None]


def positions_of(
    table: Tensor, grid: PatchGrid, config: EncoderConfig, padding_mask: Tensor | None = None
) -> tuple[Tensor | None, Tensor]:
    """What the clips' tokens get of an encoder's table.

    Where positions depend on the length, a clip with padding has those of its own length, whatever it is padded to.

    Args:
        table: (1, n, D).
        grid: of the clips' patches.
        config: the encoder's.
        padding_mask: (B, N), True = padding, or None.

    Returns:
        Positions of the prefix tokens (1 or B, X, D), or None if they have none, and of all patches (1 or B, N, D).
        Those of padding have no meaning.

    Raises:
        ValueError: clips of different lengths, and some longer than a learned table, which would be interpolated.
    """
    kind, X, N = POSITIONS[config.positions], config.num_prefix_tokens, grid.num_patches
    if padding_mask is not None and kind.is_learned:
        return table[:, :X], _fit_padded(table[:, X:], config, grid, padding_mask)
    if padding_mask is not None and kind.counts_prefix and config.prefix_place == "middle":
        return _around_the_middle(table, X, grid, padding_mask)
    if kind.is_learned:
        return table[:, :X], _fit(table[:, X:], config, grid)
    if not kind.counts_prefix:
        return None, table[:, :N]
    if config.prefix_place != "middle":
        return table[:, :X], table[:, X : X + N]
    first = N // 2
    return table[:, first : first + X], torch.cat([table[:, :first], table[:, first + X : X + N]], dim=1)


def _fit(table: Tensor, config: EncoderConfig, grid: PatchGrid) -> Tensor:
    """A learned table for a clip of more rows (bilinear) or fewer (those in the middle): (1, n, D) -> (1, N, D)."""
    if grid.rows > config.max_rows:
        return fit_grid(table, PatchGrid(config.max_rows, grid.columns), grid)
    first = first_of_middle(config.max_rows, grid.rows) * grid.columns
    return table.index_select(1, first + torch.arange(grid.num_patches, device=table.device))


def first_of_middle(rows: int, wanted: int) -> int:
    """The first of so many rows in the middle of others, rounded as AST's and SSAST's own programs do."""
    return rows // 2 - wanted // 2


def fit_grid(table: Tensor, grid: PatchGrid, wanted: PatchGrid) -> Tensor:
    """Learned positions of the patches of a grid for another one: (1, n, D) -> (1, N, D) (AST, section 2.2).

    A side that becomes shorter is cut to its middle, one that becomes longer is interpolated.
    """
    image = table.transpose(1, 2).unflatten(2, tuple(grid))  # (1, D, P, Q)
    size = [max(old, new) for old, new in zip(grid, wanted, strict=True)]
    if size != list(grid):
        image = F.interpolate(image.float(), size=size, mode="bilinear").to(table.dtype)
    for axis, length in zip((2, 3), wanted, strict=True):
        image = image.narrow(axis, first_of_middle(image.shape[axis], length), length)
    return image.flatten(2).transpose(1, 2)


def _fit_padded(table: Tensor, config: EncoderConfig, grid: PatchGrid, padding_mask: Tensor) -> Tensor:
    """A learned table for clips of different lengths, each with the rows in the middle: (1, n, D) -> (B, N, D)."""
    rows = config.max_rows
    if grid.rows > rows:
        raise ValueError(
            f"clips of up to {grid.rows} patch rows under a padding mask, but the learned position table has {rows}: "
            "longer clips are interpolated, each by its own length; cut the clips, or give each length its own batch"
        )
    first = rows // 2 - real_rows(padding_mask, grid) // 2  # (B,), as `first_of_middle`
    row = (first[:, None] + torch.arange(grid.rows, device=first.device)).clamp(max=rows - 1)  # (B, P)
    found = table.unflatten(1, (rows, grid.columns))[0].index_select(0, row.flatten())  # (B * P, Q, D)
    return found.unflatten(0, tuple(row.shape)).flatten(1, 2)


def _around_the_middle(table: Tensor, X: int, grid: PatchGrid, padding_mask: Tensor) -> tuple[Tensor, Tensor]:
    """Positions of prefix tokens in the middle of each clip's own patches, (B, X, D), and of these, (B, N, D)."""
    device = padding_mask.device
    first = real_rows(padding_mask, grid)[:, None] * grid.columns // 2  # (B, 1)
    patch = torch.arange(grid.num_patches, device=device)
    patch = patch + X * (patch >= first)  # (B, N)
    prefix = first + torch.arange(X, device=device)
    return tuple(table[0].index_select(0, i.flatten()).unflatten(0, tuple(i.shape)) for i in (prefix, patch))
