"""What every layer of an encoder attends to: its explicit maps, which the fused forward pass never forms."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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
        coefficients: what each map counts: (1,) of plain attention, (1, -lambda) of differential attention; where the
            tokens have a lambda each, it is (B, H, S), by the token that asks.
    """

    maps: Tensor
    coefficients: tuple[float | Tensor, ...]

    @property
    def weights(self) -> Tensor:
        """What the values are summed with, (B, H, S, S): the difference of the maps, which may be negative."""
        parts = zip(self.maps.unbind(dim=1), self.coefficients, strict=True)
        weighted = [of * (each[..., None] if isinstance(each, Tensor) else each) for of, each in parts]
        return torch.stack(weighted).sum(dim=0)

    def to(self, device: torch.device | str) -> LayerAttention:
        """The same on another device."""
        moved = (each.to(device) if isinstance(each, Tensor) else each for each in self.coefficients)
        return LayerAttention(self.maps.to(device), tuple(moved))


@contextmanager
def watched_attention(encoder: SpectrogramEncoder) -> Iterator[list[LayerAttention]]:
    """Within it a forward pass fills the list: the attention of each layer, of the input that the layer has."""
    found: list[LayerAttention] = []

    @torch.no_grad()
    def look(attention, inputs: tuple[Tensor, Tensor | None]) -> None:
        found.append(LayerAttention(attention.attention_maps(*inputs), attention.map_coefficients(inputs[0])))

    handles = [block.get_submodule("attn").register_forward_pre_hook(look) for block in encoder.stack.blocks]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


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
    with watched_attention(encoder) as found:
        encoder.features(spectrogram, padding_mask)
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
