"""A learning rate that falls in steps from epoch to epoch: what its keys mean, for the launch and for the run."""

from __future__ import annotations

import math
from dataclasses import dataclass

EPOCH_DECAY = "asda_epoch_decay"
"""The registered name of the schedule."""


@dataclass(frozen=True)
class EpochDecay:
    """The factor of a learning rate by epoch.

    Attributes:
        decay: what the rate is multiplied by at each step, above 0 and at most 1.
        from_epoch: the first epoch with a lower rate. Epochs count from 1.
        every_epochs: from one step to the next.
    """

    decay: float = 0.5
    from_epoch: int = 2
    every_epochs: int = 1

    def __post_init__(self) -> None:
        if not 0 < self.decay <= 1 or self.from_epoch < 1 or self.every_epochs < 1:
            raise ValueError(
                f"decay={self.decay:g} decay_from_epoch={self.from_epoch} decay_every_epochs={self.every_epochs}: "
                "expected a decay above 0 and at most 1, and epochs of at least 1"
            )

    def factor(self, epoch: int) -> float:
        """Of an epoch, counted from 1."""
        return self.decay ** max(0, 1 + math.floor((epoch - self.from_epoch) / self.every_epochs))

    def describe(self, num_epochs: int | None = None) -> str:
        """In words; with the factor of the last of so many epochs."""
        every = "each epoch" if self.every_epochs == 1 else f"every {self.every_epochs} epochs"
        last = "" if num_epochs is None else f" (x{self.factor(num_epochs):.3g} in epoch {num_epochs})"
        return f"x{self.decay:g} {every} from epoch {self.from_epoch} on{last}"
