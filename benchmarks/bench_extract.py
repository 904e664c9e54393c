"""Features of a folder: one run of asda-extract over it against one process for each file, as EAT's program works.

    python -m benchmarks.bench_extract [--clips 32] [--single 3] [--seconds 10] [--depths 12 2] [--output TABLE.md]

Both run the same program on the same generated clips with randomly initialised models of base width. A process for
each file pays for Python, torch and the model every time. On the CPU, seconds are processor time, as in the other
benchmarks, with one thread unless --threads says otherwise.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import soundfile
import torch

from ASDA.audio.front_end import FrontEnd
from ASDA.checkpoints.checkpoint import Checkpoint
from ASDA.checkpoints.layouts import directory
from ASDA.core import zoo
from ASDA.core.encoder import SpectrogramEncoder
from benchmarks import measuring

RATE_HZ = 16_000


def write_clips(folder: Path, clips: int, seconds: float) -> None:
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(clips):
        samples = 0.1 * rng.standard_normal(round(seconds * RATE_HZ))
        soundfile.write(folder / f"{number:04d}.flac", samples, RATE_HZ)


def extract(model: Path, device: torch.device, threads: int, *arguments: object) -> float:
    """Seconds that asda-extract takes from start to end: wall time with a GPU, else processor time."""
    command = [sys.executable, "-m", "ASDA.cli.extract", "--checkpoint_dir", model, "--device", device, *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    start, used = time.perf_counter(), os.times()
    subprocess.run([str(argument) for argument in command], env=environment, check=True, stderr=subprocess.DEVNULL)
    wall, now = time.perf_counter() - start, os.times()
    if device.type == "cuda":
        return wall
    return now.children_user + now.children_system - used.children_user - used.children_system


def measure(folder: Path, audio: Path, depth: int, args: argparse.Namespace) -> list[tuple[str, ...]]:
    """Table rows for a model of ``depth`` layers."""
    torch.manual_seed(0)
    encoder = SpectrogramEncoder(replace(zoo.ASDA, stack=replace(zoo.ASDA.stack, depth=depth)))
    model = folder / f"model-{depth}"
    checkpoint = Checkpoint(folder, "directory", encoder.config, encoder.state_dict(), FrontEnd())
    directory.write(model, checkpoint, state=None)
    paths = sorted(audio.iterdir())
    features = folder / f"features-{depth}"
    whole = extract(model, args.device, args.threads, audio, "--output", features) / len(paths)
    times = []
    for path in paths[: args.single]:
        target = folder / f"{path.stem}.npy"
        times.append(extract(model, args.device, args.threads, "--source_file", path, "--target_file", target))
        if np.abs(np.load(target) - np.load(features / target.name)).max() > 1e-4:
            raise RuntimeError(f"{path.name}: the two ways differ, nothing to compare")
    one = statistics.median(times)
    return [
        (f"{depth} layers, a process per file", f"{one:.2f}", f"{1 / one:.2f}", ""),
        (f"{depth} layers, one run over the folder", f"{whole:.2f}", f"{1 / whole:.2f}", f"{one / whole:.1f}"),
    ]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--clips", type=int, default=32, help="clips in the folder")
    parser.add_argument("--single", type=int, default=3, help="how many of them get a process each")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of a clip")
    parser.add_argument("--depths", type=int, nargs="+", default=[12, 2], help="layers of the models")
    parser.add_argument("--device", type=torch.device, default=measuring.best_device())
    parser.add_argument("--threads", type=int, default=1, help="threads of the model [%(default)s]")
    parser.add_argument("--output", type=Path, help="markdown file to write the report to as well")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_clips(folder / "audio", args.clips, args.seconds)
        rows = [row for depth in args.depths for row in measure(folder, folder / "audio", depth, args)]
    headings = ["way", "s per clip", "clips/s", "ratio"]
    text = (
        f"{args.clips} clips of {args.seconds:g} s (16 kHz flac) to features, models of base width "
        f"({measuring.clock_name(args.device)}, {args.threads} threads).\n{measuring.environment(args.device)}\n\n"
        f"{measuring.table(headings, rows)}"
    )
    measuring.publish("bench_extract", argv, text, args.output)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
