"""What does a trained encoder attend to in a clip? Maps of every layer and head, and numbers that sum them up."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..audio.fbank import FRAME_SHIFT_MS, mel_bin_frequencies_hz, num_frames
from ..audio.front_end import FrontEnd
from ..core.attention_maps import LayerAttention, attention_maps, rollout
from ..core.config import PatchConfig
from ..core.patches import PatchGrid, patch_grid, patchify
from .audio_input import Audio, read_waveform

if TYPE_CHECKING:  # which has this as a method
    from .model import TrainedEncoder

FLOOR_PERCENTILE = 10
NOISE_MARGIN_DB = 3.0


@dataclass(frozen=True)
class HeadNumbers:
    """What a head of a layer attends to, a mean over the clip's patches as queries.

    Attributes:
        layer, head: counted from 1.
        entropy: of each map, as a share of the entropy of attending to all tokens alike.
        quiet_share: of the weight on patches, that on those below the clip's noise floor.
        padding_share: of the weight on patches, that on those behind the clip's end.
        negative_share: of all weight, by size, that which is negative.
        distance_s, distance_hz: how far the patches are that it looks at, by the size of their weights.
    """

    layer: int
    head: int
    entropy: tuple[float, ...]
    quiet_share: float
    padding_share: float
    negative_share: float
    distance_s: float
    distance_hz: float


@dataclass(frozen=True)
class ClipAttention:
    """The attention of an encoder in one clip.

    Attributes:
        spectrogram: what the encoder heard, (T, F), normalised.
        num_real_frames: of them, those of the clip; the others are padding.
        layers: attention of each layer, of a batch of one clip; tokens are the prefix, then the patches, row by row.
        grid: rows (time) and columns (frequency) of the patches.
        patches: their size and stride.
        num_prefix_tokens: ``X``.
        front_end: how the clip was heard.
    """

    spectrogram: Tensor
    num_real_frames: int
    layers: list[LayerAttention]
    grid: PatchGrid
    patches: PatchConfig
    num_prefix_tokens: int
    front_end: FrontEnd

    def of_token(self, weights: Tensor, token: int) -> Tensor:
        """What a token attends to, as a picture of the patches: (..., S, S) -> (..., P, Q)."""
        return weights[..., token, self.num_prefix_tokens :].unflatten(-1, tuple(self.grid))

    def pictures(self, layer: int, query: int | None = None, heads: slice = slice(None)) -> dict[str, Tensor]:
        """What a layer attends to, a mean over heads, as pictures of the patches, (P, Q) each.

        Args:
            layer: counted from 1.
            query: the token that asks; None: the mean of all patches.
            heads: which ones.

        Returns:
            each map by its name; where there are two, also their difference, which is what counts.
        """
        found = self.layers[layer - 1]
        maps = found.maps[0, :, heads].mean(dim=1)  # (M, S, S)
        columns = {"map": maps[0]} if len(maps) == 1 else {f"map {i}": each for i, each in enumerate(maps, start=1)}
        if len(maps) > 1:
            columns["difference"] = found.weights[0, heads].mean(dim=0)
        return {name: self.picture(weights, query) for name, weights in columns.items()}

    def picture(self, weights: Tensor, query: int | None = None) -> Tensor:
        """Weights (S, S) -> those of the patches, (P, Q), for a query as of :meth:`pictures`."""
        if query is None:
            weights = weights[self.num_prefix_tokens :].mean(dim=0, keepdim=True)
        return self.of_token(weights, query or 0)

    def rollout(self) -> Tensor:
        """Attention rollout over all layers, (S, S)."""
        return rollout(self.layers)[0]

    def padding_patches(self) -> Tensor:
        """(N,) bool: patches that begin behind the clip's end."""
        first_frame = torch.arange(self.grid.rows) * self.patches.stride[0]
        return (first_frame >= self.num_real_frames).repeat_interleave(self.grid.columns)

    def quiet_patches(self, margin_db: float = NOISE_MARGIN_DB) -> Tensor:
        """(N,) bool: patches of the clip that are below its noise floor.

        The floor of a mel bin is the 10th percentile of its energy over the clip's frames, plus the margin.
        """
        real = self.spectrogram[: self.num_real_frames]
        margin = margin_db * math.log(10) / 10 / (2 * self.front_end.norm_std)  # log energies, divided by 2 std
        above = self.spectrogram - (torch.quantile(real, FLOOR_PERCENTILE / 100, dim=0) + margin)
        return (patchify(above[None, None], self.patches)[0].mean(dim=1) < 0) & ~self.padding_patches()

    def centres(self) -> tuple[Tensor, Tensor]:
        """Middle of each patch in seconds and in Hz, both (N,)."""
        (frames, bins), (frame_step, bin_step) = self.patches.size, self.patches.stride
        time_s = (torch.arange(self.grid.rows) * frame_step + frames / 2) * FRAME_SHIFT_MS / 1000
        bin_hz = mel_bin_frequencies_hz(self.front_end.num_mel_bins, self.front_end.sample_rate_hz).float()
        column_hz = bin_hz.unfold(0, bins, bin_step).mean(dim=1)
        return time_s.repeat_interleave(self.grid.columns), column_hz.repeat(self.grid.rows)

    def numbers(self, margin_db: float = NOISE_MARGIN_DB) -> Iterator[HeadNumbers]:
        """What each head of each layer attends to."""
        X, padding, quiet = self.num_prefix_tokens, self.padding_patches(), self.quiet_patches(margin_db)
        time_s, frequency_hz = self.centres()
        apart_s = (time_s[:, None] - time_s).abs()
        apart_hz = (frequency_hz[:, None] - frequency_hz).abs()
        for number, layer in enumerate(self.layers, start=1):
            maps, weights = layer.maps[0, :, :, X:], layer.weights[0, :, X:]  # queries: patches
            real = ~padding
            size = weights[:, real].abs()
            on_patches = size[..., X:] / size[..., X:].sum(dim=-1, keepdim=True)  # (H, queries, N)
            entropy = torch.special.entr(maps[:, :, real]).sum(dim=-1).mean(dim=-1) / math.log(maps.shape[-1])
            negative = (-weights[:, real].clamp(max=0)).sum(dim=-1) / size.sum(dim=-1)
            for head in range(weights.shape[0]):
                here = on_patches[head]
                yield HeadNumbers(
                    layer=number,
                    head=head + 1,
                    entropy=tuple(entropy[:, head].tolist()),
                    quiet_share=float(here[:, quiet].sum(dim=-1).mean()),
                    padding_share=float(here[:, padding].sum(dim=-1).mean()),
                    negative_share=float(negative[head].mean()),
                    distance_s=float((here * apart_s[real]).sum(dim=-1).mean()),
                    distance_hz=float((here * apart_hz[real]).sum(dim=-1).mean()),
                )


def clip_attention(encoder: TrainedEncoder, audio: Audio, sample_rate_hz: int | None = None) -> ClipAttention:
    """The attention of all layers in one clip, heard as :meth:`TrainedEncoder.features` hears it.

    Args:
        encoder: what :func:`load_encoder` gives.
        audio: as of :meth:`TrainedEncoder.features`.
        sample_rate_hz: of samples that come without it.

    Raises:
        AudioError: the audio cannot be used.
    """
    front_end, config = encoder.front_end, encoder.encoder.config
    waveform = read_waveform(audio, front_end.sample_rate_hz, sample_rate_hz)
    spectrogram = encoder.spectrogram((waveform.numpy(), front_end.sample_rate_hz))  # (1, T, F)
    layers = attention_maps(encoder.encoder, spectrogram[None])
    heard = spectrogram[0].float().cpu()
    return ClipAttention(
        spectrogram=heard,
        num_real_frames=max(1, min(len(heard), num_frames(len(waveform), front_end.sample_rate_hz))),
        layers=[layer.to("cpu") for layer in layers],
        grid=patch_grid(heard.shape[0], heard.shape[1], config.patches),
        patches=config.patches,
        num_prefix_tokens=config.num_prefix_tokens,
        front_end=front_end,
    )
