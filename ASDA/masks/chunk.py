"""Chunk masks: squares of patches are hidden."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from .covering import cover
from .mask import hidden_count


@dataclass(frozen=True)
class ChunkMask:
    """Hides squares of C x C patches, C drawn for each mask (SSAST, section 2.3; MAE-AST, section 3.2).

    Squares are drawn, overlaps allowed, until enough patches are hidden; of a surplus random patches are uncovered, so
    that the number is exact. On a grid of one column (frames) the squares are stretches of C frames. The released
    program of MAE-AST draws one mask for a whole batch, lets squares go on from the highest mel bins into the next
    patches in time, and uncovers the surplus at the end of the clip. Here each clip has masks of its own, squares are
    cut off at the edges of the grid, and the surplus is spread.

    Args:
        grid: patch rows and columns (P, Q).
        num_masks: students ``M``; each gets a mask of its own.
        mask_ratio: share of the patches that is hidden.
        chunk_sizes: sides of the squares that a mask may have, in patches, equally likely.

    Raises:
        ValueError: the grid and the ratio leave no hidden patch, or a side is no whole number of at least 1.
    """

    one_for_batch: ClassVar[bool] = False

    grid: tuple[int, int]
    num_masks: int = 1
    mask_ratio: float = 0.75
    chunk_sizes: tuple[int, ...] = (3, 4, 5)

    def __post_init__(self) -> None:
        hidden_count(self.grid, self.mask_ratio)
        if not self.chunk_sizes or any(not isinstance(size, int) or size < 1 for size in self.chunk_sizes):
            raise ValueError(f"chunk_sizes: expected whole numbers of at least 1, found {self.chunk_sizes}")

    def __call__(self, generator: torch.Generator | None = None) -> Tensor:
        """Returns ``num_masks`` masks, (M, N) bool, True = hidden, every draw taken from ``generator``."""
        drawn = torch.randint(len(self.chunk_sizes), (self.num_masks,), generator=generator)
        sides = torch.tensor(self.chunk_sizes)[drawn]
        return cover(self.grid, sides, sides, hidden_count(self.grid, self.mask_ratio), generator)
