"""What of an encoder's output is kept, and how the windows of a clip become one array."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..core.encoder import SpectrogramEncoder
from .windows import LoadedClip, seconds

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


@dataclass(frozen=True)
class ClipFeatures:
    """Features of a clip.

    Attributes:
        values: float32, see FeatureSpec.
        times_s: start and end in seconds of what each row stands for, (rows, 2), or (2,) for a single vector.
    """

    values: Tensor
    times_s: Tensor

    def half(self) -> ClipFeatures:
        """The same with values in float16."""
        return ClipFeatures(self.values.half(), self.times_s)


def hidden_states(
    encoder: SpectrogramEncoder, source: Tensor, padding_mask: Tensor | None, layers: tuple[int, ...] | str | None
) -> Tensor:
    """Outputs of the chosen layers for a batch (B, 1, T, F): (B, layers, 1 + N, D), CLS first.

    Raises:
        ValueError: a layer that the encoder does not have.
    """
    depth = encoder.depth
    wanted = (depth,) if layers is None else range(1, depth + 1) if layers == MEAN_OF_LAYERS else layers
    beyond = [layer for layer in wanted if not 1 <= layer <= depth]
    if beyond:
        raise ValueError(f"layers {beyond} do not exist: this encoder has layers 1 to {depth}")
    tokens, padding_mask = encoder.embed(source, padding_mask)
    outputs = {number: x for number, (x, _) in enumerate(encoder.layers(tokens, padding_mask), 1) if number in wanted}
    if depth in outputs:  # the features of the last layer are the encoder's
        outputs[depth] = encoder.stack.norm_last(outputs[depth])
    stacked = torch.stack([outputs[number].float() for number in wanted], dim=1)
    return stacked.mean(dim=1, keepdim=True) if layers == MEAN_OF_LAYERS else stacked


def assemble(clip: LoadedClip, outputs: list[Tensor], spec: FeatureSpec) -> ClipFeatures:
    """Joins the windows of a clip.

    Patches stand one after the other in time. CLS is the mean over the windows, and so are pooled patches, with the
    frames of sound that each window heard as its weight. Patches that hold nothing but padding are kept only where
    constant padding fills up a single window, as EAT's programs do. CLS and patches pooled over time stand for what was
    heard, which is less than the clip if that was cut to the window.

    Args:
        clip: the clip.
        outputs: hidden states of each of its windows, (layers, 1 + N, D), perhaps with padding at the end.
        spec: what is wanted.
    """
    windowing = clip.windowing
    columns = windowing.front_end.num_mel_bins // windowing.patch_size
    patch = windowing.patch_size
    keep_padding = windowing.padding == "constant" and len(outputs) == 1
    windows = clip.windows
    grids, row_starts, row_weights = [], [], []
    for window, states in zip(windows, outputs, strict=True):
        rows = window.padded_length // patch
        if not keep_padding:
            rows = min(rows, -(-window.num_frames // patch))
        grids.append(states[:, 1 : 1 + rows * columns].unflatten(1, (rows, columns)))
        row_starts.extend(window.start + patch * row for row in range(rows))
        row_weights.extend([window.heard_frames / rows] * rows)
    grid = torch.cat(grids, dim=1)  # (layers, P, Q, D)
    heard = torch.tensor([float(window.heard_frames) for window in windows], device=grid.device)
    cls_token = sum(w * states[:, 0] for w, states in zip(heard / heard.sum(), outputs, strict=True))  # (layers, D)
    row_weight = torch.tensor(row_weights, device=grid.device) / heard.sum() if len(outputs) > 1 else None  # (P,)

    first_frames = torch.tensor(row_starts, dtype=torch.float64)
    row_times = torch.stack([first_frames, first_frames + patch], dim=1) * seconds(1)  # (P, 2)
    whole = torch.tensor([0.0, seconds(windows[-1].start + windows[-1].heard_frames)], dtype=torch.float64)
    values, times_s = _select(spec, cls_token, grid, row_weight, row_times, whole)
    return ClipFeatures(values if isinstance(spec.layers, tuple) else values[0], times_s)


def _select(
    spec: FeatureSpec, cls_token: Tensor, grid: Tensor, row_weight: Tensor | None, row_times: Tensor, whole: Tensor
) -> tuple[Tensor, Tensor]:
    """What is wanted of CLS (layers, D) and the patches (layers, P, Q, D), and its time stamps.

    Args:
        row_weight: (P,), sums to 1: of the rows in a mean over time; None if all have the same.
    """
    if spec.pool == "mean":
        return _mean_over_time(grid, row_weight).mean(dim=1), whole
    if spec.pool == "frequency":
        return grid.mean(dim=2), row_times
    if spec.pool == "time":
        return _mean_over_time(grid, row_weight), whole
    if spec.granularity == "utterance":
        return cls_token, whole
    if spec.granularity == "patch-grid":
        return grid, row_times
    patches, patch_times = grid.flatten(1, 2), row_times.repeat_interleave(grid.shape[2], dim=0)
    if spec.granularity == "frame":
        return patches, patch_times
    return torch.cat([cls_token[:, None], patches], dim=1), torch.cat([whole[None], patch_times])


def _mean_over_time(grid: Tensor, row_weight: Tensor | None) -> Tensor:
    """(layers, P, Q, D) -> (layers, Q, D)."""
    return grid.mean(dim=1) if row_weight is None else torch.einsum("p,lpqd->lqd", row_weight, grid)
