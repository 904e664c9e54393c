"""The light 2-D convolutional decoder of pre-training (data2vec 2.0, section 3.2)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


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
    ):
        super().__init__()
        if kernel_size % 2 == 0:
            raise ValueError(f"decoder kernel_size must be odd to keep the grid's size, got {kernel_size}")
        for name, width in (("embed_dim", embed_dim), ("decoder_dim", decoder_dim)):
            if width % groups:
                raise ValueError(f"decoder groups ({groups}) must divide {name} ({width})")
        self.residual = residual
        widths = [embed_dim] + [decoder_dim] * num_layers
        # Each convolution sits in a container of its own because published files name it blocks.J.0.
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(i, o, kernel_size, padding=kernel_size // 2, groups=groups))
            for i, o in zip(widths[:-1], widths[1:], strict=True)
        )
        self.proj = nn.Linear(decoder_dim, embed_dim)

    def forward(self, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        x = tokens.unflatten(1, grid)  # (B, P, Q, D)
        for block in self.blocks:
            y = block(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)  # (B, P, Q, D), channels-last throughout
            y = F.gelu(F.layer_norm(y, y.shape[-1:]))
            x = x + y if self.residual and x.shape == y.shape else y
        return self.proj(x).flatten(1, 2)
