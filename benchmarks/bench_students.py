"""Time and memory of a pre-training step per clip, over the number of students per clip.

    python -m benchmarks.bench_students [--students 4 8 16 32] [--clips 1] [--precision fp32]

The students of a clip share one pass of the teacher: more of them cost less than their number. Clocks and memory as in
bench_step; on a CPU both paths keep freed memory.
"""

from __future__ import annotations

import argparse
import dataclasses

import torch

from benchmarks import measuring
from benchmarks.bench_step import DTYPES, Size, make_batch, make_objective
from benchmarks.step import Step, make_optimizer


def students_table(size: Size, students: list[int], precision: str, device: torch.device, repeats: int) -> str:
    objective = make_objective(size, device)
    optimizer = make_optimizer(objective)
    steps = {}
    for number in students:
        batch = make_batch(dataclasses.replace(size, students=number), device)
        for plain in (True, False):
            steps[(number, plain)] = Step(objective, optimizer, batch, precision, plain)
    measured = measuring.take_turns(steps, device, repeats, lambda key: steps[key].prepare())
    rows = []
    for number in students:
        plain, fast = measured[(number, True)], measured[(number, False)]
        parts = steps[(number, False)].part_seconds()
        rows.append(
            (
                f"{number} students",
                f"{1000 * plain.seconds / size.clips:.0f}",
                f"{1000 * fast.seconds / size.clips:.0f}",
                f"{plain.seconds / fast.seconds:.2f}",
                f"{1000 * fast.seconds / size.clips / number:.0f}",
                f"{parts['teacher'] / sum(parts.values()):.0%}",
                f"{plain.peak_bytes / size.clips / measuring.MIB:.0f}",
                f"{fast.peak_bytes / size.clips / measuring.MIB:.0f}",
                f"{fast.peak_bytes / max(1, plain.peak_bytes):.2f}",
            )
        )
    headings = ["per clip", "plain ms", "fast ms", "plain/fast", "fast ms per student", "share of the teacher"]
    headings += ["plain MiB", "fast MiB", "fast/plain MiB"]
    return measuring.table(headings, rows)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--students", type=int, nargs="+", default=[4, 8, 16, 32], help="per clip")
    parser.add_argument("--clips", type=int, default=1)
    parser.add_argument("--depth", type=int, default=Size.depth)
    parser.add_argument("--embed-dim", type=int, default=Size.embed_dim, help="a multiple of 64")
    parser.add_argument("--precision", choices=DTYPES, default="fp32")
    measuring.add_arguments(parser, repeats=3)
    args = parser.parse_args(argv)
    measuring.set_threads(args.threads)
    size = Size(clips=args.clips, depth=args.depth, embed_dim=args.embed_dim)
    text = (
        f"Students per clip: {size.clips} clip(s), {size.depth} layers of width {size.embed_dim}, {args.precision}; "
        f"{measuring.clock_name(args.device)}.\n{measuring.environment(args.device)}\n\n"
        f"{students_table(size, args.students, args.precision, args.device, args.repeats)}"
    )
    measuring.publish("bench_students", argv, text, args.output)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
