"""Inverse block masks: a few square blocks stay, the rest is hidden."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


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
        P, Q = self.grid
        M = self.num_masks
        seeds = torch.randint(self.num_patches, (M, max(self.num_seeds, 0), 1), generator=generator)
        first_row = seeds // Q - self.block_size // 2
        first_column = seeds % Q - self.block_size // 2
        rows, columns = torch.arange(P), torch.arange(Q)
        in_rows = (rows >= first_row) & (rows < first_row + self.block_size)  # (M, seeds, P)
        in_columns = (columns >= first_column) & (columns < first_column + self.block_size)  # (M, seeds, Q)
        blocks = (in_rows[..., :, None] & in_columns[..., None, :]).any(dim=1).flatten(1)  # (M, N)
        # Random order inside, then outside the blocks: the first num_marked patches of it are those of the blocks
        # with random ones dropped, or all of them with random others added.
        order = torch.rand(M, self.num_patches, generator=generator) + blocks
        marked = torch.zeros(M, self.num_patches, dtype=torch.bool)
        marked.scatter_(1, order.topk(self.num_marked, dim=1, sorted=False).indices, True)
        return ~marked if self.inverse else marked
