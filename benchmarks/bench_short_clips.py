"""What short clips cost beside the network: decoding by threads and by processes, and all of asda-extract without one.

    python -m benchmarks.bench_short_clips [--clips 4000] [--seconds 1] [--workers 1 2] [--turns 3] [--output TABLE.md]

* Decoding to log-mel values, as extraction does it: by threads of one process, and by processes that get 32 clips at a
  time and send back what they made of them. Processes are forked, which costs nothing but is not safe in a program
  that has threads, or spawned, each of which imports torch first; both are started and ended within the time.
* asda-extract with a network that takes no time: what the program itself can do, with so many decoding threads.

Processor time is that of all processes; clips per second are on the wall, and mean something on a quiet machine only.
"""

import argparse
import multiprocessing
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, ProcessPoolExecutor
from pathlib import Path
from unittest import mock

from ASDA.cli import extract as program  # its settings for OpenMP are to be there when torch loads

# isort: split
import torch

from ASDA.audio.front_end import FrontEnd
from ASDA.data.containers import ClipReader
from ASDA.inference import features
from ASDA.inference.clips import Clip, Clips, find_clips
from ASDA.inference.loading import load_clips
from ASDA.inference.windows import LoadedClip, Windowing, load_clip
from benchmarks import measuring
from benchmarks.bench_extract import write_clips, write_model

CHUNK = 32
METHODS = sorted({"fork", "spawn"} & set(multiprocessing.get_all_start_methods()))
WINDOW_FRAMES = 96


def decoded(numbered: list[tuple[int, Clip]]) -> list[LoadedClip]:
    """What extraction makes of some clips before the network."""
    torch.set_num_threads(1)
    reader, windowing = ClipReader(), Windowing(FrontEnd(WINDOW_FRAMES))
    return [load_clip(index, clip, reader, windowing) for index, clip in numbered]


def by_threads(clips: Clips, workers: int) -> Iterable[object]:
    return load_clips(enumerate(clips), Windowing(FrontEnd(WINDOW_FRAMES)), num_threads=workers)


def by(pool: Executor, clips: Clips) -> Iterable[object]:
    numbered = list(enumerate(clips))
    with pool:
        for chunk in pool.map(decoded, (numbered[first : first + CHUNK] for first in range(0, len(numbered), CHUNK))):
            yield from chunk


def by_processes(clips: Clips, workers: int, method: str) -> Iterable[object]:
    return by(ProcessPoolExecutor(workers, multiprocessing.get_context(method)), clips)


def extracted(folder: Path, model: Path, workers: int) -> Iterable[object]:
    """Runs asda-extract over the clips, with zeros in the place of what the network gives."""

    def no_network(encoder, source: torch.Tensor, *_: object) -> torch.Tensor:
        return torch.zeros(len(source), 1, 1, encoder.config.stack.embed_dim)

    output = folder / "features"
    words = [folder / "audio", "--checkpoint_dir", model, "--output", output, "--granularity", "utterance"]
    words += ["--padding", "mask", "--device", "cpu", "--num_workers", workers]
    with mock.patch.object(features, "hidden_states", no_network):
        if program.main([str(word) for word in words]) != 0:
            raise RuntimeError("asda-extract failed")
    shutil.rmtree(output)
    return ()


def processor_s() -> float:
    """Processor time so far, of this process and those that it has waited for."""
    return sum(os.times()[:4])


def measured(ways: dict[str, Callable[[], Iterable[object]]], clips: int, turns: int) -> list[tuple[str, ...]]:
    """A table row for each way, by turns, after one that counts for nothing."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for turn in range(turns + 1):
        for name, way in ways.items():
            wall, used = time.perf_counter(), processor_s()
            for _ in way():
                pass
            if turn:
                times[name].append((processor_s() - used, time.perf_counter() - wall))
    rows = []
    for name, each in times.items():
        processor, wall = (statistics.median(numbers) for numbers in zip(*each, strict=True))
        rows.append((name, f"{1000 * processor / clips:.2f}", f"{clips / wall:.0f}"))
    return rows


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--clips", type=int, default=4000, help="in the folder [%(default)s]")
    parser.add_argument("--seconds", type=float, default=1.0, help="length of a clip [%(default)s]")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="threads or processes [%(default)s]")
    parser.add_argument("--turns", type=int, default=3, help="runs of each way [%(default)s]")
    parser.add_argument("--output", type=Path, help="markdown file to write the report to as well")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_clips(folder / "audio", args.clips, args.seconds)
        model, clips = write_model(folder, 64, 1), find_clips([str(folder / "audio")])
        ways: dict[str, Callable[[], Iterable[object]]] = {}
        for workers in args.workers:
            ways[f"decoding, {workers} threads"] = lambda n=workers: by_threads(clips, n)
            for method in METHODS:
                ways[f"decoding, {workers} processes ({method})"] = lambda n=workers, m=method: by_processes(
                    clips, n, m
                )
            ways[f"asda-extract without a network, {workers} threads"] = lambda n=workers: extracted(folder, model, n)
        rows = measured(ways, args.clips, args.turns)
    text = (
        f"{args.clips} clips of {args.seconds:g} s (16 kHz flac).\n{measuring.environment()}\n\n"
        f"{measuring.table(['way', 'processor ms per clip', 'clips/s'], rows)}"
    )
    measuring.publish("bench_short_clips", argv, text, args.output)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
