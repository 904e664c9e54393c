"""A pre-training step at base size: time, clips/s, peak memory, the share of each part, FLOPs.

    python -m benchmarks.bench_step [--clips 2] [--students 16] [--precisions fp32 bf16] [--compiled] [--checkpointed]
    python -m benchmarks.bench_step --trainer
    python -m benchmarks.bench_step --runs "one: pretraining_MAE_AST MAE_AST_6_layers" "two: pretraining_SSAST"

The first compares ASDA's step with its plain form. --trainer adds the update that a run makes of it (real_update.py),
with fairseq's trainer, and this project's task, criterion and optimiser. --runs compares the steps of registered
objectives with each other (objective_steps.py).

A step is forward, backward, gradient clipping, AdamW and the teacher's EMA, on given masks. The fast path and the plain
one (benchmarks/reference.py) take turns on the same weights. On a CPU the fast one keeps freed memory, as training does
(ASDA/host_memory.py); the plain one is measured without that and with it. Times there are processor time, which other
people's programs hardly stretch; with one thread it is what an idle machine's wall clock shows.
"""

from __future__ import annotations

import argparse
import copy
import math
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ASDA.core import zoo
from ASDA.core.encoder import SpectrogramEncoder
from ASDA.core.places import Places
from ASDA.masks.inverse_block import InverseBlockMask
from ASDA.objectives.conv_decoder import ConvDecoder2d
from ASDA.objectives.counting import step_flops
from ASDA.objectives.self_distillation import SelfDistillation
from benchmarks import measuring
from benchmarks.measuring import Measurement
from benchmarks.step import PRECISIONS, Step, make_optimizer, precisely

if TYPE_CHECKING:  # it needs fairseq
    from benchmarks.real_update import RealUpdate

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
BARE = ("fp32", "tf32", "bf16")
"""fp16 takes the loss scale of a run."""
NUM_FRAMES, NUM_MEL_BINS = 1024, 128
MEMORY_KEPT = ", memory kept"


@dataclass(frozen=True)
class Size:
    clips: int = 2
    students: int = 16
    depth: int = 12
    embed_dim: int = 768

    @property
    def words(self) -> str:
        """Of a run that trains this."""
        width = self.embed_dim
        network = f"model.depth={self.depth} model.embed_dim={width} model.num_heads={width // 64}"
        decoder = f"model.modalities.image.decoder.decoder_dim={width}"
        return f"pretraining_AS2M {network} {decoder} model.clone_batch={self.students}"


def make_objective(size: Size, device: torch.device) -> SelfDistillation:
    torch.manual_seed(0)
    stack = replace(zoo.ASDA.stack, embed_dim=size.embed_dim, depth=size.depth, num_heads=size.embed_dim // 64)
    student = SpectrogramEncoder(replace(zoo.ASDA, stack=stack))
    decoder = ConvDecoder2d(size.embed_dim, decoder_dim=size.embed_dim)
    return SelfDistillation(student, decoder, average_top_k_layers=size.depth).to(device)


def make_batch(size: Size, device: torch.device) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    spectrogram = torch.randn(size.clips, 1, NUM_FRAMES, NUM_MEL_BINS, generator=generator)
    mask = InverseBlockMask((NUM_FRAMES // 16, NUM_MEL_BINS // 16), size.clips * size.students)(generator)
    return spectrogram.to(device), mask.to(device)


def make_steps(
    size: Size, device: torch.device, precisions: list[str], compiled: bool, checkpointed: bool, plain: bool = True
) -> dict[str, Step]:
    objective, batch = make_objective(size, device), make_batch(size, device)
    steps = {}
    optimizer = make_optimizer(objective)
    for precision in precisions:
        if plain:
            steps[f"plain {precision}"] = Step(objective, optimizer, batch, precision, plain=True, keeps_memory=False)
        if plain and device.type == "cpu" and measuring.keep_freed_memory(True):
            steps[f"plain {precision}{MEMORY_KEPT}"] = Step(objective, optimizer, batch, precision, plain=True)
        steps[f"fast {precision}"] = Step(objective, optimizer, batch, precision)
    if compiled:
        other = copy.deepcopy(objective)
        other.compile_layers(dynamic=False)
        optimizer = make_optimizer(other)
        steps |= {f"fast {p}, compiled": Step(other, optimizer, batch, p) for p in precisions}
    if checkpointed:
        other = copy.deepcopy(objective)
        other.encoder.stack.checkpoint_activations = other.decoder.checkpoint_activations = True
        optimizer = make_optimizer(other)
        steps |= {f"fast {p}, checkpointed": Step(other, optimizer, batch, p) for p in precisions}
    return steps


def make_updates(
    size: Size, device: torch.device, precisions: list[str], compiled: bool, folder: Path
) -> dict[str, RealUpdate]:
    """The updates that runs make of the step, one for each precision, and with torch.compile."""
    from benchmarks.real_update import RealUpdate

    updates = {}
    for compiles in (False, True) if compiled else (False,):
        for precision in precisions:
            name = f"trainer {precision}, compiled" if compiles else f"trainer {precision}"
            updates[name] = RealUpdate(size.words, size.clips, precision, device, folder, compiles)
    return updates


def flops_of(size: Size) -> int:
    """Products of a step, forward and backward."""
    cpu = torch.device("cpu")
    spectrogram, mask = make_batch(size, cpu)
    return step_flops(make_objective(size, cpu), spectrogram, Places.of(mask, size.clips))


def steps_table(
    steps: dict[str, Step | RealUpdate], measured: dict[str, Measurement], size: Size, device: torch.device
) -> str:
    flops, rates = flops_of(size), {}
    for precision in {step.precision for step in steps.values()}:
        precisely(precision)
        rates[precision] = measuring.matmul_rate(device, PRECISIONS[precision])
    rows = []
    for name, step in steps.items():
        m = measured[name]
        if math.isnan(m.seconds):
            rows.append((name, "out of memory", *["-"] * 9))
            continue
        own, base = (_known(measured.get(f"plain {p}")) for p in (step.precision, "fp32"))
        rows.append(
            (
                name,
                f"{1000 * m.seconds:.0f}",
                f"{1000 * m.wall_seconds:.0f}",
                f"{size.clips / m.seconds:.3g}",
                f"{m.peak_bytes / measuring.MIB:.0f}",
                f"{own.seconds / m.seconds:.2f}" if own else "-",
                f"{base.seconds / m.seconds:.2f}" if base else "-",
                f"{m.peak_bytes / own.peak_bytes:.2f}" if own and own.peak_bytes else "-",
                f"{flops / m.seconds / 1e9:.0f}",
                f"{flops / m.seconds / rates[step.precision]:.0%}",
            )
        )
    headings = ["step", "ms", "wall ms", "clips/s", "peak MiB", "plain/ms", "plain fp32/ms", "MiB/plain"]
    headings += ["GFLOP/s", "of matmul"]
    speeds = ", ".join(f"{p} {rates[p] / 1e9:.0f} GFLOP/s" for p in PRECISIONS if p in rates)
    memory = ""
    if any(name.endswith(MEMORY_KEPT) for name in steps):
        memory = " The fast steps keep freed memory, as training does; the plain ones do where the row says so."
    return (
        f"{measuring.table(headings, rows)}\n\n"
        f"A step needs {flops / 1e12:.3g} TFLOP; measured matmul rate: {speeds}. `ms`: "
        f"{measuring.clock_name(device)}; `peak MiB`: what a step takes beyond weights, teacher and optimiser state; "
        f"`plain/ms`: time of the plain step of the same precision over this one's.{memory}"
    )


def _known(measurement: Measurement | None) -> Measurement | None:
    """A measurement, where there was memory for it."""
    return None if measurement is None or math.isnan(measurement.seconds) else measurement


def parts_table(steps: dict[str, Step | RealUpdate]) -> str:
    seconds = {name: step.part_seconds() for name, step in steps.items()}
    parts = list(dict.fromkeys(part for each in seconds.values() for part in each))
    rows = [
        (
            name,
            *(f"{1000 * each.get(part, 0):.0f} ({each.get(part, 0) / sum(each.values()):.0%})" for part in parts),
        )
        for name, each in seconds.items()
    ]
    return measuring.table(("step", *parts), rows)


def runs_report(args: argparse.Namespace) -> str:
    """A table for each precision."""
    from benchmarks.objective_steps import make_steps, objectives_table  # which need fairseq

    tables = []
    for precision in args.precisions:
        steps = make_steps(args.runs, args.whole_clips, args.clips, precision, args.device)
        tables.append(f"{precision}, {args.clips} clip(s):\n\n{objectives_table(steps, args.device, args.repeats)}")
    return "\n\n".join([f"Pre-training steps. {measuring.environment(args.device)}", *tables])


def step_report(size: Size, args: argparse.Namespace, folder: Path) -> str:
    """The table of all steps, and those of their parts."""
    bare = [precision for precision in args.precisions if precision in BARE]
    steps = make_steps(size, args.device, bare, args.compiled, args.checkpointed, not args.no_plain)
    updates = make_updates(size, args.device, args.precisions, args.compiled, folder) if args.trainer else {}
    every = {**steps, **updates}
    measured = measuring.take_turns(every, args.device, args.repeats, lambda name: every[name].prepare())
    tables = [steps_table(every, measured, size, args.device)]
    tables.append("Milliseconds (and share) of each part, in one further step that follows one of its kind:")
    for some in filter(None, (steps, updates)):
        tables.append(
            parts_table({name: step for name, step in some.items() if not math.isnan(measured[name].seconds)})
        )
    for update in updates.values():
        update.close()
    return "\n\n".join(
        (
            f"Pre-training step: {size.clips} clip(s) of {NUM_FRAMES} frames x {size.students} students, "
            f"{size.depth} layers of width {size.embed_dim}.\n{measuring.environment(args.device)}",
            *tables,
        )
    )


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--clips", type=int, default=Size.clips)
    parser.add_argument("--students", type=int, default=Size.students, help="per clip")
    parser.add_argument("--depth", type=int, default=Size.depth)
    parser.add_argument("--embed-dim", type=int, default=Size.embed_dim, help="a multiple of 64")
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=list(DTYPES))
    parser.add_argument("--trainer", action="store_true", help="also the update that a run makes, in fp16, too")
    parser.add_argument("--no-plain", action="store_true", help="without the plain form")
    parser.add_argument("--compiled", action="store_true", help="also with torch.compile, which takes minutes first")
    parser.add_argument("--checkpointed", action="store_true", help="also with recomputed activations")
    parser.add_argument(
        "--runs", nargs="+", default=[], metavar="[NAME: ]WORDS", help="yaml, recipes, overrides in one argument each"
    )
    parser.add_argument(
        "--whole-clips",
        nargs="+",
        default=[],
        metavar="[NAME: ]WORDS",
        help="with --runs: encoders alone, over all patches",
    )
    measuring.add_arguments(parser, repeats=3)
    args = parser.parse_args(argv)
    measuring.set_threads(args.threads)
    if args.whole_clips and not args.runs:
        parser.error("--whole-clips: needs --runs, to be compared with")
    if args.runs:
        measuring.publish("bench_step", argv, runs_report(args), args.output)
        return 0
    size = Size(args.clips, args.students, args.depth, args.embed_dim)
    with tempfile.TemporaryDirectory() as folder:
        text = step_report(size, args, Path(folder))
    measuring.publish("bench_step", argv, text, args.output)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
