"""Vision transformers over spectrograms as images, frequency x time, and this project's encoder, time x frequency.

AST and SSAST come from image networks: a patch's weights are (mel bins, frames) there, and patches are counted column by
column, frequency last to change least. The same numbers in another order, both ways.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ...core.patches import PatchGrid


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
