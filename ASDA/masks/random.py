"""Random masks: each patch is hidden with the same chance, whatever its neighbours are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from .mask import choose, hidden_count


@dataclass(frozen=True)
class RandomMask:
    """Hides patches that are drawn uniformly, without regard to where they are (MAE-AST, section 3.2).

    Args:
        grid: patch rows and columns (P, Q).
        num_masks: students ``M``; each gets a mask of its own.
        mask_ratio: share of the patches that is hidden.

    Raises:
        ValueError: the grid and the ratio leave no hidden patch.
    """

    one_for_batch: ClassVar[bool] = False

    grid: tuple[int, int]
    num_masks: int = 1
    mask_ratio: float = 0.75

    def __post_init__(self) -> None:
        hidden_count(self.grid, self.mask_ratio)

    def __call__(self, generator: torch.Generator | None = None) -> Tensor:
        """Returns ``num_masks`` masks, (M, N) bool, True = hidden, every draw taken from ``generator``."""
        rows, columns = self.grid
        scores = torch.rand(self.num_masks, rows * columns, generator=generator)
        return choose(scores, hidden_count(self.grid, self.mask_ratio))


@dataclass(frozen=True)
class RandomBatchMask(RandomMask):
    """The same, but the clips of a batch share the masks of the first: all students keep the same places."""

    one_for_batch: ClassVar[bool] = True
