"""Classification on top of an encoder: a pooled vector, an optional LayerNorm and a linear map."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from .config import ConfigError, HeadConfig, choose
from .encoder import SpectrogramEncoder
from .layer_norm import LayerNorm


def pool_cls(prefix: Tensor, patches: Tensor, padding_mask: Tensor | None) -> Tensor:  # noqa: ARG001
    """The first prefix token."""
    return prefix[:, 0]


def pool_mean(prefix: Tensor, patches: Tensor, padding_mask: Tensor | None) -> Tensor:  # noqa: ARG001
    """The mean of the patches that are no padding."""
    if padding_mask is None:
        return patches.mean(dim=1)
    real = (~padding_mask)[..., None].to(patches.dtype)
    return (patches * real).sum(dim=1) / real.sum(dim=1)


def pool_prefix_mean(prefix: Tensor, patches: Tensor, padding_mask: Tensor | None) -> Tensor:  # noqa: ARG001
    """The mean of the prefix tokens (AST, section 2.2: CLS and distillation token)."""
    return prefix.mean(dim=1)


POOLINGS: dict[str, Callable[[Tensor, Tensor, Tensor | None], Tensor]] = {
    "cls": pool_cls,
    "mean": pool_mean,
    "prefix_mean": pool_prefix_mean,
}
"""Each: prefix tokens (B, X, D), patches (B, N, D), padding mask (B, N) True = padding -> (B, D)."""


class ClassificationHead(nn.Module):
    """Pooling, LayerNorm and linear map (ASDA, section 3; EAT, section 3.3).

    Args:
        embed_dim: width ``D`` of the encoder.
        config: what it consists of.

    Raises:
        ConfigError: the pooling is not known.
    """

    def __init__(self, embed_dim: int, config: HeadConfig):
        super().__init__()
        choose("pooling", config.pooling, POOLINGS)
        self.config = config
        self.norm = LayerNorm(embed_dim, eps=config.norm_eps) if config.norm else nn.Identity()
        self.linear = nn.Linear(embed_dim, config.num_classes)
        nn.init.trunc_normal_(self.linear.weight, std=0.02)
        nn.init.zeros_(self.linear.bias)

    def forward(self, prefix: Tensor, patches: Tensor, padding_mask: Tensor | None = None) -> Tensor:
        """Logits: (B, X, D), (B, N, D), (B, N) True = padding -> (B, C)."""
        return self.linear(self.norm(POOLINGS[self.config.pooling](prefix, patches, padding_mask)))


class SpectrogramClassifier(nn.Module):
    """An encoder with a classification head.

    Args:
        encoder: the encoder.
        head: its head.

    Raises:
        ConfigError: the head pools prefix tokens that the encoder does not have.
    """

    def __init__(self, encoder: SpectrogramEncoder, head: HeadConfig):
        super().__init__()
        self.encoder = encoder
        self.head = ClassificationHead(encoder.embed_dim, head)
        if encoder.config.num_prefix_tokens == 0 and head.pooling != "mean":
            raise ConfigError(
                f"pooling: this encoder has no prefix tokens (CLS), expected mean, found {head.pooling}; for training "
                "set model.prediction_mode=MEAN_POOLING"
            )

    def forward(self, spectrogram: Tensor, padding_mask: Tensor | None = None) -> Tensor:
        """Logits: (B, 1, T, F), (B, N) True = padding -> (B, C)."""
        return self.head(*self.encoder(spectrogram, padding_mask), padding_mask)
