"""Classification on top of the encoder: a pooled token, an optional LayerNorm and a linear head."""

from __future__ import annotations

from torch import Tensor, nn

from .encoder import SpectrogramEncoder

POOLINGS = ("cls", "mean")
FC_NORM_EPS = 1e-6
"""Of the LayerNorm on the pooled token; the same as in the encoder's norms, and as in published classifiers."""


def pool_tokens(tokens: Tensor, pooling: str, padding_mask: Tensor | None = None) -> Tensor:
    """One vector per clip: (B, 1 + N, D), CLS first -> (B, D).

    Args:
        tokens: the encoder's output.
        pooling: ``cls`` takes CLS, ``mean`` the mean of the patches.
        padding_mask: (B, N), True = padding, which the mean leaves out.
    """
    if pooling == "cls":
        return tokens[:, 0]
    if pooling != "mean":
        raise ValueError(f'pooling "{pooling}" is not one of {", ".join(POOLINGS)}')
    if padding_mask is None:
        return tokens[:, 1:].mean(dim=1)
    real = (~padding_mask)[..., None].to(tokens.dtype)
    return (tokens[:, 1:] * real).sum(dim=1) / real.sum(dim=1)


class SpectrogramClassifier(nn.Module):
    """An encoder with a classification head (ASDA, section 3; EAT, section 3.3).

    Args:
        encoder: the encoder.
        num_classes: classes ``C``.
        pooling: ``cls`` or ``mean``.
        use_fc_norm: LayerNorm on the pooled token before the head.
    """

    def __init__(
        self, encoder: SpectrogramEncoder, num_classes: int, *, pooling: str = "cls", use_fc_norm: bool = True
    ):
        super().__init__()
        if pooling not in POOLINGS:
            raise ValueError(f'pooling "{pooling}" is not one of {", ".join(POOLINGS)}')
        self.pooling = pooling
        self.encoder = encoder
        self.fc_norm = nn.LayerNorm(encoder.embed_dim, eps=FC_NORM_EPS) if use_fc_norm else nn.Identity()
        self.head = nn.Linear(encoder.embed_dim, num_classes)
        nn.init.trunc_normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)

    def forward(self, spectrogram: Tensor, padding_mask: Tensor | None = None) -> Tensor:
        """Logits: (B, 1, T, F), (B, N) True = padding -> (B, C)."""
        return self.classify(self.encoder(spectrogram, padding_mask), padding_mask)

    def classify(self, tokens: Tensor, padding_mask: Tensor | None = None) -> Tensor:
        """Logits of tokens that are there already: (B, 1 + N, D) -> (B, C)."""
        return self.head(self.fc_norm(pool_tokens(tokens, self.pooling, padding_mask)))
