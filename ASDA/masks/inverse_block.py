"""Inverse block masks: a few square blocks stay, the rest is hidden."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from .mask import choose


@dataclass(frozen=True)
class InverseBlockMask:
    """Samples masks that keep a few square blocks of the patch grid and hide the rest (EAT, section 3.2).

    ``int(N * (ratio + adjust) / block_size^2)`` seeds are drawn uniformly with replacement; each marks the block
    centred on it, cut off at the borders. Random patches are then dropped or added until exactly
    ``int(N * ratio)`` are marked. With ``inverse`` the marked patches are the kept ones and ratio = 1 - mask_ratio;
    without it they are the hidden ones and ratio = mask_ratio.

    Args:
        grid: patch rows and columns (P, Q).
        num_masks: students ``M``; each gets a mask of its own.
        mask_ratio: share of the patches that is hidden.
        block_size: side of a block, in patches.
        adjust: added to the ratio when the seeds are counted, as blocks overlap and are cut at the borders.
        inverse: whether blocks are kept (True) or hidden (False).

    Raises:
        ValueError: the grid and the ratio leave no kept or no hidden patch.
    """

    one_for_batch: ClassVar[bool] = False

    grid: tuple[int, int]
    num_masks: int = 1
    mask_ratio: float = 0.8
    block_size: int = 5
    adjust: float = 0.07
    inverse: bool = True

    def __post_init__(self) -> None:
        if not 0 < self.num_marked < self.num_patches:
            raise ValueError(
                f"a mask ratio of {self.mask_ratio} on {self.grid[0]} x {self.grid[1]} patches leaves no patch that is "
                f"{'kept' if (self.num_marked == 0) == self.inverse else 'hidden'}; "
                "use longer clips or another mask ratio"
            )

    @property
    def num_patches(self) -> int:
        return self.grid[0] * self.grid[1]

    @property
    def _marked_ratio(self) -> float:
        return 1.0 - self.mask_ratio if self.inverse else self.mask_ratio

    @property
    def num_marked(self) -> int:
        # The tiny constant keeps 1 - 0.8 = 0.19999... from losing a patch where N * 0.2 is whole.
        return int(self.num_patches * self._marked_ratio + 1e-6)

    @property
    def num_seeds(self) -> int:
        return int(self.num_patches * (self._marked_ratio + self.adjust) / self.block_size**2 + 1e-6)

    def __call__(self, generator: torch.Generator | None = None) -> Tensor:
        """Returns ``num_masks`` masks, (M, N) bool, True = hidden, every draw taken from ``generator``."""
        M = self.num_masks
        seeds = torch.randint(self.num_patches, (M, max(self.num_seeds, 0), 1), generator=generator).squeeze(2)
        blocks = self._blocks(seeds)
        # Random order inside, then outside the blocks: the first num_marked patches of it are those of the blocks
        # with random ones dropped, or all of them with random others added.
        order = torch.rand(M, self.num_patches, generator=generator) + blocks
        marked = choose(order, self.num_marked)
        return ~marked if self.inverse else marked

    def _blocks(self, seeds: Tensor) -> Tensor:
        """Patches that lie in a block around one of the seeds (M, seeds): (M, N) bool.

        The corners of the blocks are summed up over rows and columns, which gives each patch the number of blocks that
        it lies in: memory grows with the patches, not with seeds times patches.
        """
        (P, Q), M = self.grid, len(seeds)
        top, left = seeds // Q - self.block_size // 2, seeds % Q - self.block_size // 2
        rows = [edge.clamp(0, P) for edge in (top, top + self.block_size)]
        columns = [edge.clamp(0, Q) for edge in (left, left + self.block_size)]
        counts = torch.zeros(M, (P + 1) * (Q + 1), dtype=torch.int32)
        for i, j in ((0, 0), (0, 1), (1, 0), (1, 1)):
            sign = torch.full_like(seeds, 1 if i == j else -1, dtype=torch.int32)
            counts.scatter_add_(1, rows[i] * (Q + 1) + columns[j], sign)
        counts = counts.view(M, P + 1, Q + 1).cumsum(1, dtype=torch.int32).cumsum(2, dtype=torch.int32)
        return (counts[:, :P, :Q] > 0).flatten(1)
