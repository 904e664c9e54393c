"""The second version of differential attention: a lambda of each token and head, over shared keys and values.

After "Differential Transformer V2" (Ye, Dong, Sun, Wei, Microsoft, January 2026,
https://huggingface.co/blog/microsoft/diff-attn-v2).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from .attention import attend, check_heads, softmax_map


class DifferentialAttentionV2(nn.Module):
    """Two softmax maps over the same keys, the second subtracted with a lambda that each token has in each head.

    Per head of width ``E = D / H``, with queries ``x W_q = [q1 | q2]``, which are twice as many as keys and values:

        o = softmax(q1 k^T / sqrt(E)) v - lambda softmax(q2 k^T / sqrt(E)) v
        lambda = sigmoid(x w + b + logit(lambda_init))

    where w, b belong to the head and x is the token that asks. The heads are merged and projected: there is no norm and
    no constant after the subtraction. The published layer has one bias less, b, and begins at a lambda of 0.5.

    As both queries of a head have its keys and values, they go through one fused call as queries of that head, twice as
    many as there are tokens; nothing is copied.

    Args:
        embed_dim: width ``D``.
        num_heads: heads ``H``; must divide ``embed_dim``.
        lambda_init: lambda where the projection is 0, which it nearly is before training.
        attention_dropout: dropout on both attention maps.
        projection_dropout: dropout after the output projection.

    Raises:
        ValueError: ``num_heads`` does not divide ``embed_dim``, or ``lambda_init`` is not between 0 and 1.
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        *,
        lambda_init: float = 0.5,
        attention_dropout: float = 0.0,
        projection_dropout: float = 0.0,
    ):
        super().__init__()
        check_heads(embed_dim, num_heads)
        if not 0 < lambda_init < 1:
            raise ValueError(f"lambda_init ({lambda_init}) must be between 0 and 1: a sigmoid reaches neither")
        self.num_heads = num_heads
        self.lambda_init = lambda_init
        self.lambda_offset = math.log(lambda_init / (1 - lambda_init))
        self.attention_dropout = attention_dropout
        self.q = nn.Linear(embed_dim, 2 * embed_dim)
        self.kv = nn.Linear(embed_dim, 2 * embed_dim)
        self.lambda_proj = nn.Linear(embed_dim, num_heads)
        self.proj = nn.Linear(embed_dim, embed_dim)
        self.proj_drop = nn.Dropout(projection_dropout)

    def current_lambda(self, x: Tensor) -> Tensor:
        """The coefficient of the second map, of each head and token that asks: (B, S, D) -> (B, H, S)."""
        return torch.sigmoid(self.lambda_proj(x) + self.lambda_offset).transpose(1, 2)

    def _queries_keys_values(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries (B, H, 2S, E), of each token those of the first and of the second map; keys, values (B, H, S, E)."""
        B, S, D = x.shape
        H, E = self.num_heads, D // self.num_heads
        q = self.q(x).view(B, S, 2, H, E).permute(0, 3, 1, 2, 4).flatten(2, 3)  # in this order it stays a view
        k, v = self.kv(x).view(B, S, 2, H, E).permute(2, 0, 3, 1, 4).unbind(0)
        return q, k, v

    def forward(self, x: Tensor, padding_mask: Tensor | None = None) -> Tensor:
        q, k, v = self._queries_keys_values(x)
        out = attend(q, k, v, padding_mask, self.attention_dropout if self.training else 0.0)
        first, second = out[:, :, 0::2], out[:, :, 1::2]  # (B, H, S, E)
        out = first - self.current_lambda(x)[..., None] * second
        return self.proj_drop(self.proj(out.transpose(1, 2).flatten(2)))

    def attention_maps(self, x: Tensor, padding_mask: Tensor | None = None) -> Tensor:
        """Both explicit maps before the subtraction, (B, 2, H, S, S), float32."""
        q, k, _ = self._queries_keys_values(x)
        return softmax_map(q, k, padding_mask).unflatten(2, (x.shape[1], 2)).permute(0, 3, 1, 2, 4)

    def map_coefficients(self, x: Tensor) -> tuple[float, Tensor]:
        """What each of the maps counts in their sum: 1, and -lambda of each head and token, (B, H, S), float32."""
        return 1.0, -self.current_lambda(x).float()
