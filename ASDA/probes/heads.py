"""Small heads that gradient descent trains on frozen features: linear, attentive, gated over layers."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class LinearHead(nn.Module):
    """A linear map of one vector per clip.

    Args:
        width: of the features, ``D``.
        num_classes: ``C``.
    """

    def __init__(self, width: int, num_classes: int):
        super().__init__()
        self.linear = nn.utils.skip_init(nn.Linear, width, num_classes)  # draws nothing from anybody's generator
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, features: Tensor, padding_mask: Tensor) -> Tensor:
        """Logits: (B, 1, 1, D) -> (B, C); there is nothing to mask."""
        del padding_mask
        return self.linear(features[:, 0, 0])


class AttentiveHead(LinearHead):
    """Tokens weighted by one learned query, then a linear map. At the start the weights are equal: a mean."""

    def __init__(self, width: int, num_classes: int):
        super().__init__(width, num_classes)
        self.query = nn.Parameter(torch.zeros(width))

    def forward(self, features: Tensor, padding_mask: Tensor) -> Tensor:
        """Logits: tokens (B, N, 1, D), padding mask (B, N) True = padding -> (B, C)."""
        tokens = features[:, :, 0]
        similarity = (tokens @ self.query) / tokens.shape[-1] ** 0.5
        weights = similarity.masked_fill(padding_mask, -torch.inf).softmax(dim=1)
        return self.linear((weights[..., None] * tokens).sum(dim=1))


class GatedHead(LinearHead):
    """A convex combination of the layers, then a linear map. At the start all layers weigh the same.

    Args:
        width: of the features, ``D``.
        num_classes: ``C``.
        num_layers: ``L``.
    """

    def __init__(self, width: int, num_classes: int, num_layers: int):
        super().__init__(width, num_classes)
        self.gates = nn.Parameter(torch.zeros(num_layers))

    @property
    def layer_weights(self) -> Tensor:
        """(L,), none negative, their sum 1."""
        return self.gates.softmax(dim=0)

    def forward(self, features: Tensor, padding_mask: Tensor) -> Tensor:
        """Logits: (B, 1, L, D) -> (B, C); there is nothing to mask."""
        del padding_mask
        return self.linear(torch.einsum("l,bld->bd", self.layer_weights, features[:, 0]))
