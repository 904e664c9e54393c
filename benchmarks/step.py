"""A training step of an objective, and a stopwatch for the parts of a self-distilling one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from unittest import mock

import torch
from torch import Tensor

from ASDA.core.places import Places
from ASDA.objectives.objective import Losses, Objective
from benchmarks import measuring, reference

PRECISIONS = {"fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
"""What matrix products are made of, or rounded from."""


def precisely(precision: str) -> None:
    """Has a GPU make float32 products, convolutions included, in TF32 for `tf32` alone."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"


class Parts:
    """Stopwatch of a step's parts: each mark names what has been done since the one before."""

    def __init__(self, device: torch.device):
        self.device = device
        self.seconds: dict[str, float] = defaultdict(float)
        self._last = measuring.now_s(device)

    def mark(self, part: str) -> None:
        now = measuring.now_s(self.device)
        self.seconds[part] += now - self._last
        self._last = now

    def after(self, part: str, function: Callable) -> Callable:
        def run(*args, **kwargs):
            result = function(*args, **kwargs)
            self.mark(part)
            return result

        return run

    def watch_decoder_input(self, tokens: Tensor) -> None:
        tokens.register_hook(lambda _: self.mark("decoder backward"))


class Step:
    """One training step of an objective.

    Args:
        objective: what is trained.
        optimizer: of its parameters.
        batch: spectrograms (B, 1, T, F) and masks (B * M, N), True = hidden.
        precision: fp32, tf32, or bf16 autocast.
        plain: a self-distilling objective by the plain path instead of its own.
        keeps_memory: what becomes of freed memory on a CPU.
    """

    def __init__(
        self,
        objective: Objective,
        optimizer: torch.optim.Optimizer,
        batch: tuple[Tensor, Tensor],
        precision: str,
        plain: bool = False,
        keeps_memory: bool = True,
    ):
        self.objective, self.optimizer, self.batch = objective, optimizer, batch
        self.precision, self.plain, self.keeps_memory = precision, plain, keeps_memory
        self.device = batch[0].device
        # Indices come from the data loader in training, so that making them is no part of a step.
        self.places = Places.of(batch[1].cpu(), len(batch[0])).to(self.device)

    def losses(self) -> Losses:
        """The forward pass."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            return (
                reference.losses(self.objective, *self.batch)
                if self.plain
                else self.objective(self.batch[0], self.places)
            )

    def __call__(self, parts: Parts | None = None) -> None:
        mark = parts.mark if parts else lambda _: None
        objective = self.objective
        out = self.losses()
        mark("losses, statistics")
        out.total.backward()
        mark("student backward")
        torch.nn.utils.clip_grad_norm_(objective.parameters(), 4.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        mark("clipping, AdamW")
        if self.plain:
            reference.update_teacher(objective.teacher, objective.encoder, 1)
        else:
            objective.after_update(1)
        mark("EMA")

    def prepare(self) -> None:
        """Has the machine compute, and the C library treat freed memory, as this step wants it."""
        precisely(self.precision)
        if self.device.type == "cpu":
            measuring.keep_freed_memory(self.keeps_memory)

    def part_seconds(self) -> dict[str, float]:
        """Time of each part of one step, the second of two."""
        self.prepare()
        self()
        parts = Parts(self.device)
        with self._plain_marks(parts) if self.plain else self._fast_marks(parts):
            self(parts)
        return dict(parts.seconds)

    @contextmanager
    def _fast_marks(self, parts: Parts) -> Iterator[None]:
        def before_decoder(_module, args):
            parts.mark("decoder forward")
            parts.watch_decoder_input(args[0])

        student, decoder = self.objective.encoder, self.objective.decoder
        handles = [
            student.register_forward_hook(lambda *_: parts.mark("student forward")),
            decoder.register_forward_pre_hook(before_decoder),
            decoder.register_forward_hook(lambda *_: parts.mark("decoder forward")),
        ]
        with mock.patch.object(self.objective, "target", parts.after("teacher", self.objective.target)):
            yield
        for handle in handles:
            handle.remove()

    @contextmanager
    def _plain_marks(self, parts: Parts) -> Iterator[None]:
        encode, decode = reference.encode, reference.decode

        def marked_encode(encoder, spectrogram, mask=None):
            result = encode(encoder, spectrogram, mask)
            parts.mark("teacher" if mask is None else "student forward")
            return result

        def marked_decode(decoder, tokens, grid):
            parts.watch_decoder_input(tokens)
            result = decode(decoder, tokens, grid)
            parts.mark("decoder forward")
            return result

        target = parts.after("teacher", reference.teacher_target)
        with mock.patch.multiple(reference, encode=marked_encode, decode=marked_decode, teacher_target=target):
            yield


def make_optimizer(objective: Objective) -> torch.optim.Optimizer:
    # A learning rate of zero costs the same, and the variants go on from the same weights.
    return torch.optim.AdamW([p for p in objective.parameters() if p.requires_grad], lr=0.0)
