"""Rectangles at random places until enough patches are covered: what chunks and spans have in common."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .mask import choose


def cover(grid: tuple[int, int], heights: Tensor, widths: Tensor, count: int, generator: torch.Generator | None):
    """Draws rectangles one after the other until they cover at least ``count`` patches, and uncovers the surplus.

    A rectangle may overlap others and hang over the edges of the grid, where it is cut off. All the places in which it
    covers any patch are equally likely, so that those at the edges are covered as often as those in the middle.

    Args:
        grid: patch rows and columns (P, Q).
        heights: (M,), rows of each mask's rectangles.
        widths: (M,), their columns.
        count: patches that are covered in the end; of a surplus, random ones are uncovered.
        generator: every draw is taken from it.

    Returns:
        (M, N) bool, True = covered, ``count`` in each row.
    """
    (P, Q), M = grid, len(heights)
    at_once = _rectangles_at_once(grid, heights, widths, count)
    order = torch.full((M, P * Q), _NEVER)  # the number of the first rectangle that covers a patch
    num_rectangles = 0
    while int((order < _NEVER).sum(dim=1).min()) < count:
        places = torch.rand(2, M, at_once, generator=generator)
        top = (places[0] * (P + heights[:, None] - 1)).long() - heights[:, None] + 1
        left = (places[1] * (Q + widths[:, None] - 1)).long() - widths[:, None] + 1
        numbers = num_rectangles + torch.arange(at_once)
        _number(order.view(M, P, Q), top, left, heights, widths, numbers)
        num_rectangles += at_once
    last = order.kthvalue(count, dim=1, keepdim=True).values  # the rectangle with which a mask has covered enough
    return choose(torch.rand(M, P * Q, generator=generator) + (order <= last), count)


_NEVER = torch.iinfo(torch.int64).max


def _rectangles_at_once(grid: tuple[int, int], heights: Tensor, widths: Tensor, count: int) -> int:
    """About as many as it takes: each covers a patch that is not covered yet with the same probability."""
    (P, Q), N = grid, grid[0] * grid[1]
    chance = (heights * widths / ((P + heights - 1) * (Q + widths - 1))).min().item()
    left = max(N - count, 1) / N
    return 8 + math.ceil(1.2 * math.log(left) / math.log1p(-chance)) if chance < 1.0 else 1


def _number(order: Tensor, top: Tensor, left: Tensor, heights: Tensor, widths: Tensor, numbers: Tensor) -> None:
    """Writes into ``order`` (M, P, Q), where it is larger, the number of the rectangles (M, rectangles) there."""
    M, P, Q = order.shape
    row = top[..., None, None] + torch.arange(int(heights.max()))[:, None]  # (M, rectangles, height, 1)
    column = left[..., None, None] + torch.arange(int(widths.max()))  # (M, rectangles, 1, width)
    inside = (row >= 0) & (row < torch.minimum(top + heights[:, None], torch.tensor(P))[..., None, None])
    inside = inside & (column >= 0)
    inside = inside & (column < torch.minimum(left + widths[:, None], torch.tensor(Q))[..., None, None])
    places = torch.where(inside, row * Q + column, 0).flatten(1)
    values = torch.where(inside, numbers[:, None, None], _NEVER).flatten(1)
    order.view(M, P * Q).scatter_reduce_(1, places, values, "amin")
