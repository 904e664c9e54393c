"""The transformer block of the encoder: post-norm, with the MLP output handed out as the teacher's target."""

from __future__ import annotations

import torch
from torch import Tensor, nn

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


class TransformerBlock(nn.Module):
    """Post-norm block: ``x = LN1(x + attn(x)); m = MLP(x); x = LN2(x + m)``.

    Args:
        attention: a module (B, S, D), padding mask -> (B, S, D).
        embed_dim: width ``D``.
        mlp_dim: hidden width of the MLP.
        norm_eps: eps of LN1 and LN2.
        drop_path: probability of dropping each residual branch of an example.
        activation_dropout: dropout inside the MLP.
        mlp_dropout: dropout after the MLP.
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
        self.norm1 = nn.LayerNorm(embed_dim, eps=norm_eps)
        self.mlp = Mlp(embed_dim, mlp_dim, activation_dropout=activation_dropout)
        self.mlp_drop = nn.Dropout(mlp_dropout)
        self.norm2 = nn.LayerNorm(embed_dim, eps=norm_eps)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor, padding_mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Returns the block's output and its MLP output (the per-layer target of a teacher), both (B, S, D)."""
        x = self.norm1(x + self.drop_path(self.attn(x, padding_mask)))
        m = self.mlp_drop(self.mlp(x))
        return self.norm2(x + self.drop_path(m)), m
