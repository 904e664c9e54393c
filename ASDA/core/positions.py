"""Positions of the patches of a grid."""

from __future__ import annotations

import torch
from torch import Tensor


def sincos(position: Tensor, dim: int) -> Tensor:
    """(N,) -> (N, dim): sines, then cosines, of position / 10000^(2i / dim), in float32."""
    if dim % 2:
        raise ValueError(f"sine-cosine positions need an even number of channels, got {dim}")
    frequency = 1.0 / 10000 ** (torch.arange(dim // 2, dtype=torch.float32) / (dim / 2))
    angle = position.to(torch.float32)[:, None] * frequency[None, :]
    return torch.cat([angle.sin(), angle.cos()], dim=1)


def sincos_2d(rows: int, columns: int, dim: int) -> Tensor:
    """Positions of a ``rows`` (time) x ``columns`` (mel) grid, (rows * columns, dim), time-major.

    The mel coordinate fills the first half of the channels, the time coordinate the second.

    Raises:
        ValueError: 4 does not divide ``dim``.
    """
    if dim % 4:
        raise ValueError(f"2-D sine-cosine positions need a number of channels that 4 divides, got {dim}")
    time = torch.arange(rows).repeat_interleave(columns)
    mel = torch.arange(columns).repeat(rows)
    return torch.cat([sincos(mel, dim // 2), sincos(time, dim // 2)], dim=1)


def sincos_1d(rows: int, columns: int, dim: int) -> Tensor:
    """Positions that count the patches of the grid in time-major order, (rows * columns, dim)."""
    return sincos(torch.arange(rows * columns), dim)


POSITIONS = {"sincos_2d": sincos_2d, "sincos_1d": sincos_1d}
