"""A grouped convolution of the tokens of a grid, by torch's or as products of matrices: the same but for rounding."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.patches import PatchGrid

_TRIES = 3


def convolve(x: Tensor, conv: nn.Conv2d, grid: PatchGrid) -> Tensor:
    """By torch's convolution: (B, N, D) -> (B, N, D')."""
    y = conv(x.unflatten(1, tuple(grid)).permute(0, 3, 1, 2))  # (B, D, P, Q), a channels-last view
    return y.permute(0, 2, 3, 1).flatten(1, 2)  # a view again


def multiply(x: Tensor, conv: nn.Conv2d, grid: PatchGrid) -> Tensor:
    """By one batched product, in which each group multiplies what is around a place by its kernel.

    What is around the places is k * k times as large as ``x``. It is made again in the backward pass, not kept.

    Args:
        x: (B, N, D).
        conv: its kernels are odd, and zeros around the grid keep its size.
        grid: of N patches.
    """
    weight, bias = conv.weight, conv.bias
    if torch.is_autocast_enabled(x.device.type):  # which ends where the backward pass begins
        dtype = torch.get_autocast_dtype(x.device.type)
        x, weight, bias = x.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)
    kernel = weight.unflatten(0, (conv.groups, -1)).permute(0, 3, 4, 2, 1)  # (G, k, k, D / G, D' / G)
    y = _Product.apply(x.unflatten(1, tuple(grid)), kernel).flatten(1, 2)
    return y if bias is None else y + bias


WAYS: dict[str, Callable[[Tensor, nn.Conv2d, PatchGrid], Tensor]] = {"conv": convolve, "matmul": multiply}


def measured(conv: nn.Conv2d, rows: int, grid: PatchGrid) -> dict[str, float]:
    """Seconds that each of the `WAYS` takes for tokens (rows, N, D), forward and backward: the least of some tries.

    One for which there is not enough memory takes infinitely long.
    """
    weight = conv.weight
    x = torch.ones(rows, grid.num_patches, conv.in_channels, dtype=weight.dtype, device=weight.device)
    x.requires_grad_()
    return {name: min(_seconds(way, conv, x, grid) for _ in range(1 + _TRIES)) for name, way in WAYS.items()}


def _seconds(way: Callable, conv: nn.Conv2d, x: Tensor, grid: PatchGrid) -> float:
    _wait(x.device)
    begin = time.perf_counter()
    try:
        y = way(x, conv, grid)
        torch.autograd.grad(y, (x, conv.weight), torch.ones_like(y))
    except torch.OutOfMemoryError:
        return math.inf
    _wait(x.device)
    return time.perf_counter() - begin


def _wait(device: torch.device) -> None:
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


class _Product(torch.autograd.Function):
    """(B, P, Q, D) and (G, k, k, D / G, D' / G) -> (B, P, Q, D')."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, kernel: Tensor) -> Tensor:
        ctx.save_for_backward(x, kernel)
        return _product(x, kernel)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        x, kernel = ctx.saved_tensors
        of_kernel = torch.bmm(_around(x, kernel).transpose(1, 2), _by_group(grad, len(kernel)))
        # A place has been seen by those around it, from the opposite side.
        of_x = _product(grad, kernel.flip(1, 2).transpose(3, 4))
        return of_x, of_kernel.unflatten(1, kernel.shape[1:4])


def _product(x: Tensor, kernel: Tensor) -> Tensor:
    y = torch.bmm(_around(x, kernel), kernel.flatten(1, 3))  # (G, B * P * Q, D' / G)
    return y.unflatten(1, x.shape[:3]).movedim(0, 3).flatten(3)


def _around(x: Tensor, kernel: Tensor) -> Tensor:
    """What is around each place, (B, P, Q, D) -> (G, B * P * Q, k * k * D / G); beyond the grid there is 0."""
    groups, side = kernel.shape[:2]
    half = side // 2
    padded = F.pad(x.unflatten(3, (groups, -1)), (0, 0, 0, 0, half, half, half, half))
    windows = padded.unfold(1, side, 1).unfold(2, side, 1)  # (B, P, Q, G, D / G, k, k), a view
    return windows.permute(3, 0, 1, 2, 5, 6, 4).flatten(4, 6).flatten(1, 3)


def _by_group(y: Tensor, groups: int) -> Tensor:
    """(B, P, Q, D') -> (G, B * P * Q, D' / G)."""
    return y.unflatten(3, (groups, -1)).movedim(3, 0).flatten(1, 3)
