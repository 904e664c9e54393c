"""The light 2-D convolutional decoder of pre-training (data2vec 2.0, section 3.2)."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from ..core.layer_norm import layer_norm
from ..core.patches import PatchGrid
from ..core.places import Places
from .grouped_convolution import WAYS, measured


class NormGelu(nn.Module):
    """GELU of a LayerNorm over channels without affine part, plus the residual: (B, N, D) -> (B, N, D).

    A module of its own so that it can be compiled to one kernel: on the convolutions around it inductor of torch 2.11
    fails as soon as the length of the grid varies.
    """

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        y = F.gelu(layer_norm(x))
        return y if residual is None else residual + y


class ConvLayer(nn.Sequential):
    """Convolution, norm, GELU and residual of a filled grid. The convolution is named ``0`` as in published files.

    Args:
        conv: keeps the size of the grid.
        residual: whether the input is added in the end; it has as many channels as the output then.

    Attributes:
        backend: one of the `WAYS` to compute the convolution.
    """

    def __init__(self, conv: nn.Conv2d, residual: bool):
        super().__init__(conv)
        self.activate = NormGelu()
        self.residual = residual
        self.backend = "conv"

    def forward(self, x: Tensor, grid: PatchGrid, padding_mask: Tensor | None = None) -> Tensor:  # type: ignore[override]
        """(B, N, D) -> (B, N, D'), 0 where ``padding_mask`` (B, N) is True."""
        y = WAYS[self.backend](x, self[0], grid)  # type: ignore[arg-type]
        y = self.activate(y, x if self.residual else None)
        return y if padding_mask is None else y.masked_fill(padding_mask[..., None], 0.0)


class ConvDecoder2d(nn.Module):
    """Predicts the hidden patches from the kept ones.

    Hidden places get noise, kept ones the encoder's tokens, back in grid order. Then ``num_layers`` times a grouped
    convolution, LayerNorm over channels without affine part and GELU, with a residual where the shapes agree; then a
    linear map. The tokens are channels-last already, so the convolutions get a channels-last view and nothing is
    transposed in memory. Padding is zero at the input of every convolution, as is what lies beyond the grid: a clip's
    predictions do not depend on what it is padded to.

    Args:
        embed_dim: width ``D`` of the tokens.
        decoder_dim: channels inside the decoder.
        num_layers: convolution layers.
        kernel_size: side of the kernel; odd, padded with zeros so that the grid keeps its size.
        groups: groups of the convolutions.
        residual: whether residuals are added.
        mask_noise_std: standard deviation of the noise in the hidden places.
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
        mask_noise_std: float = 0.01,
        checkpoint_activations: bool = False,
    ):
        super().__init__()
        if kernel_size % 2 == 0:
            raise ValueError(f"decoder kernel_size must be odd to keep the grid's size, got {kernel_size}")
        for name, width in (("embed_dim", embed_dim), ("decoder_dim", decoder_dim)):
            if width % groups:
                raise ValueError(f"decoder groups ({groups}) must divide {name} ({width})")
        self.mask_noise_std = mask_noise_std
        self.checkpoint_activations = checkpoint_activations
        widths = [embed_dim] + [decoder_dim] * num_layers
        self.blocks = nn.ModuleList(
            ConvLayer(nn.Conv2d(i, o, kernel_size, padding=kernel_size // 2, groups=groups), residual and i == o)
            for i, o in zip(widths[:-1], widths[1:], strict=True)
        )
        self.proj = nn.Linear(decoder_dim, embed_dim)

    def compile_layers(self, **options: Any) -> None:
        """torch.compile with these options for the layers, in place; for their norms alone where lengths vary."""
        for layer in self._layers():
            (layer.activate if options.get("dynamic") else layer).compile(**options)

    def use(self, backend: str) -> None:
        """Has the layers compute their convolutions in one of the `WAYS`."""
        for layer in self._layers():
            layer.backend = backend

    def measure(self, rows: int, grid: PatchGrid) -> dict[str, float]:
        """Seconds that the last layer's convolution takes in each of the `WAYS`, for tokens (rows, N, D)."""
        return measured(cast(nn.Conv2d, self._layers()[-1][0]), rows, grid)

    def _layers(self) -> list[ConvLayer]:
        return [layer for layer in self.blocks if isinstance(layer, ConvLayer)]

    def forward(self, tokens: Tensor, places: Places, grid: PatchGrid) -> Tensor:
        """Predictions for the hidden places: kept tokens (B * M, K, D) -> (R, D)."""
        return self.decode(self.fill(tokens, places, grid), grid, places.hidden, places.grid_padding)

    def fill(self, tokens: Tensor, places: Places, grid: PatchGrid) -> Tensor:
        """The full grid (B * M, N, D): kept tokens in place, 0 at padding, normal(0, mask_noise_std) in the others."""
        rows, _, D = tokens.shape
        # Drawn in float32: then a seed gives the same noise in every precision (and bfloat16 draws are slow on a CPU).
        noise = torch.empty(rows, grid.num_patches, D, device=tokens.device)
        noise = noise.normal_(0.0, self.mask_noise_std) if self.mask_noise_std > 0 else noise.zero_()
        if places.grid_padding is not None:
            noise = noise.masked_fill_(places.grid_padding[..., None], 0.0)
        return places.fill_grid(tokens, noise.to(tokens.dtype))

    def decode(
        self, x: Tensor, grid: PatchGrid, hidden: Tensor | None = None, padding_mask: Tensor | None = None
    ) -> Tensor:
        """A filled grid (B * M, N, D) -> predictions for all patches, or for those at ``hidden`` (R,) alone: (R, D).

        ``padding_mask``: (B * M, N), True = padding, where the grid is 0; or None.
        """
        for block in self.blocks:
            if self.checkpoint_activations and torch.is_grad_enabled():
                x = checkpoint(block, x, grid, padding_mask, use_reentrant=False, preserve_rng_state=False)
            else:
                x = block(x, grid, padding_mask)
        return self.proj(x if hidden is None else x.flatten(0, 1).index_select(0, hidden))
