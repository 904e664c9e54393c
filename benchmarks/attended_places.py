"""How much of the attention in a clip lies on its events, on noise and on quiet? And are the maps shown those used?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from ASDA.audio.fbank import FRAME_SHIFT_MS, mel_bin_frequencies_hz
from ASDA.core.attention import DifferentialAttention
from ASDA.core.attention_maps import LayerAttention
from ASDA.core.differential_v2 import DifferentialAttentionV2
from ASDA.demo.places import QUIET, Place
from ASDA.inference import TrainedEncoder
from ASDA.inference.attention import ClipAttention

KINDS = ("events", "noise", "quiet")
"""Of patches."""
QUERIES = ("patches", "CLS")
"""Tokens that ask."""
WHOLE, FIRST = 0, 1
"""Parts: what the values are summed with, and its first map alone."""


def patch_extents(clip: ClipAttention) -> tuple[Tensor, Tensor]:
    """Where each patch begins and ends, in seconds and in Hz, both (N, 2)."""
    (frames, bins), (frame_step, bin_step) = clip.patches.size, clip.patches.stride
    begins_s = torch.arange(clip.grid.rows) * frame_step * FRAME_SHIFT_MS / 1000
    time_s = torch.stack([begins_s, begins_s + frames * FRAME_SHIFT_MS / 1000], dim=1)
    hz = mel_bin_frequencies_hz(clip.front_end.num_mel_bins, clip.front_end.sample_rate_hz).float()
    between = (hz[1:] + hz[:-1]) / 2
    edges = torch.cat([2 * hz[:1] - between[:1], between, 2 * hz[-1:] - between[-1:]])
    first = torch.arange(clip.grid.columns) * bin_step
    band_hz = torch.stack([edges[first], edges[first + bins]], dim=1)
    return time_s.repeat_interleave(clip.grid.columns, dim=0), band_hz.repeat(clip.grid.rows, 1)


def covered(extents: Tensor, low: float, high: float) -> Tensor:
    """(N,) bool: what shares at least half of the shorter of the two with a stretch; extents are (N, 2)."""
    shared = extents[:, 1].clamp(max=high) - extents[:, 0].clamp(min=low)
    shorter = (extents[:, 1] - extents[:, 0]).clamp(max=high - low)
    return (shared >= 0.5 * shorter) & (shared >= 0)


def kinds_of(clip: ClipAttention, places: Sequence[Place]) -> Tensor:
    """(KINDS, N) bool: the patches of events, of noise and of quiet; each real patch is of one kind."""
    time_s, band_hz = patch_extents(clip)
    events, quiet = torch.zeros(2, clip.grid.num_patches, dtype=torch.bool)
    for place in places:
        inside = covered(time_s, place.start_s, place.end_s) & covered(band_hz, place.low_hz, place.high_hz)
        if place.what == QUIET:
            quiet |= inside
        else:
            events |= inside
    real = ~clip.padding_patches()
    quiet &= ~events
    return torch.stack([events, ~events & ~quiet, quiet]) & real


def looked_at(clip: ClipAttention, layer: LayerAttention) -> Tensor:
    """How a layer's weight on real patches is spread over them: (QUERIES, parts, N), each of sum 1.

    Means over heads and over the tokens that ask. Weights count by their size: negative ones move the output, too.

    Raises:
        ValueError: the encoder has no CLS.
    """
    X, real = clip.num_prefix_tokens, ~clip.padding_patches()
    if X == 0:
        raise ValueError("expected an encoder with a CLS token, found none")
    spread = []
    for weights in (layer.weights[0].abs(), layer.maps[0, 0]):
        on_patches = weights[:, :, X:] * real
        on_patches = on_patches / on_patches.sum(dim=-1, keepdim=True)
        spread.append(torch.stack([on_patches[:, X:][:, real].mean(dim=(0, 1)), on_patches[:, :X].mean(dim=(0, 1))]))
    return torch.stack(spread, dim=1)


def excess(clip: ClipAttention, kinds: Tensor) -> Tensor:
    """Share of the weight on patches of a kind less their share of the area: (QUERIES, parts, L, KINDS)."""
    of_kinds = kinds.float()
    area = of_kinds.sum(dim=1) / of_kinds.sum()
    return torch.stack([looked_at(clip, layer) @ of_kinds.T for layer in clip.layers], dim=2) - area


def by_explicit_maps(layer: nn.Module, x: Tensor) -> Tensor:
    """What an attention layer comes to with the very maps that are shown: (B, S, D) -> (B, S, D)."""
    shown = LayerAttention(layer.attention_maps(x), layer.map_coefficients(x)).weights
    if isinstance(layer, DifferentialAttention):
        v = layer.v(x)
    elif isinstance(layer, DifferentialAttentionV2):
        v = layer.kv(x).chunk(2, dim=-1)[1]
    else:
        v = layer.qkv(x).chunk(3, dim=-1)[2]
    by_head = shown.to(v.dtype) @ v.unflatten(2, (layer.num_heads, -1)).transpose(1, 2)
    out = by_head.transpose(1, 2).flatten(2)
    if isinstance(layer, DifferentialAttention):
        out = layer.norm(out) * layer.out_scale
    return layer.proj(out)


@torch.no_grad()
def largest_gap(encoder: TrainedEncoder, audio: Path) -> float:
    """Over all layers, what the maps that are shown come to less what the layer computes in the forward pass."""
    gaps = []

    def compare(layer, inputs, output) -> None:
        gaps.append(float((by_explicit_maps(layer, inputs[0]) - output).abs().max()))

    handles = [block.get_submodule("attn").register_forward_hook(compare) for block in encoder.encoder.stack.blocks]
    try:
        encoder.features(audio)
    finally:
        for handle in handles:
            handle.remove()
    return max(gaps)
