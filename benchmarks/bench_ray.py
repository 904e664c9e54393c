"""Features of a folder by the workers of a Ray cluster on this machine, against the program alone.

    python -m benchmarks.bench_ray [--clips 256] [--workers 1 2] [--threads 1 2] [--output TABLE.md]

Every way runs the same program over the same generated clips, once over a few and once over all of them: the few tell
what it takes to start (Ray, and Python and torch in each worker), the others what goes through afterwards. A worker has
one core, or a GPU. The features have to be those of the program alone, to the bit. Times are the wall clock's, as much
of the work is in processes that Ray starts: run nothing beside them.
"""

import argparse
import math
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks import measuring
from benchmarks.bench_extract import run_extract, write_clips, write_model


@dataclass(frozen=True)
class Way:
    """A way to run the program: what it is called, its flags, the network's threads."""

    name: str
    flags: tuple[str, ...]
    threads: int


def ways(args: argparse.Namespace) -> list[Way]:
    """The program alone, and on clusters of so many workers."""
    on_gpu = args.device.type == "cuda"
    alone = [Way("the program alone" + ("" if on_gpu else f", {n} threads"), (), n) for n in args.threads]
    return (alone[:1] if on_gpu else alone) + [
        Way(f"Ray, {n} workers", ("--ray", "local", "--ray-workers", str(n), "--ray-cpus", "1"), 1)
        for n in args.workers
    ]


def measure(folder: Path, model: Path, way: Way, args: argparse.Namespace) -> tuple[float, float]:
    """Seconds for the few clips, and clips per second of the others: NaN if they took less than the few."""
    walls = []
    for audio in ("few", "all"):
        output = folder / f"{audio} by {way.name}"
        flags = (folder / audio, "--output", output, "--batch_size", args.batch_size, *way.flags)
        walls.append(run_extract(model, args.device, way.threads, *flags).wall_s)
    others = args.clips - args.few
    return walls[0], others / (walls[1] - walls[0]) if walls[1] > walls[0] else math.nan


def check_same(folder: Path, first: Way, second: Way) -> None:
    """Refuses to compare ways that compute something else.

    Raises:
        RuntimeError: they do.
    """
    files = sorted((folder / f"all by {first.name}").rglob("*.npy"))
    for file in files:
        other = folder / f"all by {second.name}" / file.name
        if not np.array_equal(np.load(file), np.load(other)):
            raise RuntimeError(f"{file.name}: {first.name} and {second.name} differ, nothing to compare")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--clips", type=int, default=256, help="clips in the folder [%(default)s]")
    parser.add_argument("--few", type=int, default=8, help="clips in the small one [%(default)s]")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of a clip [%(default)s]")
    parser.add_argument("--depth", type=int, default=2, help="layers of the model [%(default)s]")
    parser.add_argument("--width", type=int, default=768, help="of the model [%(default)s]")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="of the clusters [1 2]")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="of the program alone, on a CPU [1 2]")
    parser.add_argument("--batch_size", type=int, default=8, help="[%(default)s]; a worker takes four at a time")
    parser.add_argument("--device", type=torch.device, default=measuring.best_device())
    parser.add_argument("--output", type=Path, help="markdown file to write the report to as well")
    args = parser.parse_args(argv)
    if not 0 < args.few < args.clips:
        parser.error("--few has to be less than --clips")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_clips(folder / "all", args.clips, args.seconds)
        write_clips(folder / "few", args.few, args.seconds)
        model = write_model(folder, args.width, args.depth)
        measured = {way: measure(folder, model, way, args) for way in ways(args)}
        alone = next(iter(measured))
        for way in measured:
            if way.threads == alone.threads:
                check_same(folder, alone, way)
    rate = measured[alone][1]
    rows = [
        (way.name, f"{few_s:.1f}", f"{per_s:.2f}", f"{per_s / rate:.2f}") for way, (few_s, per_s) in measured.items()
    ]
    text = (
        f"{args.clips} clips of {args.seconds:g} s (16 kHz flac) to features, a model of {args.depth} layers of width "
        f"{args.width}, batches of {args.batch_size} (wall time); to start: with {args.few} clips.\n"
        f"{measuring.environment(args.device)}\n\n"
        f"{measuring.table(['way', 's to start', 'clips/s then', 'ratio'], rows)}"
    )
    measuring.publish("bench_ray", argv, text, args.output)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
