"""Whole updates of runs, in fairseq's trainer: time, clips/s, peak memory, the share of each part, a profile.

    python -m benchmarks.bench_update pretraining finetuning [--clips 12] [--precisions fp32 bf16] [--compiled]
    python -m benchmarks.bench_update pretraining --profile

An update is what the trainer makes of a batch that is there: sums over the processes (there is one), statistics and the
learning rate included, reading data and checkpoints not. bench_step --trainer has it beside the bare step.
--profile lists the operations, and says for how long none runs. Clocks and memory as in bench_step.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from pathlib import Path

import torch

from benchmarks import measuring
from benchmarks.bench_extract import write_model
from benchmarks.bench_step import Size, parts_table
from benchmarks.profiling import profiled
from benchmarks.real_update import RealUpdate
from benchmarks.step import PRECISIONS

KINDS = ("pretraining", "finetuning")


def words(kind: str, size: Size, folder: Path) -> str:
    """Of a run of this kind; fine-tuning has AudioSet's classes and recipe."""
    if kind == "pretraining":
        return size.words
    encoder = write_model(folder, size.embed_dim, size.depth)
    return f"finetuning AS20K task.multi_label=true model.model_path={encoder}"


def updates_table(updates: dict[str, RealUpdate], device: torch.device, repeats: int) -> str:
    """A row for each update, and a table of their parts."""
    measured = measuring.take_turns(updates, device, repeats, lambda name: updates[name].prepare())
    rows = []
    for name, update in updates.items():
        m = measured[name]
        if math.isnan(m.seconds):
            rows.append((name, "out of memory", "-", "-", "-"))
            continue
        numbers = (
            f"{1000 * m.wall_seconds:.0f}",
            f"{update.clips / m.seconds:.3g}",
            f"{m.peak_bytes / measuring.MIB:.0f}",
        )
        rows.append((name, f"{1000 * m.seconds:.0f}", *numbers))
    fitting = {name: update for name, update in updates.items() if not math.isnan(measured[name].seconds)}
    tables = [measuring.table(("update", "ms", "wall ms", "clips/s", "peak MiB"), rows)]
    if fitting:
        tables += ["Milliseconds (and share) of each part of a further update:", parts_table(fitting)]
    return "\n\n".join(tables)


def profiles(updates: dict[str, RealUpdate], device: torch.device, repeats: int) -> str:
    """A table of operations for each update."""
    parts = []
    for name, update in updates.items():
        update.prepare()
        update()
        update()
        found = profiled(update, device, repeats)
        parts += [f"{name}: {found.sentence(device)}", found.table()]
    return "\n\n".join(parts)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("kinds", nargs="+", choices=KINDS, metavar="KIND", help=" or ".join(KINDS))
    parser.add_argument("--clips", type=int, default=Size.clips, help="of a batch [%(default)s]")
    parser.add_argument("--students", type=int, default=Size.students, help="per clip, of pre-training")
    parser.add_argument("--depth", type=int, default=Size.depth)
    parser.add_argument("--embed-dim", type=int, default=Size.embed_dim, help="a multiple of 64")
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=["fp32", "bf16"])
    parser.add_argument("--compiled", action="store_true", help="with torch.compile")
    parser.add_argument("--profile", action="store_true", help="operations instead of times")
    measuring.add_arguments(parser, repeats=3)
    args = parser.parse_args(argv)
    measuring.set_threads(args.threads)
    size = Size(args.clips, args.students, args.depth, args.embed_dim)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        updates = {
            f"{kind} {precision}{', compiled' if args.compiled else ''}": RealUpdate(
                words(kind, size, folder), size.clips, precision, args.device, folder, args.compiled
            )
            for kind in args.kinds
            for precision in args.precisions
        }
        report = profiles if args.profile else updates_table
        table = report(updates, args.device, args.repeats)
        for update in updates.values():
            update.close()
    text = (
        f"Updates in fairseq's trainer: {size.clips} clip(s) of 10 s, {size.depth} layers of width {size.embed_dim}; "
        f"in pre-training {size.students} students ({measuring.clock_name(args.device)}).\n"
        f"{measuring.environment(args.device)}\n\n{table}"
    )
    measuring.publish("bench_update", argv, text, args.output)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
