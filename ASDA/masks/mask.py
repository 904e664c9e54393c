"""The contract of a mask: what a data loader needs to know of it."""

from __future__ import annotations

from typing import ClassVar, Protocol

import torch
from torch import Tensor


class Mask(Protocol):
    """A frozen dataclass."""

    one_for_batch: ClassVar[bool]  # the clips of a batch share the masks of the first

    @property
    def grid(self) -> tuple[int, int]:
        """Patch rows and columns (P, Q)."""

    @property
    def num_masks(self) -> int:
        """Students ``M``, each with a mask of its own."""

    @property
    def mask_ratio(self) -> float:
        """Share of the patches that is hidden."""

    def __call__(self, generator: torch.Generator | None = None) -> Tensor:
        """(M, N) bool, True = hidden, the same number in each row; every draw is taken from ``generator``."""


def hidden_count(grid: tuple[int, int], mask_ratio: float) -> int:
    """How many patches a mask hides: all but max(1, int((1 - mask_ratio) * N)) (MAE-AST, section 3.2).

    Raises:
        ValueError: the ratio is not between 0 and 1, or it leaves no hidden patch.
    """
    rows, columns = grid
    N = rows * columns
    if not 0.0 < mask_ratio < 1.0:
        raise ValueError(f"mask_ratio: expected a share between 0 and 1, both excluded, found {mask_ratio}")
    kept = max(1, int(N * (1.0 - mask_ratio) + 1e-6))  # as 1 - 0.8 = 0.19999..., which must not lose a patch
    if kept >= N:
        raise ValueError(
            f"a mask ratio of {mask_ratio} on {rows} x {columns} patches leaves no patch that is hidden; use longer "
            "clips or another mask ratio"
        )
    return N - kept


def choose(scores: Tensor, count: int) -> Tensor:
    """The ``count`` patches of each row with the highest scores (M, N): a mask (M, N)."""
    chosen = torch.zeros(scores.shape, dtype=torch.bool)
    return chosen.scatter_(1, scores.topk(count, dim=1, sorted=False).indices, True)
