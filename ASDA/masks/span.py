"""Span masks: stretches of consecutive patches are hidden."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from .covering import cover
from .mask import hidden_count


@dataclass(frozen=True)
class SpanMask:
    """Hides spans of consecutive patches, in the order of the sequence (MAE-AST, section 3.2, "chunked frames").

    Of frames (a grid of one column) a span is a stretch of time; on a grid of more columns it runs over all patches of
    a row before the next. Spans are drawn, overlaps allowed, until enough patches are hidden; of a surplus random
    patches are uncovered, so that the number is exact. The released program of MAE-AST keeps the spans and hides the
    rest, contrary to what it says of its shares, which hold for hidden spans: here they are what is hidden.

    Args:
        grid: patch rows and columns (P, Q).
        num_masks: students ``M``; each gets a mask of its own.
        mask_ratio: share of the patches that is hidden.
        span_length: of a span, in patches.

    Raises:
        ValueError: the grid and the ratio leave no hidden patch, or a span has no patch.
    """

    one_for_batch: ClassVar[bool] = False

    grid: tuple[int, int]
    num_masks: int = 1
    mask_ratio: float = 0.75
    span_length: int = 10

    def __post_init__(self) -> None:
        hidden_count(self.grid, self.mask_ratio)
        if not isinstance(self.span_length, int) or self.span_length < 1:
            raise ValueError(f"span_length: expected a whole number of at least 1, found {self.span_length}")

    def __call__(self, generator: torch.Generator | None = None) -> Tensor:
        """Returns ``num_masks`` masks, (M, N) bool, True = hidden, every draw taken from ``generator``."""
        sequence = (self.grid[0] * self.grid[1], 1)
        lengths, ones = torch.full((self.num_masks,), self.span_length), torch.ones(self.num_masks, dtype=torch.int64)
        return cover(sequence, lengths, ones, hidden_count(self.grid, self.mask_ratio), generator)
