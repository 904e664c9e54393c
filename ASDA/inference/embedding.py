"""Waveforms of a batch -> features per clip and per frame, on the encoder's device and with gradients.

The clips are cut, padded and normalised as `asda-extract` does it, by the same code.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from ..audio.fbank import num_frames
from ..audio.front_end_module import FrontEndModule
from ..core.encoder import SpectrogramEncoder
from .clips import Clip
from .features import hidden_states
from .windows import LoadedClip, Windowing, collate, seconds

ALL_LAYERS = "all"
LONG = ("crop", "windows")

MOST_WINDOWS = 64
"""Windows that go through the network at a time, whatever the batch holds: a long clip has hundreds."""


@dataclass(frozen=True)
class Embeddings:
    """Features of B clips of up to P rows of patches. With several layers, (B, layers, ...) stands for (B, ...).

    Attributes:
        cls: (B, D), what stands for each clip: CLS; of an encoder with several prefix tokens their mean, of one without
            any the mean of the patches.
        patches: (B, P, Q, D), by time and frequency; zeros behind the rows of a clip.
        times_s: (P, 2) float64, start and end in seconds of each row; with leading frames the first starts before 0.
        padding_mask: (B, P), True where a row holds no sound of the clip.
        num_rows: of each clip. With constant padding that of a short clip is among them, as it is in what EAT's
            programs write.
        row_weights: (B, P), what each row counts in the mean over a clip.
    """

    cls: Tensor
    patches: Tensor
    times_s: Tensor
    padding_mask: Tensor
    num_rows: tuple[int, ...]
    row_weights: Tensor

    @property
    def frames(self) -> Tensor:
        """One vector per row, the mean over frequency: (B, P, D)."""
        return self.patches.mean(dim=-2)

    @property
    def mean(self) -> Tensor:
        """The mean of each clip's patches: (B, D)."""
        return torch.einsum("bp,b...pd->b...d", self.row_weights.to(self.patches.dtype), self.frames)


def embed(
    encoder: SpectrogramEncoder,
    front_end: FrontEndModule,
    waveforms: Tensor,
    num_samples: Sequence[int],
    *,
    layers: int | Sequence[int] | str | None = None,
    padding: str | None = None,
    long: str = "crop",
    lead_frames: int = 0,
) -> Embeddings:
    """Features of a batch.

    Args:
        encoder: the network.
        front_end: what it hears with, on the same device.
        waveforms: (B, W), see :func:`.waveform_batch.waveform_batch`.
        num_samples: of each clip.
        layers: see :meth:`.model.TrainedEncoder.embed`, and so the rest.
        lead_frames: of padding before each clip, fewer than a row is apart from the next: rows between the rows.

    Raises:
        ValueError: a setting is not known, or a layer is not there.
    """
    windowing = windowing_of(encoder, front_end, padding, long)
    if not 0 <= lead_frames < windowing.patches.stride[0]:
        raise ValueError(f"lead_frames={lead_frames}: expected 0 to {windowing.patches.stride[0] - 1}")
    clips = _clips(front_end, waveforms, num_samples, windowing, lead_frames)
    if long == "crop" and any(clip.num_frames > windowing.window_frames for clip in clips):
        warnings.warn(
            f"clips longer than the window of {seconds(windowing.window_frames):g} s: only their beginning is used; "
            'long="windows" uses all of them',
            stacklevel=3,
        )
    wanted, is_layered = _wanted(layers, encoder.depth)
    states = _states(encoder, clips, wanted)
    if not torch.isfinite(states.detach()).all():
        raise ValueError("the features hold NaN or infinity; are the model's norm_mean and norm_std right?")
    return _joined(clips, states if is_layered else states[:, 0], lead_frames)


def windowing_of(encoder: SpectrogramEncoder, front_end: FrontEndModule, padding: str | None, long: str) -> Windowing:
    """How :func:`embed` cuts and pads clips, with the same settings.

    Raises:
        ValueError: a setting is not known.
    """
    if long not in LONG:
        raise ValueError(f'long="{long}" is not one of {", ".join(LONG)}')
    windowing = Windowing(front_end.front_end, padding, patches=encoder.config.patches)  # type: ignore[arg-type]
    return replace(windowing, hop_frames=windowing.gapless_hop_frames) if long == "windows" else windowing


def _wanted(layers: int | Sequence[int] | str | None, depth: int) -> tuple[tuple[int, ...] | str | None, bool]:
    """The layers in `hidden_states`' spelling, and whether the result has an axis for them."""
    if layers is None:
        return None, False
    if isinstance(layers, int):
        return (layers,), False
    if isinstance(layers, str):
        return (tuple(range(1, depth + 1)), True) if layers == ALL_LAYERS else (layers, False)
    if not len(layers):
        raise ValueError(f"layers: expected numbers from 1 to {depth}, got none")
    return tuple(layers), True


def _states(encoder: SpectrogramEncoder, clips: Sequence[LoadedClip], wanted: tuple[int, ...] | str | None) -> Tensor:
    """Hidden states of all windows, (windows, layers, 1 + N, D); behind the tokens of shorter ones, zeros."""
    windows = [window for clip in clips for window in clip.windows]
    parts = []
    for first in range(0, len(windows), MOST_WINDOWS):
        source, padding_mask = collate(windows[first : first + MOST_WINDOWS], clips[0].windowing)
        if padding_mask is not None:
            padding_mask = padding_mask.to(encoder.device)
        parts.append(hidden_states(encoder, source.to(encoder.dtype), padding_mask, wanted))
    most = max(part.shape[2] for part in parts)
    return torch.cat([F.pad(part, (0, 0, 0, most - part.shape[2])) for part in parts])


def _clips(
    front_end: FrontEndModule,
    waveforms: Tensor,
    num_samples: Sequence[int],
    windowing: Windowing,
    lead_frames: int,
) -> list[LoadedClip]:
    rate_hz = front_end.front_end.sample_rate_hz
    wanted = windowing.window_frames if windowing.hop_frames is None else None
    counts = torch.tensor(num_samples, device=waveforms.device)
    frames = front_end.log_mel(waveforms, counts, wanted)  # (B, T, F)
    clips = []
    for index, (own, count) in enumerate(zip(frames, num_samples, strict=True)):
        length = num_frames(count, rate_hz)
        name = f"clip {index} of the batch"
        own = F.pad(own[:length], (0, 0, lead_frames, 0))  # zeros, as behind a short clip
        clips.append(LoadedClip(index, Clip(name, name), lead_frames + length, count / rate_hz, own, windowing))
    return clips


def _joined(clips: Sequence[LoadedClip], states: Tensor, lead_frames: int) -> Embeddings:
    """Hidden states of all windows, (windows, [layers,] 1 + N, D) -> those of the clips they are of."""
    windowing = clips[0].windowing
    grid = states[..., 1:, :].unflatten(-2, (-1, windowing.grid(windowing.window_frames).columns))
    cls, patches, weights, num_heard = [], [], [], []
    first = 0
    for clip in clips:
        windows, rows = clip.windows, clip.kept_rows
        own = slice(first, first := first + len(windows))
        shares = [window.heard_frames / sum(w.heard_frames for w in windows) for window in windows]
        cls.append(sum(share * part[..., 0, :] for share, part in zip(shares, states[own], strict=True)))
        parts = [part[..., :kept, :, :] for part, kept in zip(grid[own], rows, strict=True)]
        patches.append(torch.cat(parts, dim=-3))
        weights.append([share / kept for share, kept in zip(shares, rows, strict=True) for _ in range(kept)])
        num_heard.append(sum(window.num_heard_rows for window in windows))
    num_rows = tuple(len(own_weights) for own_weights in weights)
    P = max(num_rows)
    row = torch.arange(P)
    starts = windowing.patches.stride[0] * row.double() - lead_frames  # windows follow one another without a gap
    return Embeddings(
        cls=torch.stack(cls),
        patches=torch.stack([F.pad(part, (0, 0, 0, 0, 0, P - part.shape[-3])) for part in patches]),
        times_s=(torch.stack([starts, starts + windowing.patches.size[0]], dim=1) * seconds(1)).to(states.device),
        padding_mask=(row >= torch.tensor(num_heard)[:, None]).to(states.device),
        num_rows=num_rows,
        row_weights=torch.tensor([own + [0.0] * (P - len(own)) for own in weights], device=states.device),
    )
