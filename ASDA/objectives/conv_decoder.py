"""The light 2-D convolutional decoder of pre-training (data2vec 2.0, section 3.2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint


class NormGelu(nn.Module):
    """GELU of a LayerNorm over channels without affine part, plus the residual: (B, N, D) -> (B, N, D).

    A module of its own so that it can be compiled to one kernel: on the convolutions around it inductor of torch 2.11
    fails as soon as the length of the grid varies.
    """

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        y = F.gelu(F.layer_norm(x, x.shape[-1:]))
        return y if residual is None else residual + y


class ConvDecoder2d(nn.Module):
    """Predicts every patch of the grid from the kept ones: (B, N, D) -> (B, N, D).

    ``num_layers`` times a grouped convolution, LayerNorm over channels without affine part and GELU, with a residual
    where the shapes agree; then a linear map. The tokens are channels-last already, so the convolutions get a
    channels-last view and nothing is transposed in memory.

    Args:
        embed_dim: width ``D`` of the tokens.
        decoder_dim: channels inside the decoder.
        num_layers: convolution layers.
        kernel_size: side of the kernel; odd, padded with zeros so that the grid keeps its size.
        groups: groups of the convolutions.
        residual: whether residuals are added.
        checkpoint_activations: recompute the layers in the backward pass instead of keeping their activations.
    """

    def __init__(
        self,
        embed_dim: int,
        *,
        decoder_dim: int = 768,
        num_layers: int = 6,
        kernel_size: int = 3,
        groups: int = 16,
        residual: bool = True,
        checkpoint_activations: bool = False,
    ):
        super().__init__()
        if kernel_size % 2 == 0:
            raise ValueError(f"decoder kernel_size must be odd to keep the grid's size, got {kernel_size}")
        for name, width in (("embed_dim", embed_dim), ("decoder_dim", decoder_dim)):
            if width % groups:
                raise ValueError(f"decoder groups ({groups}) must divide {name} ({width})")
        self.residual = residual
        self.checkpoint_activations = checkpoint_activations
        widths = [embed_dim] + [decoder_dim] * num_layers
        # Each convolution sits in a container of its own because published files name it blocks.J.0.
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(i, o, kernel_size, padding=kernel_size // 2, groups=groups))
            for i, o in zip(widths[:-1], widths[1:], strict=True)
        )
        self.activate = NormGelu()
        self.proj = nn.Linear(decoder_dim, embed_dim)

    def _layer(self, block: nn.Module, x: Tensor, grid: tuple[int, int]) -> Tensor:
        y = block(x.unflatten(1, grid).permute(0, 3, 1, 2))  # (B, D, P, Q), a channels-last view
        y = y.permute(0, 2, 3, 1).flatten(1, 2)  # (B, N, D), a view again
        return self.activate(y, x if self.residual and x.shape == y.shape else None)

    def forward(self, tokens: Tensor, grid: tuple[int, int], places: Tensor | None = None) -> Tensor:
        """Predictions for the patches of the grid.

        Args:
            tokens: (B, N, D), in grid order.
            grid: patch rows and columns (P, Q).
            places: (R,) indices into the B * N patches of the batch, or None for all.

        Returns:
            (B, N, D), or (R, D) with ``places``.
        """
        x = tokens
        for block in self.blocks:
            if self.checkpoint_activations and torch.is_grad_enabled():
                x = checkpoint(self._layer, block, x, grid, use_reentrant=False)
            else:
                x = self._layer(block, x, grid)
        return self.proj(x if places is None else x.flatten(0, 1).index_select(0, places))
