"""Steps of registered objectives against each other: counted work, what stays for the backward pass, time, memory."""

from __future__ import annotations

import torch
from torch import Tensor

from ASDA.core.encoder import SpectrogramEncoder
from ASDA.core.places import Places
from ASDA.objectives.counting import step_flops
from ASDA.objectives.objective import Losses, Objective
from benchmarks import measuring
from benchmarks.registered import registered
from benchmarks.step import Step, make_optimizer


class WholeClips(Objective):
    """An encoder that sees every patch, and the mean of what it makes of them: what hiding patches spares."""

    def __init__(self, encoder: SpectrogramEncoder):
        super().__init__()
        self.encoder = encoder

    def forward(self, spectrogram: Tensor, mask: Places) -> Losses:
        _, patches = self.encoder(spectrogram)
        return Losses({"mean": patches.float().mean()}, 1)


def make_steps(runs: list[str], whole: list[str], clips: int, precision: str, device: torch.device) -> dict[str, Step]:
    """A step of each run, and of each encoder alone that is to see all patches.

    Args:
        runs: yaml, recipes, size and overrides of each in one text, as ``[NAME: ]WORDS``.
        whole: likewise, those of which the encoder alone is wanted.
        clips: of a batch.
        precision: fp32 or bf16.
        device: where they run.
    """
    steps = {}
    for text in [*runs, *whole]:
        _, _, words = text.rpartition(": ")
        run = registered(words, str(device))
        batch = tuple(part.to(device) for part in run.batch(clips))
        objective = WholeClips(run.objective.encoder) if text in whole else run.objective
        steps[text.removesuffix(f": {words}")] = Step(objective, make_optimizer(objective), batch, precision)
    return steps


def saved_bytes(step: Step) -> int:
    """What a forward pass keeps for the backward one, beside weights and input."""
    objective = step.objective
    return measuring.saved_bytes(step.losses, (*objective.parameters(), *objective.buffers(), step.batch[0]))


def objectives_table(steps: dict[str, Step], device: torch.device, repeats: int) -> str:
    """A row for each step; ratios are to the first."""
    measured = measuring.take_turns(steps, device, repeats, lambda name: steps[name].prepare())
    rows, first = [], None
    for name, step in steps.items():
        clips = len(step.batch[0])
        flops = step_flops(step.objective, step.batch[0], step.places) / clips
        saved, m = saved_bytes(step) / clips, measured[name]
        numbers = (flops / 1e9, saved / measuring.MIB, 1000 * m.seconds / clips, m.peak_bytes / clips / measuring.MIB)
        first = first or numbers
        cells = (f"{n:.1f} ({n / max(base, 1e-9):.2f})" for n, base in zip(numbers, first, strict=True))
        rows.append((name, *cells, f"{clips * flops / m.seconds / 1e9:.0f}"))
    headings = ["per clip (times the first)", "GFLOP", "saved MiB", "ms", "peak MiB", "GFLOP/s"]
    legend = (
        "GFLOP: products counted, forward and backward, all layers taking part. `saved MiB`: tensors that the forward "
        f"pass leaves for the backward one, without weights. `ms`: {measuring.clock_name(device)} of forward and "
        "backward pass, clipping, AdamW and a teacher's EMA. `peak MiB`: what a step takes beyond weights and "
        "optimiser state, gradients included, of which there are as many for one clip as for many."
    )
    return f"{measuring.table(headings, rows)}\n\n{legend}"
