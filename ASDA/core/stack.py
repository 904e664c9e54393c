"""A stack of transformer blocks: an encoder's, and a transformer decoder's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .block import BLOCKS, draws_numbers
from .config import Regularisation, StackConfig, choose
from .layer_norm import LayerNorm


class TransformerStack(nn.Module):
    """A LayerNorm (or none), blocks, a LayerNorm (or none): (B, S, D) -> (B, S, D).

    Args:
        config: what it consists of.
        regularisation: how it is trained.

    Raises:
        ConfigError: the kind of norm is not known.
    """

    def __init__(self, config: StackConfig, regularisation: Regularisation | None = None):
        super().__init__()
        choose("stack.norm", config.norm, BLOCKS)
        how = regularisation or Regularisation()
        self.config = config
        self.layerdrop = how.layerdrop
        self.checkpoint_activations = how.checkpoint_activations

        def norm(present: bool) -> nn.Module:
            return LayerNorm(config.embed_dim, eps=config.norm_eps) if present else nn.Identity()

        self.norm_first = norm(config.norm_first)
        self.input_drop = nn.Dropout(how.input_dropout)
        self.blocks = nn.ModuleList(
            BLOCKS[config.norm](
                config.attention.build(
                    config.embed_dim,
                    config.num_heads,
                    layer,
                    attention_dropout=how.attention_dropout,
                    projection_dropout=how.projection_dropout,
                ),
                config.embed_dim,
                config.mlp_dim,
                norm_eps=config.norm_eps,
                drop_path=rate,
                activation_dropout=how.activation_dropout,
                mlp_dropout=how.mlp_dropout,
            )
            for layer, rate in enumerate(torch.linspace(*how.drop_path, config.depth, device="cpu").tolist(), start=1)
        )
        self.norm_last = norm(config.norm_last)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Weights of the linear maps as in BERT: normal 0.02, zero bias."""
        for module in self.blocks.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def compile_blocks(self, **options: Any) -> None:
        """torch.compile with these options for the blocks, in place: tensor names stay."""
        for block in self.blocks:
            block.compile(**options)

    def enter(self, tokens: Tensor) -> Tensor:
        """What the first block sees of the tokens (B, S, D)."""
        return self.input_drop(self.norm_first(tokens))

    def layers(self, tokens: Tensor, padding_mask: Tensor | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields, layer by layer, the block's output and its MLP output, both (B, S, D).

        Args:
            tokens: what :meth:`enter` has made of them.
            padding_mask: (B, S), True = padding.
        """
        for block in self._drawn_blocks():
            if self.checkpoint_activations and torch.is_grad_enabled():
                draws = self.training and draws_numbers(block)  # else the generator's state need not be kept
                tokens, m = checkpoint(block, tokens, padding_mask, use_reentrant=False, preserve_rng_state=draws)
            else:
                tokens, m = block(tokens, padding_mask)
            yield tokens, m

    def _drawn_blocks(self) -> list[nn.Module]:
        """The blocks that take part: all of them, but while training those that layerdrop leaves."""
        if not self.training or self.layerdrop == 0.0:
            return list(self.blocks)
        draws = torch.rand(len(self.blocks), device="cpu").tolist()
        return [block for block, draw in zip(self.blocks, draws, strict=True) if draw >= self.layerdrop]

    def forward(self, tokens: Tensor, padding_mask: Tensor | None = None) -> Tensor:
        """All of it: (B, S, D), (B, S) True = padding -> (B, S, D)."""
        tokens = self.enter(tokens)
        for output, _ in self.layers(tokens, padding_mask):
            tokens = output  # a list of them would keep every layer's tensors alive
        return self.norm_last(tokens)
