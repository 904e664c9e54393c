"""What every layer of an encoder attends to: its explicit maps, which the fused forward pass never forms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .encoder import SpectrogramEncoder


@dataclass(frozen=True)
class LayerAttention:
    """The attention of a layer.

    Attributes:
        maps: (B, maps, H, S, S), float32, each row a distribution over the tokens; tokens are the prefix (CLS), then
            the patches.
        coefficients: what each map counts: (1,) of plain attention, (1, -lambda) of differential attention.
    """

    maps: Tensor
    coefficients: tuple[float, ...]

    @property
    def weights(self) -> Tensor:
        """What the values are summed with, (B, H, S, S): the difference of the maps, which may be negative."""
        return torch.einsum("bmhqk,m->bhqk", self.maps, self.maps.new_tensor(self.coefficients))


@torch.no_grad()
def attention_maps(
    encoder: SpectrogramEncoder, spectrogram: Tensor, padding_mask: Tensor | None = None
) -> list[LayerAttention]:
    """The attention of all layers, of the input that each has in the forward pass.

    Args:
        encoder: in evaluation mode.
        spectrogram: (B, 1, T, F).
        padding_mask: (B, N), True = padding.
    """
    found: list[LayerAttention] = []

    def look(attention, inputs: tuple[Tensor, Tensor | None]) -> None:
        found.append(LayerAttention(attention.attention_maps(*inputs), attention.map_coefficients()))

    handles = [block.get_submodule("attn").register_forward_pre_hook(look) for block in encoder.stack.blocks]
    try:
        encoder.features(spectrogram, padding_mask)
    finally:
        for handle in handles:
            handle.remove()
    return found


def rollout(layers: Sequence[LayerAttention]) -> Tensor:
    """How much of each token has gone into each token after all layers: (B, S, S), rows of sum 1.

    Attention rollout (arXiv 2005.00928): the product over the layers of the heads' mean, half of each a token itself
    for the residual. Weights that are negative count by their size: they move the output as well.
    """
    total = torch.eye(layers[0].maps.shape[-1], device=layers[0].maps.device)
    for layer in layers:
        mean = layer.weights.abs().mean(dim=1)
        mean = mean / mean.sum(dim=-1, keepdim=True)
        total = (0.5 * mean + 0.5 * torch.eye(mean.shape[-1], device=mean.device)) @ total
    return total if total.ndim == 3 else total[None]
