"""Self-attention layers: plain (EAT) and differential (ASDA, arXiv 2507.02666; arXiv 2410.05258).

All take tokens (B, S, D) and return (B, S, D). A padding mask (B, S) is True at padding; padded tokens
are never attended to. differential_v2.py has the second version of differential attention.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .layer_norm import LayerNorm

LAMBDA_MODES = ("fixed", "learned")


def depth_lambda_init(layer: int) -> float:
    """Initial lambda of layer ``layer`` (counted from 1) in the Differential Transformer paper."""
    return 0.8 - 0.6 * math.exp(-0.3 * (layer - 1))


def check_heads(embed_dim: int, num_heads: int) -> None:
    """Refuses heads that cannot share the width.

    Raises:
        ValueError: ``num_heads`` does not divide ``embed_dim``.
    """
    if embed_dim % num_heads:
        raise ValueError(f"num_heads ({num_heads}) must divide embed_dim ({embed_dim})")


# On a CPU torch's fused kernel computes bfloat16 products outside oneDNN. With the map explicit, forward and backward
# between the projections took 0.3 of its time at 103 tokens, 0.7 at 513 and the same at 1025 (torch 2.11, AMD EPYC with
# avx512_bf16, one thread). Beyond, the map takes memory for nothing.
_EXPLICIT_MAP_TOKENS = 1024


@lru_cache(maxsize=1)
def _multiplies_tiles() -> bool:
    """Whether the processor has AMX, which the fused kernel uses."""
    if not hasattr(torch.cpu, "get_capabilities"):  # older releases do not tell
        return False
    return bool(torch.cpu.get_capabilities().get("amx_tile", False))


def _wants_explicit_map(q: Tensor, num_keys: int) -> bool:
    if q.device.type != "cpu" or q.dtype != torch.bfloat16 or num_keys > _EXPLICIT_MAP_TOKENS:
        return False
    # With AMX the fused kernel alone takes less time at any length, with its backward pass more (up to 513 tokens).
    # Whoever trains computes teacher, checkpointed layers and students in one way, which is the other. So does compiled
    # code: torch.compile cannot trace the question.
    if torch.compiler.is_compiling():
        return True
    return not (torch.is_inference_mode_enabled() and _multiplies_tiles())


def attend(q: Tensor, k: Tensor, v: Tensor, padding_mask: Tensor | None, dropout: float) -> Tensor:
    """softmax(q k^T / sqrt(E)) v, head by head: queries (B, H, R, E), keys and values (B, H, S, E) -> (B, H, R, E)."""
    if _wants_explicit_map(q, k.shape[-2]):
        scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
        if padding_mask is not None:
            scores = scores.masked_fill(padding_mask[:, None, None, :], float("-inf"))
        return F.dropout(scores.softmax(dim=-1), dropout) @ v
    attend_to = None if padding_mask is None else ~padding_mask[:, None, None, :]
    return F.scaled_dot_product_attention(q, k, v, attend_to, dropout_p=dropout)


def softmax_map(q: Tensor, k: Tensor, padding_mask: Tensor | None) -> Tensor:
    """The explicit attention map softmax(q k^T / sqrt(E)), (B, H, R, S), in float32; R queries, S keys."""
    scores = q.float() @ k.float().transpose(-2, -1) / math.sqrt(q.shape[-1])
    if padding_mask is not None:
        scores = scores.masked_fill(padding_mask[:, None, None, :], float("-inf"))
    return scores.softmax(dim=-1)


class Attention(nn.Module):
    """Multi-head attention with one softmax map, the baseline of EAT.

    Args:
        embed_dim: width ``D``.
        num_heads: heads ``H``; must divide ``embed_dim``.
        attention_dropout: dropout on the attention map.
        projection_dropout: dropout after the output projection.

    Raises:
        ValueError: ``num_heads`` does not divide ``embed_dim``.
    """

    def __init__(
        self, embed_dim: int, num_heads: int, *, attention_dropout: float = 0.0, projection_dropout: float = 0.0
    ):
        super().__init__()
        check_heads(embed_dim, num_heads)
        self.num_heads = num_heads
        self.attention_dropout = attention_dropout
        self.qkv = nn.Linear(embed_dim, 3 * embed_dim)
        self.proj = nn.Linear(embed_dim, embed_dim)
        self.proj_drop = nn.Dropout(projection_dropout)

    def _queries_keys_values(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        B, S, D = x.shape
        return self.qkv(x).view(B, S, 3, self.num_heads, D // self.num_heads).permute(2, 0, 3, 1, 4).unbind(0)

    def forward(self, x: Tensor, padding_mask: Tensor | None = None) -> Tensor:
        q, k, v = self._queries_keys_values(x)  # each (B, H, S, E)
        out = attend(q, k, v, padding_mask, self.attention_dropout if self.training else 0.0)
        return self.proj_drop(self.proj(out.transpose(1, 2).flatten(2)))

    def attention_maps(self, x: Tensor, padding_mask: Tensor | None = None) -> Tensor:
        """The explicit map, (B, 1, H, S, S), float32: for plots and for checking ``forward`` against."""
        q, k, _ = self._queries_keys_values(x)
        return softmax_map(q, k, padding_mask)[:, None]

    def map_coefficients(self, x: Tensor) -> tuple[float, ...]:
        """What each of the maps counts in their sum, whatever the tokens x."""
        return (1.0,)


class DifferentialAttention(nn.Module):
    """Two softmax maps, the second subtracted with a coefficient lambda to cancel what both attend to.

    Per head of width ``E = D / H``, with ``x W = [q1 | q2 | k1 | k2]``:

        o = softmax(q1 k1^T / sqrt(E)) v - lambda softmax(q2 k2^T / sqrt(E)) v

    The heads are merged, normalised over ``D``, multiplied by ``out_scale`` and projected (ASDA, section 2).
    As (A1 - lambda A2) v = A1 v - lambda A2 v, both maps are one fused attention call over 2H heads.

    Args:
        embed_dim: width ``D``.
        num_heads: heads ``H``; must divide ``embed_dim``.
        diff_lambda: the constant lambda when ``lambda_mode`` is ``fixed``. At 0 the layer has one softmax map
            and the second is not computed.
        out_scale: the constant after the norm.
        lambda_mode: ``fixed``, or ``learned``: lambda = exp(lq1 . lk1) - exp(lq2 . lk2) + lambda_init, with four
            learned vectors of width ``E`` shared by the heads (arXiv 2410.05258, section 2.1).
        lambda_init: the constant of the learned mode.
        attention_dropout: dropout on both attention maps.
        projection_dropout: dropout after the output projection.

    Raises:
        ValueError: ``num_heads`` does not divide ``embed_dim``, or ``lambda_mode`` is unknown.
    """

    lambda_q1: Tensor
    lambda_k1: Tensor
    lambda_q2: Tensor
    lambda_k2: Tensor

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        *,
        diff_lambda: float = 0.3,
        out_scale: float = 0.95,
        lambda_mode: str = "fixed",
        lambda_init: float = 0.8,
        attention_dropout: float = 0.0,
        projection_dropout: float = 0.0,
    ):
        super().__init__()
        check_heads(embed_dim, num_heads)
        if lambda_mode not in LAMBDA_MODES:
            raise ValueError(f'lambda_mode "{lambda_mode}" is not one of {", ".join(LAMBDA_MODES)}')
        self.num_heads = num_heads
        self.diff_lambda = diff_lambda
        self.out_scale = out_scale
        self.lambda_mode = lambda_mode
        self.lambda_init = lambda_init
        self.attention_dropout = attention_dropout
        self.qk = nn.Linear(embed_dim, 4 * embed_dim)
        self.v = nn.Linear(embed_dim, embed_dim)
        self.norm = LayerNorm(embed_dim)
        self.proj = nn.Linear(embed_dim, embed_dim)
        self.proj_drop = nn.Dropout(projection_dropout)
        if lambda_mode == "learned":
            for name in ("lambda_q1", "lambda_k1", "lambda_q2", "lambda_k2"):
                setattr(self, name, nn.Parameter(0.1 * torch.randn(embed_dim // num_heads)))

    def current_lambda(self) -> Tensor | float:
        """The coefficient of the second map: a float when fixed, a differentiable float32 scalar when learned."""
        if self.lambda_mode == "fixed":
            return self.diff_lambda
        first = torch.exp(torch.sum(self.lambda_q1.float() * self.lambda_k1.float()))
        second = torch.exp(torch.sum(self.lambda_q2.float() * self.lambda_k2.float()))
        return first - second + self.lambda_init

    def _queries_keys(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Queries and keys of both maps as 2H heads, (B, 2H, S, E); the first H heads are the first map's."""
        B, S, D = x.shape
        # [q1 | q2 | k1 | k2], each head-major: so [q1 | q2] are 2H consecutive heads, and so are [k1 | k2].
        return self.qk(x).view(B, S, 2, 2 * self.num_heads, D // self.num_heads).permute(2, 0, 3, 1, 4).unbind(0)

    def forward(self, x: Tensor, padding_mask: Tensor | None = None) -> Tensor:
        B, S, D = x.shape
        H = self.num_heads
        q, k = self._queries_keys(x)
        v = self.v(x).view(B, S, H, D // H).transpose(1, 2)
        one_map = self.lambda_mode == "fixed" and self.diff_lambda == 0
        if one_map:
            q, k = q[:, :H], k[:, :H]
        else:
            v = torch.cat([v, v], dim=1)  # (B, 2H, S, E)
        out = attend(q, k, v, padding_mask, self.attention_dropout if self.training else 0.0)
        if not one_map:
            first, second = out.chunk(2, dim=1)
            out = first - self.current_lambda() * second
        out = self.norm(out.transpose(1, 2).flatten(2)) * self.out_scale
        return self.proj_drop(self.proj(out))

    def attention_maps(self, x: Tensor, padding_mask: Tensor | None = None) -> Tensor:
        """Both explicit maps before the subtraction, (B, 2, H, S, S), float32.

        The fused ``forward`` never forms them: this is for plots and for checking ``forward`` against.
        """
        q, k = self._queries_keys(x)
        return softmax_map(q, k, padding_mask).unflatten(1, (2, self.num_heads))

    def map_coefficients(self, x: Tensor) -> tuple[float, ...]:
        """What each of the maps counts in their sum, whatever the tokens x: 1 and -lambda."""
        return 1.0, -float(self.current_lambda())
