"""Leaving out updates whose loss or gradient is NaN or infinite, counting them, and stopping after a run of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn


class NonFiniteError(RuntimeError):
    """Too many updates in a row had a loss or a gradient that is NaN or infinite."""


class NonFiniteGuard:
    """Looks at the batches of an update and remembers whether all were sound.

    Args:
        max_in_a_row: updates in a row that may be left out before the run stops.
    """

    def __init__(self, max_in_a_row: int):
        self.max_in_a_row = max_in_a_row
        self.in_a_row = 0
        self.reason = ""  # what was wrong in this update on this process; empty: nothing

    def start_update(self) -> None:
        self.reason = ""

    def inspect(self, loss: Tensor, log: Mapping, parameters: Iterable[nn.Parameter] | None) -> bool:
        """Whether a batch's loss, what it logs and its gradients are finite. If not, the gradients are set to 0.

        Args:
            loss: of the batch, after the backward pass.
            log: what the batch logs; statistics over all processes are in it.
            parameters: with this batch's gradients; None if somebody else watches these (fp16's loss scaling).
        """
        reason = self._reason(loss, log, parameters)
        self.reason = self.reason or reason
        return not reason

    @staticmethod
    def _reason(loss: Tensor, log: Mapping, parameters: Iterable[nn.Parameter] | None) -> str:
        if not torch.isfinite(loss.detach()).all():
            return f"its loss is {float(loss.sum())}"
        for name, value in log.items():
            if not math.isfinite(float(value)):
                return f"its {name} is {float(value)}"
        if parameters is not None:
            gradients = [p.grad for p in parameters if p.grad is not None]
            if gradients and not torch.isfinite(torch.stack(torch._foreach_norm(gradients)).sum()):
                return "its gradient is not finite"
        return ""

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
