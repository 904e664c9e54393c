"""Features of a folder: one run of asda-extract over it against one process for each file, as EAT's program works.

    python -m benchmarks.bench_extract [--clips 32] [--single 3] [--seconds 10] [--depths 12 2] [--output TABLE.md]
    python -m benchmarks.bench_extract --compare waiting workers half padding [--turns 3] [--clips 200] [--seconds 1]
    python -m benchmarks.bench_extract --growth 1000 4000 20000 --seconds 1 --width 64 --depths 1
    python -m benchmarks.bench_extract --recording 10 60 120 --width 64 --depths 1

Both run the same program on the same generated clips with randomly initialised models of base width. A process for
each file pays for Python, torch and the model every time. On the CPU, seconds are processor time, as in the other
benchmarks, with one thread unless --threads says otherwise.

--compare runs the folder in two ways by turns, which differ in one setting; --growth runs folders of several sizes, and
--recording one recording of several lengths in minutes, with the most memory that the program held.
"""

import argparse
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
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


COMPARED: dict[str, tuple[tuple[str, dict[str, str], list[str]], ...]] = {
    "waiting": (("active waiting", {"OMP_WAIT_POLICY": "ACTIVE"}, []), ("passive waiting", {}, [])),
    "workers": (("4 decoding threads", {}, ["--num_workers", "4"]), ("as the cores allow", {}, [])),
    "half": (("float32", {}, []), ("--half", {}, ["--half"])),
    "padding": (("--padding constant", {}, ["--padding", "constant"]), ("--padding mask", {}, ["--padding", "mask"])),
}
"""Two ways of a run each: what they are called, their environment, their flags."""


@dataclass(frozen=True)
class Run:
    """What a run of asda-extract from start to end took: seconds of processor time and on the wall, peak MiB."""

    processor_s: float
    wall_s: float
    peak_mib: float


_WITH_PEAK = """
import resource, runpy, sys
from pathlib import Path
sys.argv, code = sys.argv[1:], 0
try:
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
except SystemExit as end:
    code = end.code or 0
if sys.platform == "linux":  # where the system's own number counts what the process that started this one held
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    print(int(line.split()[1]) / 2**10)
else:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
raise SystemExit(code)
"""


def run_program(module: str, *arguments: object, threads: int, **environment: str) -> Run:
    """Runs a module in a process of its own; ``threads`` 0 leaves their number to the program.

    Raises:
        RuntimeError: it did not end well.
    """
    settings = {**os.environ, **({"OMP_NUM_THREADS": str(threads)} if threads else {}), **environment}
    command = [sys.executable, "-c", _WITH_PEAK, module, *map(str, arguments)]
    start, used = time.perf_counter(), os.times()
    done = subprocess.run(command, env=settings, capture_output=True, text=True)
    wall, now = time.perf_counter() - start, os.times()
    if done.returncode:
        words = shlex.join([module, *command[4:]])
        raise RuntimeError(f"{words} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    processor = now.children_user + now.children_system - used.children_user - used.children_system
    return Run(processor, wall, float(done.stdout.split()[-1]))


def run_extract(model: Path, device: torch.device, threads: int, *arguments: object, **environment: str) -> Run:
    """Runs asda-extract, see `run_program`."""
    words = ("--checkpoint_dir", model, "--device", device, *arguments)
    return run_program("ASDA.cli.extract", *words, threads=threads, **environment)


def extract(model: Path, device: torch.device, threads: int, *arguments: object) -> float:
    """Seconds that asda-extract takes from start to end: wall time with a GPU, else processor time."""
    run = run_extract(model, device, threads, *arguments)
    return run.wall_s if device.type == "cuda" else run.processor_s


def write_model(folder: Path, width: int, depth: int) -> Path:
    """A randomly initialised model of ASDA's kind."""
    torch.manual_seed(0)
    stack = replace(zoo.ASDA.stack, embed_dim=width, depth=depth, num_heads=max(1, width // 64))
    encoder = SpectrogramEncoder(replace(zoo.ASDA, stack=stack))
    model = folder / f"model-{width}-{depth}"
    checkpoint = Checkpoint(folder, "directory", encoder.config, encoder.state_dict(), FrontEnd())
    directory.write(model, checkpoint, state=None)
    return model


def compare(folder: Path, model: Path, name: str, args: argparse.Namespace) -> list[tuple[str, ...]]:
    """Table rows of two ways of a run over the folder, by turns; the ratio is that of the second to the first."""
    write_clips_once(folder / "audio", args.clips, args.seconds)
    runs: dict[str, list[Run]] = {}
    for _ in range(args.turns):
        for way, environment, flags in COMPARED[name]:
            arguments = (folder / "audio", "--output", folder / way.replace(" ", "-"), *flags)
            runs.setdefault(way, []).append(run_extract(model, args.device, args.threads, *arguments, **environment))
    rows, first = [], None
    for way, turns in runs.items():
        processor, wall = (statistics.median(getattr(run, key) for run in turns) for key in ("processor_s", "wall_s"))
        first = first or (processor, wall)
        ratios = f"{processor / first[0]:.2f}", f"{wall / first[1]:.2f}"
        rows.append((f"{model.name}, {way}", f"{processor:.1f}", f"{wall:.1f}", *ratios))
    return rows


def growth(folder: Path, model: Path, args: argparse.Namespace) -> list[tuple[str, ...]]:
    """Table rows of folders of several sizes."""
    rows = []
    for number in args.growth:
        audio = folder / f"audio-{number}"
        write_clips(audio, number, args.seconds)
        run = run_extract(model, args.device, args.threads, audio, "--output", folder / f"features-{number}")
        each = f"{1000 * run.processor_s / number:.2f}"
        rows.append((f"{number} clips", f"{run.processor_s:.1f}", each, f"{run.peak_mib:.0f}"))
    return rows


def recordings(folder: Path, model: Path, args: argparse.Namespace) -> list[tuple[str, ...]]:
    """Table rows of a recording of several lengths."""
    rows = []
    minute = 0.1 * np.random.default_rng(0).standard_normal(60 * RATE_HZ)
    for minutes in args.recording:
        audio = folder / f"{minutes}.flac"
        with soundfile.SoundFile(audio, "w", RATE_HZ, 1) as file:
            for _ in range(minutes):
                file.write(minute)
        flags = (audio, "--long", "windows", "--granularity", args.granularity, "--output", folder / f"of-{minutes}")
        run = run_extract(model, args.device, args.threads, *flags)
        each = f"{1000 * run.processor_s / minutes:.0f}"
        rows.append((f"{minutes} minutes", f"{run.processor_s:.1f}", each, f"{run.peak_mib:.0f}"))
    return rows


def write_clips_once(folder: Path, clips: int, seconds: float) -> None:
    if not folder.exists():
        write_clips(folder, clips, seconds)


def measure(folder: Path, audio: Path, depth: int, args: argparse.Namespace) -> list[tuple[str, ...]]:
    """Table rows for a model of ``depth`` layers."""
    model = write_model(folder, args.width, depth)
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


def other_tables(folder: Path, model: Path, args: argparse.Namespace) -> list[str]:
    """The tables of --compare, --growth and --recording, as far as they are asked for."""
    tables = []
    if args.compare:
        rows = [row for name in args.compare for row in compare(folder, model, name, args)]
        tables.append(measuring.table(["way", "processor s", "wall s", "ratio", "wall ratio"], rows))
    if args.growth:
        headings = ["folder", "processor s", "ms per clip", "peak MiB"]
        tables.append(measuring.table(headings, growth(folder, model, args)))
    if args.recording:
        headings = ["recording", "processor s", "ms per minute", "peak MiB"]
        tables.append(measuring.table(headings, recordings(folder, model, args)))
    return tables


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--clips", type=int, default=32, help="clips in the folder")
    parser.add_argument("--single", type=int, default=3, help="how many of them get a process each")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of a clip")
    parser.add_argument("--depths", type=int, nargs="+", default=[12, 2], help="layers of the models")
    parser.add_argument("--device", type=torch.device, default=measuring.best_device())
    parser.add_argument("--width", type=int, default=768, help="of the models [%(default)s]")
    parser.add_argument("--compare", nargs="+", choices=COMPARED, default=[], help="settings, on against off by turns")
    parser.add_argument("--turns", type=int, default=3, help="runs of each way of --compare [%(default)s]")
    parser.add_argument("--growth", type=int, nargs="+", metavar="CLIPS", help="sizes of folders")
    parser.add_argument("--recording", type=int, nargs="+", metavar="MINUTES", help="lengths of a recording")
    parser.add_argument("--granularity", default="utterance", help="of --recording [%(default)s]")
    parser.add_argument("--threads", type=int, default=1, help="threads of the model; 0: the program's [%(default)s]")
    parser.add_argument("--output", type=Path, help="markdown file to write the report to as well")
    args = parser.parse_args(argv)
    tables, threads = [], args.threads or "the program's"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if args.compare or args.growth or args.recording:
            for model in (write_model(folder, args.width, depth) for depth in args.depths):
                tables += other_tables(folder, model, args)
        else:
            write_clips(folder / "audio", args.clips, args.seconds)
            rows = [row for depth in args.depths for row in measure(folder, folder / "audio", depth, args)]
            tables.append(measuring.table(["way", "s per clip", "clips/s", "ratio"], rows))
    what = "Clips" if (args.growth or args.recording) and not args.compare else f"{args.clips} clips"
    text = (
        f"{what} of {args.seconds:g} s (16 kHz flac) to features, models of width {args.width} "
        f"({measuring.clock_name(args.device)}, {threads} threads).\n"
        f"{measuring.environment(args.device)}\n\n" + "\n\n".join(tables)
    )
    measuring.publish("bench_extract", argv, text, args.output)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
