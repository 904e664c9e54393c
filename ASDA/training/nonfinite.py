"""Leaving out updates whose loss or gradient is NaN or infinite, counting them, and stopping after a run of them.

What tells is read from the device together, once: each read waits until the device has computed what was asked of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor


class NonFiniteError(RuntimeError):
    """Too many updates in a row had a loss or a gradient that is NaN or infinite."""


def is_scalar(value: Any) -> bool:
    """Whether a value is a tensor of one number."""
    return torch.is_tensor(value) and value.numel() == 1


def gradient_norm(gradients: list[Tensor]) -> Tensor:
    """The norm of all values of some gradients, a float32 scalar on their device."""
    return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients, 2, dtype=torch.float32)))


def read(tensors: Iterable[Tensor]) -> list[float]:
    """The numbers in some tensors of one number each, read from the device together."""
    scalars = [t.detach().reshape(()).float() for t in tensors]
    return torch.stack([t.to(scalars[0].device) for t in scalars]).tolist() if scalars else []


def read_log(log: dict) -> None:
    """Puts numbers in the place of what a batch logs as tensors of one number."""
    names = [name for name, value in log.items() if is_scalar(value)]
    log.update(zip(names, read(log[name] for name in names), strict=True))


def nothing(log: dict) -> dict:
    """What a batch logs that counts for nothing."""
    return {name: torch.zeros_like(value) if torch.is_tensor(value) else 0 for name, value in log.items()}


@dataclass
class Watched:
    """A batch of an update.

    Attributes:
        loss: of the batch; a tensor until it is read.
        log: what it logs, which gets numbers in the place of tensors when it is read.
        statistics: other numbers to read.
        sample: the batch itself.
        reason: what is wrong with it; empty: nothing.
    """

    loss: Any
    log: dict
    statistics: dict[str, Any] = field(default_factory=dict)
    sample: Any = None
    reason: str = ""

    def __post_init__(self) -> None:
        self._results = tuple(self.log)

    def void(self) -> None:
        """Has the results in the log count for nothing. What was added to it since then, about the clips, stays."""
        self.log.update(nothing({name: self.log[name] for name in self._results}))


class NonFiniteGuard:
    """Looks at the batches of an update and remembers whether all were sound.

    Args:
        max_in_a_row: updates in a row that may be left out before the run stops.
    """

    def __init__(self, max_in_a_row: int):
        self.max_in_a_row = max_in_a_row
        self.in_a_row = 0
        self.reason = ""  # what was wrong in this update on this process; empty: nothing
        self._unread: list[Watched] = []

    def start_update(self) -> None:
        self.reason, self._unread = "", []

    def watch(self, loss: Tensor, log: dict, statistics: Mapping[str, Any] | None = None, sample: Any = None) -> None:
        """A batch, after its backward pass, that the next `inspect` looks at. Waits for nothing.

        Args:
            loss: of the batch.
            log: what the batch logs; statistics over all processes are in it.
            statistics: numbers that are to be read, too.
            sample: the batch.
        """
        self._unread.append(Watched(loss.detach().sum(), log, dict(statistics or {}), sample))

    def inspect(self, norm: Tensor | None = None, judged: bool = True) -> tuple[float, list[Watched]]:
        """Reads what was watched since the last call, at once: whether losses, logs and gradients are finite.

        Args:
            norm: of the gradients of these batches; None: there are none, or somebody else looks at them.
            judged: whether a norm that is not finite is a fault; fp16's loss scaling makes such.

        Returns:
            The norm (0 if there is none), and the batches; those that are not sound say so in their ``reason``.
        """
        batches, self._unread = self._unread, []
        tensors = [t for batch in batches for t in _tensors(batch)]
        numbers = iter(read([*tensors, *([] if norm is None else [norm])]))
        for batch in batches:
            batch.loss = next(numbers)
            for part in (batch.log, batch.statistics):
                for name in [name for name, value in part.items() if is_scalar(value)]:
                    part[name] = next(numbers)
            batch.reason = _reason(batch)
        norm_read = next(numbers, 0.0)
        if judged and not math.isfinite(norm_read) and not any(batch.reason for batch in batches):
            for batch in batches:
                batch.reason = "its gradient is not finite"
        self.reason = self.reason or next((batch.reason for batch in batches if batch.reason), "")
        return norm_read, batches

    def find_fault(self, batches: list[Watched], reason: str) -> None:
        """Has batches that were inspected be at fault, and so the update, for what no number of theirs tells."""
        for batch in batches:
            batch.reason = reason
        self.reason = self.reason or reason

    def end_update(self, number: int, left_out: bool) -> None:
        """Counts.

        Args:
            number: of the update, from 1.
            left_out: whether it was left out, on whichever process the reason lay.

        Raises:
            NonFiniteError: too many were left out in a row.
        """
        self.in_a_row = self.in_a_row + 1 if left_out else 0
        if self.in_a_row > self.max_in_a_row:
            raise NonFiniteError(
                f"{self.in_a_row} updates in a row, up to update {number}, had a loss or a gradient that is NaN or "
                f"infinite; they were left out, so the weights are those of update {number - self.in_a_row}, and so is "
                "what the newest checkpoints hold. Continue with a lower learning rate, in float32 or bf16, or without "
                "the clips that the warnings above name; task.max_skipped_updates sets how many may be left out"
            )


def _tensors(batch: Watched) -> list[Tensor]:
    """What is to be read of a batch: its loss, its log, its statistics."""
    parts = (batch.log, batch.statistics)
    return [batch.loss, *(value for part in parts for value in part.values() if is_scalar(value))]


def _reason(batch: Watched) -> str:
    if not math.isfinite(batch.loss):
        return f"its loss is {batch.loss}"
    for name, value in batch.log.items():
        if isinstance(value, int | float) and not math.isfinite(value):
            return f"its {name} is {value}"
    return ""
