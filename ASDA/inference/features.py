"""What of an encoder's output is kept, and how the windows of a clip become one array."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..core.classifier import POOLINGS
from ..core.encoder import SpectrogramEncoder
from .clips import Clip
from .rows import Rows
from .run import run_clips
from .windows import BadClip, LoadedClip, Window, Windowing, seconds

GRANULARITIES = ("all", "frame", "utterance", "patch-grid")
POOLS = ("mean", "frequency", "time")
MEAN_OF_LAYERS = "mean"


@dataclass(frozen=True)
class FeatureSpec:
    """Which features are wanted.

    Attributes:
        granularity: `all` (1 + N, D) with CLS first, `frame` (N, D) the patches, `utterance` (D,) CLS, `patch-grid`
            (P, Q, D).
        layers: layers counted from 1, stacked along a new first axis; `mean` averages all layers; None is the last one.
        pool: means of the patches (granularity frame or patch-grid): `mean` of all (D,), over `frequency` (P, D), over
            `time` (Q, D); None keeps them.
    """

    granularity: str = "all"
    layers: tuple[int, ...] | str | None = None
    pool: str | None = None

    def __post_init__(self) -> None:
        if self.granularity not in GRANULARITIES:
            raise ValueError(f'granularity "{self.granularity}" is not one of {", ".join(GRANULARITIES)}')
        if self.pool is not None and self.pool not in POOLS:
            raise ValueError(f'pool "{self.pool}" is not one of {", ".join(POOLS)}')
        if self.pool is not None and self.granularity not in ("frame", "patch-grid"):
            raise ValueError(
                f"pool={self.pool} averages patches: it goes with granularity frame or patch-grid, "
                f"not {self.granularity}"
            )

    def wanted(self, states: Tensor) -> Tensor:
        """What of a batch's hidden states (B, layers, 1 + N, D) goes into the features: all tokens, or CLS alone."""
        return states[:, :, :1] if self.granularity == "utterance" else states


@dataclass(frozen=True)
class ClipFeatures:
    """Features of a clip.

    Attributes:
        values: float32, see FeatureSpec.
        times_s: start and end in seconds of what each row stands for, (rows, 2), or (2,) for a single vector.
        rows: where the values are if there are rows of them: with many, in a file.
    """

    values: Tensor
    times_s: Tensor
    rows: Rows | None = None

    def half(self) -> ClipFeatures:
        """The same with values in float16."""
        return ClipFeatures(self.values.half(), self.times_s)

    def is_finite(self) -> bool:
        """Whether no value is NaN or infinite."""
        return all(bool(np.isfinite(block).all()) for _, block in self.blocks())

    @property
    def in_memory(self) -> bool:
        """Whether the values are held in memory, rather than in a file."""
        return self.rows is None or self.rows.in_memory

    def blocks(self) -> Iterator[tuple[tuple, np.ndarray]]:
        """The values in parts that fit in memory, in C order, each with its place (an index into `values`)."""
        if self.rows is None:
            yield (...,), self.values.numpy()
            return
        layered = self.values.dim() == len(self.rows.shape)
        for layer, first, block in self.rows.blocks():
            part = slice(first, first + len(block))
            yield ((layer, part) if layered else (part,)), block


def hidden_states(
    encoder: SpectrogramEncoder, source: Tensor, padding_mask: Tensor | None, layers: tuple[int, ...] | str | None
) -> Tensor:
    """Outputs of the chosen layers for a batch (B, 1, T, F): (B, layers, 1 + N, D), CLS first.

    In its place an encoder with several prefix tokens has their mean (AST, section 2.2), one without any the mean of
    the patches that are no padding.

    Raises:
        ValueError: a layer that the encoder does not have.
    """
    wanted: Sequence[int]
    if layers is None:
        wanted = (encoder.depth,)
    elif isinstance(layers, str):
        if layers != MEAN_OF_LAYERS:
            raise ValueError(f'layers "{layers}" are neither numbers nor "{MEAN_OF_LAYERS}"')
        wanted = range(1, encoder.depth + 1)
    else:
        wanted = layers
    outputs = layer_outputs(encoder, source, padding_mask, wanted)
    stacked = torch.stack([_cls_first(encoder, outputs[number].float(), padding_mask) for number in wanted], dim=1)
    return stacked.mean(dim=1, keepdim=True) if layers == MEAN_OF_LAYERS else stacked


def layer_outputs(
    encoder: SpectrogramEncoder, source: Tensor, padding_mask: Tensor | None, layers: Sequence[int]
) -> dict[int, Tensor]:
    """Tokens (B, X + N, D) behind each of the layers, counted from 1; the last's are the encoder's features.

    Raises:
        ValueError: a layer that the encoder does not have.
    """
    check_layers(encoder, layers)
    tokens, token_mask = encoder.embed(source, padding_mask)
    outputs = {number: x for number, (x, _) in enumerate(encoder.layers(tokens, token_mask), 1) if number in layers}
    if encoder.depth in outputs:
        outputs[encoder.depth] = encoder.stack.norm_last(outputs[encoder.depth])
    return outputs


def check_layers(encoder: SpectrogramEncoder, layers: Sequence[int]) -> None:
    """Refuses layers that the encoder does not have.

    Raises:
        ValueError: there is one.
    """
    beyond = [layer for layer in layers if not 1 <= layer <= encoder.depth]
    if beyond:
        raise ValueError(f"layers {beyond} do not exist: this encoder has layers 1 to {encoder.depth}")


def _cls_first(encoder: SpectrogramEncoder, tokens: Tensor, padding_mask: Tensor | None) -> Tensor:
    if encoder.config.num_prefix_tokens == 1:
        return tokens
    prefix, patches = encoder.split(tokens)
    pool = POOLINGS["prefix_mean" if encoder.config.num_prefix_tokens else "mean"]
    return torch.cat([pool(prefix, patches, padding_mask)[:, None], patches], dim=1)


class Assembly:
    """Joins the windows of a clip as they come, and keeps no more of them than is wanted.

    Patches stand one after the other in time. CLS is the mean over the windows, and so are pooled patches, with the
    frames of sound that each window heard as its weight. Which rows are kept: see `LoadedClip.kept_rows`. CLS and
    patches pooled over time stand for what was heard, which is less than the clip if that was cut to the window.

    Args:
        clip: the clip.
        spec: what is wanted.
        half: keep float16 values.
    """

    def __init__(self, clip: LoadedClip, spec: FeatureSpec, half: bool = False):
        self.clip = clip
        self._spec = spec
        self._dtype = torch.float16 if half else torch.float32
        windowing = clip.windowing
        self._columns = windowing.grid(windowing.window_frames).columns
        self._windows = clip.windows
        self._num_rows = clip.kept_rows
        self._first_row = list(accumulate(self._num_rows, initial=0))  # of each window, and behind the last
        self._flat = spec.pool is None and spec.granularity in ("all", "frame")
        self._per_row = self._columns if self._flat else 1
        self._with_cls = int(spec.granularity == "all")
        self._heard = float(sum(window.heard_frames for window in self._windows))
        self._mean: Tensor | None = None  # CLS (layers, D), or patches (layers, Q, D): their mean over time so far
        self._rows: Rows | None = None

    def add(self, window: Window, states: Tensor) -> None:
        """Takes the hidden states of a window, (layers, 1 + N, D), perhaps with padding at the end, or CLS alone."""
        if self._spec.granularity == "utterance":
            self._add_to_mean(window.heard_frames / self._heard * states[:, 0])
            return
        rows = self._num_rows[window.number]
        grid = states[:, 1 : 1 + rows * self._columns].unflatten(1, (rows, self._columns))  # (layers, P, Q, D)
        pool = self._spec.pool
        if pool in ("mean", "time"):
            # The weights of a single window's rows are equal, however much of them is padding.
            weights = torch.full((rows,), window.heard_frames / rows) / self._heard
            alone = len(self._windows) == 1
            self._add_to_mean(grid.mean(dim=1) if alone else torch.einsum("p,lpqd->lqd", weights, grid))
            return
        if self._with_cls:
            self._add_to_mean(window.heard_frames / self._heard * states[:, 0])
        kept = grid.mean(dim=2) if pool == "frequency" else grid.flatten(1, 2) if self._flat else grid
        self._put(self._first_row[window.number] * self._per_row + self._with_cls, kept)

    def _add_to_mean(self, part: Tensor) -> None:
        self._mean = part.clone() if self._mean is None else self._mean + part

    def _put(self, first: int, part: Tensor) -> None:
        if self._rows is None:
            num_rows = self._first_row[-1] * self._per_row + self._with_cls
            self._rows = Rows((part.shape[0], num_rows, *part.shape[2:]), self._dtype)
        self._rows.put(first, part)

    @property
    def num_bytes(self) -> int:
        """Room that the features take, in memory or in a file."""
        of_rows = 0 if self._rows is None else self._rows.num_bytes
        return of_rows + (0 if self._mean is None else self._mean.nbytes)

    def features(self) -> ClipFeatures:
        """The clip's, once all of its windows are there."""
        spec, patches = self._spec, self.clip.windowing.patches
        last = self._windows[-1]
        whole = torch.tensor([0.0, seconds(last.start + last.heard_frames)], dtype=torch.float64)
        if self._rows is None:
            assert self._mean is not None
            values = self._mean.mean(dim=1) if spec.pool == "mean" else self._mean
            return ClipFeatures(self._of_layers(values.to(self._dtype)), whole)
        starts = [
            window.start + patches.stride[0] * row
            for window, rows in zip(self._windows, self._num_rows, strict=True)
            for row in range(rows)
        ]
        first_frames = torch.tensor(starts, dtype=torch.float64)
        times_s = torch.stack([first_frames, first_frames + patches.size[0]], dim=1) * seconds(1)  # (P, 2)
        if self._flat:
            times_s = times_s.repeat_interleave(self._columns, dim=0)
        if self._with_cls:
            assert self._mean is not None
            self._rows.put(0, self._mean[:, None])
            times_s = torch.cat([whole[None], times_s])
        return ClipFeatures(self._of_layers(self._rows.values()), times_s, self._rows)

    def _of_layers(self, values: Tensor) -> Tensor:
        return values if isinstance(self._spec.layers, tuple) else values[0]


def assemble(clip: LoadedClip, outputs: list[Tensor], spec: FeatureSpec) -> ClipFeatures:
    """Joins the windows of a clip, all at once; see :class:`Assembly`.

    Args:
        clip: the clip.
        outputs: hidden states of each of its windows.
        spec: what is wanted.
    """
    assembly = Assembly(clip, spec)
    for window, states in zip(clip.windows, outputs, strict=True):
        assembly.add(window, states)
    return assembly.features()


def run_encoder(
    encoder: SpectrogramEncoder,
    spec: FeatureSpec,
    numbered: Iterable[tuple[int, Clip]],
    windowing: Windowing,
    *,
    half: bool,
    **settings: Any,
) -> Iterator[Assembly | BadClip]:
    """Yields the features or a BadClip for every clip, not necessarily in the order given.

    Args:
        encoder: where `device` says, cast for half precision.
        spec: which features.
        numbered: clips with their numbers.
        windowing: how they are cut and padded.
        half: compute and keep them in half precision.
        settings: further ones of :func:`.run.run_clips`.
    """
    return run_clips(
        lambda source, padding_mask: spec.wanted(hidden_states(encoder, source, padding_mask, spec.layers)),
        numbered,
        windowing,
        half=half,
        make=lambda clip: Assembly(clip, spec, half),
        **settings,
    )
