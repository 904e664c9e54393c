"""The teacher: an exponential moving average (EMA) of the student's encoder."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from ..core.encoder import SpectrogramEncoder


@dataclass(frozen=True)
class LinearDecay:
    """EMA decay that grows linearly from ``start`` to ``end`` over ``anneal_updates`` updates, then stays."""

    start: float = 0.9998
    end: float = 0.99999
    anneal_updates: int = 100_000

    def __call__(self, num_updates: int) -> float:
        if num_updates >= self.anneal_updates:
            return self.end
        return self.start + (self.end - self.start) * num_updates / self.anneal_updates


class EmaTeacher:
    """Keeps a float32 moving average of a student's encoder, and how many updates went into it.

    Not an ``nn.Module`` on purpose: its weights are neither trained, nor counted, nor cast to half precision with the
    student's. The owner moves it between devices with ``to``.
    """

    def __init__(self, student: SpectrogramEncoder, decay: Callable[[int], float]):
        self.decay = decay
        self.num_updates = 0
        self.encoder = copy.deepcopy(student).float().eval().requires_grad_(False)

    def to(self, device: torch.device) -> EmaTeacher:
        self.encoder.to(device)
        return self

    @torch.no_grad()
    def update(self, student: SpectrogramEncoder, num_updates: int) -> None:
        """One EMA step towards the student as it is after update ``num_updates``."""
        own: list[Tensor] = list(self.encoder.parameters())
        other = [p.detach().float() for p in student.parameters()]
        torch._foreach_lerp_(own, other, 1.0 - self.decay(num_updates))
        self.num_updates = num_updates

    @torch.no_grad()
    def layer_outputs(self, spectrogram: Tensor, top_k: int, padding_mask: Tensor | None = None) -> list[Tensor]:
        """MLP outputs of the last ``top_k`` layers for all patches, each (B, N, D), without prefix tokens.

        Nothing is attended to where ``padding_mask`` (B, N) is True.
        """
        # A student in half precision gets its spectrograms in it: then the teacher computes in it too, from its float32
        # weights. (Not under inference_mode: the loss saves the target for the backward pass.)
        dtype = spectrogram.dtype
        half = dtype in (torch.float16, torch.bfloat16)
        with torch.autocast(spectrogram.device.type, dtype) if half else nullcontext():
            spectrogram = spectrogram if half else spectrogram.to(self.encoder.dtype)
            tokens, padding = self.encoder.embed(spectrogram, padding_mask)
            outputs = [m for _, m in self.encoder.layers(tokens, padding)]
        return [self.encoder.split(m)[1] for m in outputs[-top_k:]]
