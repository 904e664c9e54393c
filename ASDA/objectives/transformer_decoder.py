"""The transformer decoder of a masked autoencoder (MAE-AST, section 3.3)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ..core.config import ConfigError, EncoderConfig, Regularisation, StackConfig
from ..core.patches import PatchGrid
from ..core.places import Places
from ..core.positions import POSITIONS, position_table, positions_of
from ..core.stack import TransformerStack


class TransformerDecoder(nn.Module):
    """Reads the hidden patches off a full sequence: the kept tokens in their places, a learned token in the others.

    Positions are added to all of them, those of the encoder's kind but without prefix tokens, which do not get here.

    Args:
        encoder: the architecture whose tokens it gets.
        stack: its own transformer blocks.
        regularisation: how it is trained.
        project: a linear map from the encoder's width to the decoder's before anything else.

    Raises:
        ConfigError: the widths differ and there is no projection.
    """

    positions: Tensor

    def __init__(
        self,
        encoder: EncoderConfig,
        stack: StackConfig,
        regularisation: Regularisation | None = None,
        *,
        project: bool = False,
    ):
        super().__init__()
        if not project and stack.embed_dim != encoder.stack.embed_dim:
            raise ConfigError(
                f"a decoder of width {stack.embed_dim} needs a projection from the encoder's {encoder.stack.embed_dim}"
            )
        self._config = replace(encoder, stack=stack, num_prefix_tokens=0)
        self.project = nn.Linear(encoder.stack.embed_dim, stack.embed_dim) if project else nn.Identity()
        self.mask_token = nn.Parameter(torch.rand(stack.embed_dim))
        table = position_table(self._config)
        if POSITIONS[encoder.positions].is_learned:
            self.positions = nn.Parameter(table)
        else:
            self.register_buffer("positions", table)
        self.stack = TransformerStack(stack, regularisation)

    def compile_layers(self, **options: Any) -> None:
        """torch.compile for the blocks, in place."""
        self.stack.compile_blocks(**options)

    def forward(self, tokens: Tensor, places: Places, grid: PatchGrid) -> Tensor:
        """What the hidden places have after the last block: kept tokens (B * M, K, D) -> (R, D)."""
        x = self.project(tokens)
        masked = self.mask_token.to(x.dtype).expand(len(x), grid.num_patches, -1)
        x = places.fill_grid(x, masked.clone())  # (B * M, N, D)
        _, positions = positions_of(self.positions, grid, self._config)
        x = self.stack(x + positions.to(x.dtype), places.grid_padding)
        return x.flatten(0, 1).index_select(0, places.hidden)
