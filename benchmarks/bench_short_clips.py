"""What short clips cost where there is no network, by threads and by processes: decoding, statistics, asda-extract.

    python -m benchmarks.bench_short_clips [--clips 4000] [--seconds 1] [--workers 1 2] [--turns 3] [--output TABLE.md]

* Decoding to log-mel values, as extraction does it, by threads and by processes, which are started and ended within the
  time.
* Their statistics, as `asda-manifest stats` takes them.
* asda-extract with a network that takes no time: what the program itself can do, with so many workers.

What starting costs is told by the same with a few clips, and is taken off. Processor time is that of all processes;
clips per second are on the wall, and mean something on a quiet machine only.
"""

import argparse
import itertools
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple
from unittest import mock

from ASDA.cli import extract as program  # its settings for OpenMP are to be there when torch loads

# isort: split
import torch

from ASDA.audio.front_end import FrontEnd
from ASDA.data.manifest import Manifest, write_manifest
from ASDA.data.preparation.statistics import feature_statistics
from ASDA.inference import features
from ASDA.inference.clips import find_clips
from ASDA.inference.loading import load_clips
from ASDA.inference.windows import Windowing
from benchmarks import measuring
from benchmarks.bench_extract import write_clips, write_model

WINDOW_FRAMES = 96


class Times(NamedTuple):
    """Seconds: of all processes on their cores, and on the wall."""

    processor: float
    wall: float

    @classmethod
    def now(cls) -> "Times":
        """So far; of other processes those that this one has waited for."""
        return cls(sum(os.times()[:4]), time.perf_counter())


def decode(folder: Path, workers: int, processes: bool) -> None:
    """Decodes the clips of a folder."""
    clips = enumerate(find_clips([str(folder)]))
    for _ in load_clips(clips, Windowing(FrontEnd(WINDOW_FRAMES)), num_workers=workers, processes=processes):
        pass


def take_statistics(folder: Path, workers: int, processes: bool) -> None:
    """Passes over the manifest of a folder's clips."""
    feature_statistics(
        Manifest.read(folder.with_suffix(".tsv")), workers=workers, in_processes=lambda manifest, rows: processes
    )


def extract(folder: Path, workers: int, processes: bool, model: Path) -> None:
    """Runs asda-extract over the clips, with zeros in the place of what the network gives."""

    def no_network(encoder, source: torch.Tensor, *_: object) -> torch.Tensor:
        return torch.zeros(len(source), 1, 1, encoder.config.stack.embed_dim)

    # A folder for each run: ext4 is slow, 0.8 ms a file, to make new ones where some were removed just before.
    output = tempfile.mkdtemp(dir=model.parent)
    words = [folder, "--checkpoint_dir", model, "--output", output, "--granularity", "utterance"]
    words += ["--padding", "mask", "--device", "cpu", "--num_workers", workers]
    words += ["--worker_processes"] if processes else []
    with mock.patch.object(features, "hidden_states", no_network):
        if program.main([str(word) for word in words]) != 0:
            raise RuntimeError("asda-extract failed")


def measured(way: Callable[[Path], None], folder: Path) -> Times:
    start, _, end = Times.now(), way(folder), Times.now()
    return Times(end.processor - start.processor, end.wall - start.wall)


def row(name: str, turns: list[tuple[Times, Times]], few: int, clips: int) -> list[str]:
    """Medians of a way's turns, each with few clips and with all."""
    further = [
        ((all_.processor - of_few.processor) / (clips - few), (all_.wall - of_few.wall) / (clips - few))
        for of_few, all_ in turns
    ]
    processor, wall = (statistics.median(numbers) for numbers in zip(*further, strict=True))
    start = statistics.median(of_few.wall for of_few, _ in turns)
    return [name, f"{start:.1f}", f"{1000 * processor:.2f}", f"{1 / wall:.0f}"]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--clips", type=int, default=4000, help="in the folder [%(default)s]")
    parser.add_argument("--few", type=int, default=64, help="clips that tell the time to start [%(default)s]")
    parser.add_argument("--seconds", type=float, default=1.0, help="length of a clip [%(default)s]")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="threads or processes [%(default)s]")
    parser.add_argument("--turns", type=int, default=3, help="runs of each way [%(default)s]")
    parser.add_argument("--output", type=Path, help="markdown file to write the report to as well")
    args = parser.parse_args(argv)
    if not 0 < args.few < args.clips:
        parser.error(f"--few has to be between 1 and --clips - 1, got {args.few} of {args.clips}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        few, clips = folder / "few", folder / "audio"
        for part, number in ((few, args.few), (clips, args.clips)):
            write_clips(part, number, args.seconds)
            rows = [(file.name, round(args.seconds * 16_000)) for file in sorted(part.iterdir())]
            write_manifest(part.with_suffix(".tsv"), part, rows)
        extraction = partial(extract, model=write_model(folder, 64, 1))
        ways = {
            f"{what}, {workers} {kind}": partial(do, workers=workers, processes=kind == "processes")
            for (what, do), workers, kind in itertools.product(
                (
                    ("decoding", decode),
                    ("asda-manifest stats", take_statistics),
                    ("asda-extract without a network", extraction),
                ),
                args.workers,
                ("threads", "processes"),
            )
        }
        turns: dict[str, list[tuple[Times, Times]]] = {name: [] for name in ways}
        for _ in range(args.turns):
            for name, way in ways.items():
                turns[name].append((measured(way, few), measured(way, clips)))
    table = [row(name, of_way, args.few, args.clips) for name, of_way in turns.items()]
    headings = ["way", f"s for {args.few} clips", "processor ms per further clip", "further clips/s"]
    text = (
        f"{args.clips} clips of {args.seconds:g} s (16 kHz flac).\n{measuring.environment()}\n\n"
        f"{measuring.table(headings, table)}"
    )
    measuring.publish("bench_short_clips", argv, text, args.output)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
