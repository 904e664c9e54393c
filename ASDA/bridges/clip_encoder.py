"""A trained encoder as benchmarks want one: clips of any length, each as if alone; a vector for each, or frames."""

from __future__ import annotations

import hashlib
import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from ..audio.fbank import FRAME_LENGTH_MS
from ..audio.front_end import FrontEnd
from ..checkpoints.adapters import encoder_checksum
from ..inference.embedding import windowing_of
from ..inference.model import load_encoder
from ..inference.waveform_batch import require_audio
from .frame_places import FramePlaces

POOLINGS = ("mean", "cls")
SETTINGS = ("layer", "pooling", "padding", "hop_ms", "adapter", "trust", "revision")

MOST_S = 320
"""Seconds of sound, padding of shorter clips among them, that are computed at a time; a longer clip goes alone."""


@dataclass(frozen=True)
class Frames:
    """Evenly spaced features of B clips.

    Attributes:
        values: (B, T, D), or (B, T, L, D) of L layers; float32, zeros behind a clip's own.
        centres_ms: (T,) float64, the middle of what each stands for, from the clip's beginning on.
        counts: frames of each clip.
    """

    values: Tensor
    centres_ms: Tensor
    counts: tuple[int, ...]


class ClipEncoder(nn.Module):
    """A checkpoint's encoder for benchmarks, in eval mode.

    What a clip gives does not depend on what it is batched with. Clips shorter than the analysis window of 25 ms are
    heard with silence behind them, and said; those longer than the encoder's window are heard to their end, window
    after window.

    Frames are `hop_ms` apart (see :class:`FramePlaces`): where rows of patches are 160 ms apart, a hop of 40 ms takes
    four times the work of one of 160 ms, and one of 50 ms sixteen times. Whatever the hop, it counts from the rows of
    :meth:`TrainedEncoder.embed`: with one that divides their distance all of them are among the frames.

    Args:
        checkpoint: a file, a directory or a name on the Hugging Face hub; see :func:`load_encoder`.
        layer: None the last; a number, counted from 1; `mean`, the mean of all layers.
        pooling: what a clip's vector is: `mean` of its patches, or `cls`.
        padding: `mask`: clips are heard at their own length; `constant`: they are filled up to the encoder's window,
            as published weights were trained. Frames are given of what is sound in either case, but the mean is over
            what is filled up, too.
        hop_ms: between frames, a multiple of 10; None: from row to row of patches.
        adapter: adapters to put on it.
        trust: see :func:`load_encoder`.
        revision: of a name on the hub.
        front_end: settings of :class:`FrontEnd` that differ from those recorded, such as `target_length_frames=512`,
            the encoder's window.

    Raises:
        CheckpointError: the checkpoint cannot be used.
        ValueError: a setting does not fit, with what would.
    """

    def __init__(
        self,
        checkpoint: str | Path,
        *,
        layer: int | str | None = None,
        pooling: str = "mean",
        padding: str = "mask",
        hop_ms: float | None = None,
        adapter: str | Path | None = None,
        trust: bool = False,
        revision: str | None = None,
        **front_end: Any,
    ):
        super().__init__()
        if not str(checkpoint):
            raise ValueError("no checkpoint is given; expected a file, a directory or a name on the Hugging Face hub")
        unknown = sorted(front_end.keys() - (known := [field.name for field in fields(FrontEnd)]))
        if unknown:
            raise ValueError(f"{unknown[0]} is no setting: expected one of {', '.join((*SETTINGS, *known))}")
        self.trained = load_encoder(checkpoint, adapter=adapter, trust=trust, revision=revision, **front_end)
        network = self.trained.encoder
        if pooling not in POOLINGS:
            raise ValueError(f'pooling "{pooling}" is not one of {", ".join(POOLINGS)}')
        if pooling == "cls" and network.config.num_prefix_tokens == 0:
            raise ValueError('pooling "cls": this encoder has no prefix tokens (CLS); take "mean"')
        if layer is not None and layer != "mean" and layer not in range(1, network.depth + 1):
            raise ValueError(f'layer {layer!r}: expected 1 to {network.depth}, or "mean"')
        self.layer, self.pooling, self.padding = layer, pooling, padding
        windowing = windowing_of(network, self.trained.front_end_module, padding, "windows")
        self.places = FramePlaces.every(windowing, hop_ms)
        self.eval()

    @property
    def sample_rate_hz(self) -> int:
        """What the encoder hears; waveforms of other rates are resampled where their rate is given."""
        return self.trained.front_end.sample_rate_hz

    @property
    def embed_dim(self) -> int:
        """Width ``D``."""
        return self.trained.encoder.embed_dim

    @property
    def device(self) -> torch.device:
        """Where it computes; clips are brought there."""
        return self.trained.encoder.device

    @property
    def hop_ms(self) -> float:
        """From frame to frame."""
        return self.places.hop_ms

    @property
    def identity(self) -> str:
        """Twelve digits that differ for other weights, another architecture or front end and other settings."""
        weights = encoder_checksum(self.trained.encoder.state_dict())
        settings = (
            self.trained.encoder.config,
            self.trained.front_end,
            self.layer,
            self.pooling,
            self.padding,
            self.hop_ms,
        )
        return hashlib.sha256(f"{weights} {settings}".encode()).hexdigest()[:12]

    def clip_vectors(self, clips: Sequence[Tensor], sample_rate_hz: int | None = None) -> Tensor:
        """A vector for each clip, (B, D) float32.

        Args:
            clips: waveforms (W,), mono, floats in [-1, 1].
            sample_rate_hz: of all of them; by default that of the encoder.

        Raises:
            AudioError: a clip cannot be used: it holds NaN, or is on another scale.
        """
        vectors: list[Tensor] = [torch.empty(0)] * len(clips)
        for members, waveforms, lengths in self._groups(clips, sample_rate_hz):
            found = self._embed(waveforms, lengths, sample_rate_hz, self.layer)
            for member, vector in zip(members, found.cls if self.pooling == "cls" else found.mean, strict=True):
                vectors[member] = vector
        return torch.stack(vectors)

    def frames(self, clips: Sequence[Tensor], sample_rate_hz: int | None = None, *, all_layers: bool = False) -> Frames:
        """Evenly spaced features of each clip: all whose middle is not behind its end, one at least.

        Args:
            clips: as of :meth:`clip_vectors`, and so the rate and what is raised.
            sample_rate_hz: see there.
            all_layers: of every layer rather than of the one chosen.
        """
        found: list[Tensor] = [torch.empty(0)] * len(clips)
        for members, waveforms, lengths in self._groups(clips, sample_rate_hz):
            layers = "all" if all_layers else self.layer
            for member, frames in zip(members, self._spaced(waveforms, lengths, sample_rate_hz, layers), strict=True):
                found[member] = frames
        values = pad_sequence(found, batch_first=True)
        counts = tuple(len(frames) for frames in found)
        return Frames(values, self.places.centres_ms(max(counts)), counts)

    def num_frames(self, num_samples: int, sample_rate_hz: int | None = None) -> int:
        """How many frames :meth:`frames` makes of a clip of so many samples."""
        return self.places.count(num_samples, sample_rate_hz or self.sample_rate_hz)

    def _groups(
        self, clips: Sequence[Tensor], sample_rate_hz: int | None
    ) -> Iterator[tuple[list[int], Tensor, list[int]]]:
        """Clips of similar length, with their places: what takes a bounded memory at a time."""
        rate_hz = sample_rate_hz or self.sample_rate_hz
        least = math.ceil(rate_hz * FRAME_LENGTH_MS / 1000)
        if not clips:
            raise ValueError("expected at least one clip, got none")
        wrong = [tuple(clip.shape) for clip in clips if clip.ndim != 1]
        if wrong:
            raise ValueError(f"expected waveforms of shape (samples,), got {wrong[0]}; average channels first")
        require_audio([clip if len(clip) else clip.new_zeros(1) for clip in clips])
        if any(len(clip) < least for clip in clips):
            warnings.warn(
                f"clips shorter than the analysis window of {FRAME_LENGTH_MS:g} ms: they are heard with silence behind "
                "them",
                stacklevel=2,
            )
        lengths = [max(len(clip), least) for clip in clips]
        order = sorted(range(len(clips)), key=lambda place: lengths[place], reverse=True)
        first = 0
        while first < len(order):
            size = max(1, int(MOST_S * rate_hz) // lengths[order[first]])
            members = order[first : first + size]
            first += size
            waveforms = pad_sequence([clips[place] for place in members], batch_first=True)
            missing = max(0, least - waveforms.shape[1])
            yield members, nn.functional.pad(waveforms, (0, missing)), [lengths[place] for place in members]

    def _embed(self, waveforms: Tensor, lengths: list[int], sample_rate_hz: int | None, layers: Any, lead: int = 0):
        return self.trained.embed(
            waveforms,
            lengths,
            sample_rate_hz=sample_rate_hz,
            layers=layers,
            padding=self.padding,
            long="windows",
            lead_frames=lead,
        )

    def _spaced(self, waveforms: Tensor, lengths: list[int], sample_rate_hz: int | None, layers: Any) -> list[Tensor]:
        """Frames of clips, (T, D) or (T, L, D) each."""
        by_length = {length: self.num_frames(length, sample_rate_hz) for length in set(lengths)}
        counts = [by_length[length] for length in lengths]
        numbers_by_lead: dict[int, list[int]] = {}
        for number in range(max(counts)):
            numbers_by_lead.setdefault(self.places.row_of(number)[0], []).append(number)
        parts, order = [], []
        for lead, numbers in numbers_by_lead.items():
            rows = self._embed(waveforms, lengths, sample_rate_hz, layers, lead).frames.movedim(-2, 1)  # (B, P, [L,] D)
            parts.append(rows[:, [self.places.row_of(number)[1] for number in numbers]])
            order += numbers
        values = torch.cat(parts, dim=1)[:, torch.tensor(order).argsort()]  # (B, T, [L,] D)
        return [values[clip, :count] for clip, count in enumerate(counts)]


def absolute(path: str | Path) -> str:
    """Where a checkpoint is, whatever folder a host goes to; a name on the hub stays what it is."""
    return str(Path(path).resolve() if Path(path).exists() else path)


def own_lengths(audio: Tensor) -> list[int]:
    """Lengths of clips (B, W) that a host has filled up with zeros and says nothing of: up to the last other sample."""
    last = (audio != 0) * torch.arange(1, audio.shape[1] + 1, device=audio.device)
    return [max(1, length) for length in last.amax(dim=1).tolist()]
