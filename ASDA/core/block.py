"""Transformer blocks, post-norm and pre-norm, with the MLP output handed out as the teacher's target.

Each block has places for adapters: ``after_attention`` in series, ``beside_mlp`` in parallel (arXiv 2401.10544), and
``prompts`` for tokens that its attention sees.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .layer_norm import LayerNorm

# Written here and not taken from timm: the Hugging Face export carries this folder's source along, and the place
# where that is loaded has torch alone.


class DropPath(nn.Module):
    """Stochastic depth: drops a whole residual branch per example with probability ``p`` while training."""

    def __init__(self, p: float = 0.0):
        super().__init__()
        if not 0.0 <= p < 1.0:
            raise ValueError(f"drop path probability must be in [0, 1), got {p}")
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0.0:
            return x
        keep = 1.0 - self.p
        shape = (x.shape[0],) + (1,) * (x.ndim - 1)
        return x * torch.empty(shape, dtype=x.dtype, device=x.device).bernoulli_(keep).div_(keep)

    def extra_repr(self) -> str:
        return f"p={self.p}"


class Mlp(nn.Module):
    """Linear, exact GELU, linear: (..., D) -> (..., D)."""

    def __init__(self, embed_dim: int, hidden_dim: int, *, activation_dropout: float = 0.0):
        super().__init__()
        self.fc1 = nn.Linear(embed_dim, hidden_dim)
        self.act = nn.GELU()
        self.drop = nn.Dropout(activation_dropout)
        self.fc2 = nn.Linear(hidden_dim, embed_dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.drop(self.act(self.fc1(x))))


class Block(nn.Module):
    """What both kinds of block consist of.

    Args:
        attention: a module (B, S, D), padding mask -> (B, S, D).
        embed_dim: width ``D``.
        mlp_dim: hidden width of the MLP.
        norm_eps: eps of LN1 and LN2.
        drop_path: probability of dropping each residual branch of an example.
        activation_dropout: dropout inside the MLP.
        mlp_dropout: dropout after the MLP.

    Attributes:
        prompts: what has the attention see more than the block's own tokens; None until it is attached.
        after_attention: what the attention's output goes through; the identity until an adapter is attached.
        beside_mlp: what is added to the MLP's output, from the same input; None until an adapter is attached.
    """

    def __init__(
        self,
        attention: nn.Module,
        embed_dim: int,
        mlp_dim: int,
        *,
        norm_eps: float = 1e-6,
        drop_path: float = 0.0,
        activation_dropout: float = 0.0,
        mlp_dropout: float = 0.0,
    ):
        super().__init__()
        self.attn = attention
        self.prompts: nn.Module | None = None
        self.after_attention: nn.Module = nn.Identity()
        self.norm1 = LayerNorm(embed_dim, eps=norm_eps)
        self.mlp = Mlp(embed_dim, mlp_dim, activation_dropout=activation_dropout)
        self.beside_mlp: nn.Module | None = None
        self.mlp_drop = nn.Dropout(mlp_dropout)
        self.norm2 = LayerNorm(embed_dim, eps=norm_eps)
        self.drop_path = DropPath(drop_path)

    def attend(self, x: Tensor, padding_mask: Tensor | None) -> Tensor:
        """The attention branch: (B, S, D) -> (B, S, D)."""
        prompts = self.prompts
        attended = self.attn(x, padding_mask) if prompts is None else prompts(self.attn, x, padding_mask)
        return self.drop_path(self.after_attention(attended))

    def widen(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The MLP branch: what is added to the residual, and the MLP's own output, both (B, S, D)."""
        m = self.mlp_drop(self.mlp(x))
        return self.drop_path(m if self.beside_mlp is None else m + self.beside_mlp(x)), m


class PostNormBlock(Block):
    """``x = LN1(x + S(attn(x))); x = LN2(x + mlp(x) + A(x))``, S and A the places for adapters."""

    def forward(self, x: Tensor, padding_mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Returns the block's output and its MLP output (the per-layer target of a teacher), both (B, S, D)."""
        x = self.norm1(x + self.attend(x, padding_mask))
        added, m = self.widen(x)
        return self.norm2(x + added), m


class PreNormBlock(Block):
    """``x = x + S(attn(LN1 x)); u = LN2 x; x = x + mlp(u) + A(u)``, S and A the places for adapters."""

    def forward(self, x: Tensor, padding_mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Returns the block's output and its MLP output (the per-layer target of a teacher), both (B, S, D)."""
        x = x + self.attend(self.norm1(x), padding_mask)
        added, m = self.widen(self.norm2(x))
        return x + added, m


def draws_numbers(block: nn.Module) -> bool:
    """Whether a block draws random numbers while training: dropout of any kind, at any place."""
    return any(getattr(part, "attention_dropout", 0.0) > 0 or getattr(part, "p", 0.0) > 0 for part in block.modules())


BLOCKS: dict[str, type[Block]] = {"post": PostNormBlock, "pre": PreNormBlock}
