"""The contract of a training objective: what a trainer needs to know of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ..core.encoder import SpectrogramEncoder
from ..core.patches import PatchGrid
from ..core.places import Places


@dataclass
class Losses:
    """What an objective makes of a batch.

    Attributes:
        terms: weighted sums by name, scalars; divided by ``sample_size`` they are the losses.
        sample_size: what they are sums over.
        statistics: scalars for the log and for floors, tensors that nobody has waited for yet; of labelled clips also
            ``_scores`` and ``_targets`` (B, C).
    """

    terms: dict[str, Tensor]
    sample_size: float
    statistics: dict[str, Any] = field(default_factory=dict)

    @property
    def total(self) -> Tensor:
        """The loss: the sum of the terms over ``sample_size``."""
        return torch.stack(list(self.terms.values())).sum() / self.sample_size


class Decoder(Protocol):
    """Predicts the hidden patches from the kept ones; what it puts in their places is its own affair."""

    def __call__(self, tokens: Tensor, places: Places, grid: PatchGrid) -> Tensor:
        """Kept tokens (B * M, K, D) -> predictions for the hidden places (R, V)."""

    def compile_layers(self, **options: Any) -> None:
        """torch.compile with these options for what pays, in place."""


class Objective(nn.Module):
    """Holds an encoder and what it takes to train it. Plain torch: any trainer can hold it.

    A subclass has an ``encoder``, which is what is kept in the end, and a ``forward``.
    """

    encoder: SpectrogramEncoder

    def __init__(self) -> None:
        super().__init__()
        self.num_updates = 0  # that the objective has followed

    def forward(self, *args: Any, **batch: Any) -> Losses:
        """Losses of ``spectrogram`` (B, 1, T, F); what else a batch has to hold is for the objective to say."""
        raise NotImplementedError

    def after_update(self, num_updates: int) -> None:
        """Told that update ``num_updates``, counted from 1, has been made. A teacher takes its step here."""
        self.num_updates = num_updates

    def compile_layers(self, **options: Any) -> None:
        """torch.compile for what pays, in place: tensor names stay.

        Args:
            options: of torch.compile. ``dynamic=True`` where clips of a batch vary in length: any length then shares
                the compiled code. ``dynamic=False`` compiles each shape anew, to faster code.
        """
        self.encoder.stack.compile_blocks(**options)
