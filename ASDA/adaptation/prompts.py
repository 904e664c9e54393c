"""Deep prompts: learned tokens that each layer's attention sees beside its own (arXiv 2203.12119, section 3.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from ..core.encoder import SpectrogramEncoder
from .method import AdaptationError, require_at_least_one, require_vacant

_INIT_STD = 0.02


class Prompts(nn.Module):
    """Tokens of one layer. Nothing but attention mixes tokens, so that it alone has to see them.

    Args:
        embed_dim: width ``D``.
        count: prompts ``C``.
        gated: mix what is attended with prompts and without by a learned gate, which is 0 at the start.
    """

    def __init__(self, embed_dim: int, count: int, gated: bool):
        super().__init__()
        self.tokens = nn.Parameter(torch.empty(1, count, embed_dim))
        nn.init.normal_(self.tokens, std=_INIT_STD)
        self.gate = nn.Parameter(torch.zeros(1)) if gated else None

    def forward(self, attention: nn.Module, x: Tensor, padding_mask: Tensor | None) -> Tensor:
        """The attention of x (B, S, D) with the prompts in front: (B, S, D)."""
        count = self.tokens.shape[1]
        seen = torch.cat([self.tokens.to(x.dtype).expand(len(x), -1, -1), x], dim=1)  # (B, C + S, D)
        if padding_mask is not None:
            seen_padding = torch.cat([padding_mask.new_zeros(len(x), count), padding_mask], dim=1)
        else:
            seen_padding = None
        prompted = attention(seen, seen_padding)[:, count:]
        if self.gate is None:
            return prompted
        plain = attention(x, padding_mask)
        return plain + self.gate.to(plain.dtype) * (prompted - plain)


@dataclass(frozen=True)
class DeepPrompts:
    """Prompts in every layer.

    Attributes:
        count: tokens of each layer.
        gated: begin with exactly the encoder's output; costs a second pass of each attention. False inserts the tokens
            at full weight, as in the paper: attention then differs from the first update on.
    """

    kind: ClassVar[str] = "prompts"
    folds: ClassVar[bool] = False

    count: int = 12
    gated: bool = True

    def __post_init__(self) -> None:
        require_at_least_one(self, "count")
        if not isinstance(self.gated, bool):
            raise AdaptationError(f"{self.kind}: gated is {self.gated!r}, expected true or false")

    def attach(self, encoder: SpectrogramEncoder) -> list[nn.Module]:
        require_vacant(encoder, "prompts", self.kind)
        added: list[nn.Module] = []
        for block in encoder.stack.blocks:
            block.prompts = Prompts(encoder.embed_dim, self.count, self.gated).to(encoder.device)
            added.append(block.prompts)
        return added
