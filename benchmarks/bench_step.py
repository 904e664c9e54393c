"""A pre-training step at base size: time, clips/s, peak memory, the share of each part, FLOPs.

    python -m benchmarks.bench_step [--clips 2] [--students 16] [--precisions fp32 bf16] [--compiled] [--checkpointed]
    python -m benchmarks.bench_step --runs "one: pretraining_MAE_AST MAE_AST_6_layers" "two: pretraining_SSAST"

The second compares the steps of registered objectives with each other (objective_steps.py), the first those of ASDA's
with its plain form.

A step is forward, backward, gradient clipping, AdamW and the teacher's EMA, on given masks. The fast path and the plain
one (benchmarks/reference.py) take turns on the same weights. On a CPU the fast one keeps freed memory, as training does
(ASDA/host_memory.py); the plain one is measured without that and with it. Times there are processor time, which other
people's programs hardly stretch; with one thread it is what an idle machine's wall clock shows.
"""

from __future__ import annotations

import argparse
import copy
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ASDA.core import zoo
from ASDA.core.encoder import SpectrogramEncoder
from ASDA.masks.inverse_block import InverseBlockMask
from ASDA.objectives.conv_decoder import ConvDecoder2d
from ASDA.objectives.counting import step_flops
from ASDA.objectives.self_distillation import SelfDistillation
from benchmarks import measuring
from benchmarks.step import Step, make_optimizer

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
NUM_FRAMES, NUM_MEL_BINS = 1024, 128
MEMORY_KEPT = ", memory kept"


@dataclass(frozen=True)
class Size:
    clips: int = 2
    students: int = 16
    depth: int = 12
    embed_dim: int = 768


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
    size: Size, device: torch.device, precisions: list[str], compiled: bool, checkpointed: bool
) -> dict[str, Step]:
    objective, batch = make_objective(size, device), make_batch(size, device)
    steps = {}
    optimizer = make_optimizer(objective)
    for precision in precisions:
        steps[f"plain {precision}"] = Step(objective, optimizer, batch, precision, plain=True, keeps_memory=False)
        if device.type == "cpu" and measuring.keep_freed_memory(True):
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


def steps_table(steps: dict[str, Step], size: Size, device: torch.device, repeats: int) -> str:
    measured = measuring.take_turns(steps, device, repeats, lambda name: steps[name].prepare())
    first = next(iter(steps.values()))
    flops = step_flops(first.objective, first.batch[0], first.places)
    rates = {p: measuring.matmul_rate(device, DTYPES[p]) for p in {s.precision for s in steps.values()}}
    rows = []
    for name, step in steps.items():
        m = measured[name]
        own, base = (measured.get(f"plain {p}") for p in (step.precision, "fp32"))
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
    speeds = ", ".join(f"{p} {rates[p] / 1e9:.0f} GFLOP/s" for p in sorted(rates, reverse=True))
    memory = ""
    if any(name.endswith(MEMORY_KEPT) for name in steps):
        memory = " The fast steps keep freed memory, as training does; the plain ones do where the row says so."
    return (
        f"{measuring.table(headings, rows)}\n\n"
        f"A step needs {flops / 1e12:.3g} TFLOP; measured matmul rate: {speeds}. `ms`: "
        f"{measuring.clock_name(device)}; `peak MiB`: what a step takes beyond weights, teacher and optimiser state; "
        f"`plain/ms`: time of the plain step of the same precision over this one's.{memory}"
    )


def parts_table(steps: dict[str, Step]) -> str:
    seconds = {name: step.part_seconds() for name, step in steps.items()}
    parts = list(dict.fromkeys(part for each in seconds.values() for part in each))
    rows = [
        (
            name,
            *(f"{1000 * each.get(part, 0):.0f} ({each.get(part, 0) / sum(each.values()):.0%})" for part in parts),
        )
        for name, each in seconds.items()
    ]
    title = "Milliseconds (and share) of each part, in one further step that follows one of its kind:"
    return f"{title}\n\n{measuring.table(('step', *parts), rows)}"


def runs_report(args: argparse.Namespace) -> str:
    """A table for each precision."""
    from benchmarks.objective_steps import make_steps, objectives_table  # which need fairseq

    tables = []
    for precision in args.precisions:
        steps = make_steps(args.runs, args.whole_clips, args.clips, precision, args.device)
        tables.append(f"{precision}, {args.clips} clip(s):\n\n{objectives_table(steps, args.device, args.repeats)}")
    return "\n\n".join([f"Pre-training steps. {measuring.environment(args.device)}", *tables])


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--clips", type=int, default=Size.clips)
    parser.add_argument("--students", type=int, default=Size.students, help="per clip")
    parser.add_argument("--depth", type=int, default=Size.depth)
    parser.add_argument("--embed-dim", type=int, default=Size.embed_dim, help="a multiple of 64")
    parser.add_argument("--precisions", nargs="+", choices=DTYPES, default=list(DTYPES))
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
    steps = make_steps(size, args.device, args.precisions, args.compiled, args.checkpointed)
    text = (
        f"Pre-training step: {size.clips} clip(s) of {NUM_FRAMES} frames x {size.students} students, "
        f"{size.depth} layers of width {size.embed_dim}.\n{measuring.environment(args.device)}\n\n"
        f"{steps_table(steps, size, args.device, args.repeats)}\n\n{parts_table(steps)}"
    )
    measuring.publish("bench_step", argv, text, args.output)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
