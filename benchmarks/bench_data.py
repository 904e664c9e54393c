"""Clips per second and core from files and containers to batches with 16 masks each, and the share of each stage.

    python -m benchmarks.bench_data [--clips 48] [--seconds 10] [--repeats 5] [--rows 10000000] [--output TABLE.md]
    python -m benchmarks.bench_data --workers 1 2 4 [--clips 240]

One core, no worker processes, files in the page cache. Clips are drawn in random order, as in training. Every stage is
timed inside the complete loop, clip by clip, in processor time, which a busy machine does not stretch much; each number
is the median over the repeats. Then the time and memory to load a manifest of many rows.

--workers measures loaders with so many processes instead, on the wall, and says how many of them a GPU takes.
"""

from __future__ import annotations

import argparse
import statistics
import tarfile
import tempfile
import time
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
import soundfile
import torch

from ASDA.audio import samples as audio_samples
from ASDA.audio.front_end import FrontEnd
from ASDA.data.dataset import SpectrogramDataset
from ASDA.data.manifest import Manifest, write_manifest
from ASDA.demo.sounds import coloured_noise
from ASDA.masks.inverse_block import InverseBlockMask
from benchmarks import measuring
from benchmarks.loading_workers import deliver, delivery_row, delivery_table

NUM_MASKS = 16
BATCH_SIZE = 12
FORMATS = ("wav", "flac", "h5", "h5 rows", "tar", "zip")
PACKED = ("tar", "zip")
"""What holds flac files here."""
RATES_HZ_AND_CHANNELS = ((16_000, 1), (44_100, 2))
STAGES = ("decode", "resample", "log-mel", "masks", "batch")


def write_clips(folder: Path, kind: str, num_clips: int, seconds: float, rate_hz: int, channels: int) -> Manifest:
    """Writes clips of pink noise in one of the formats, and their manifest."""
    rows = []
    names = [f"{i:04d}" for i in range(num_clips)]
    h5 = h5py.File(folder / "clips.h5", "w") if kind.startswith("h5") else None
    all_rows = None
    if h5 is not None and kind == "h5 rows":
        all_rows = h5.create_dataset("waveform", (num_clips, round(seconds * rate_hz)), np.int16)
        all_rows.attrs["sample_rate"] = rate_hz
        h5.create_dataset("audio_name", data=names)  # by which a matrix is told to be one of clips
    for i, name in enumerate(names):
        rng = np.random.default_rng(i)
        sound = [coloured_noise(rng, round(seconds * rate_hz), 1.0) for _ in range(channels)]
        samples = np.round(0.1 * np.stack(sound, axis=1) * 32767).clip(-32768, 32767).astype(np.int16)
        if all_rows is not None:
            all_rows[i] = samples.squeeze()
            rows.append((f"clips.h5/waveform[{i}]", len(samples)))
            continue
        if h5 is not None:
            h5.create_dataset(name, data=samples.squeeze()).attrs["sample_rate"] = rate_hz
            rows.append((f"clips.h5/{name}", len(samples)))
            continue
        suffix = "flac" if kind in PACKED else kind
        soundfile.write(folder / f"{name}.{suffix}", samples, rate_hz)
        rows.append((f"clips.tar/{name}.flac" if kind == "tar" else f"{name}.{suffix}", len(samples)))
    if h5 is not None:
        h5.close()
    if kind == "tar":
        with tarfile.open(folder / "clips.tar", "w") as archive:
            for name in names:
                archive.add(folder / f"{name}.flac", arcname=f"{name}.flac")
    if kind == "zip":
        with zipfile.ZipFile(folder / "clips.zip", "w") as archive:
            for i, name in enumerate(names):
                archive.write(folder / f"{name}.flac", f"{name}.flac")
                member = archive.getinfo(f"{name}.flac")
                start = member.header_offset + len(member.FileHeader())
                rows[i] = (f"clips.zip:{start}:{member.file_size}", rows[i][1])
    write_manifest(folder / "train.tsv", folder, rows)
    return Manifest.read(folder / "train.tsv")


class Stopwatch:
    """Sums the time spent in functions."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    def timed(self, stage: str, function: Callable) -> Callable:
        def run(*args):
            start = time.process_time()
            result = function(*args)
            self.seconds[stage] += time.process_time() - start
            return result

        return run


def measure(manifest: Manifest, repeats: int) -> dict[str, float]:
    """Milliseconds per clip of each stage, and in total."""
    sampler = InverseBlockMask(grid=(64, 8), num_masks=NUM_MASKS)
    results: dict[str, list[float]] = defaultdict(list)
    for repeat in range(repeats + 1):
        watch = Stopwatch()
        dataset = SpectrogramDataset(manifest, FrontEnd(), mask_sampler=watch.timed("masks", sampler))
        dataset.set_epoch(repeat + 1)
        dataset.reader.load = watch.timed("load", dataset.reader.load)
        dataset.front_end = _TimedFrontEnd(watch)
        collater = watch.timed("batch", dataset.collater)
        start = time.process_time()
        resample, audio_samples.resample = audio_samples.resample, watch.timed("resample", audio_samples.resample)
        for indices in np.array_split(dataset.ordered_indices(), max(1, len(manifest) // BATCH_SIZE)):
            batch = collater([dataset[i] for i in indices])
            assert batch["net_input"]["precomputed_mask"].shape == (len(indices) * NUM_MASKS, 512)
        total = time.process_time() - start
        audio_samples.resample = resample
        watch.seconds["decode"] = watch.seconds["load"] - watch.seconds["resample"]
        if repeat:  # the first round fills caches
            for stage in STAGES:
                results[stage].append(1000 * watch.seconds[stage] / len(manifest))
            results["total"].append(1000 * total / len(manifest))
    return {stage: statistics.median(values) for stage, values in results.items()}


class _TimedFrontEnd:
    """A front end whose calls are timed; everything else is the front end's."""

    def __init__(self, watch: Stopwatch):
        self._front_end = FrontEnd()
        self._call = watch.timed("log-mel", self._front_end)

    def __call__(self, waveform: torch.Tensor) -> torch.Tensor:
        return self._call(waveform)

    def __getattr__(self, name: str):
        return getattr(self._front_end, name)


def clips_table(num_clips: int, seconds: float, repeats: int) -> str:
    rows = []
    for kind, rate_hz, channels in _kinds():
        with tempfile.TemporaryDirectory() as folder:
            times = measure(write_clips(Path(folder), kind, num_clips, seconds, rate_hz, channels), repeats)
        total = times.pop("total")
        shares = [times[stage] / total for stage in STAGES]
        shares.append(1 - sum(shares))
        cells = (f"{1000 / total:.0f}", f"{total:.1f}", *(f"{share:.0%}" for share in shares))
        rows.append((_name(kind, rate_hz, channels), *cells))
    return measuring.table(["clips", "clips/s per core", "ms per clip", *STAGES, "rest"], rows)


def _kinds() -> Iterator[tuple[str, int, int]]:
    """Each kind of file with each rate and number of channels; a row of a data set holds one channel."""
    for rate_hz, channels in RATES_HZ_AND_CHANNELS:
        for kind in FORMATS:
            if kind != "h5 rows" or channels == 1:
                yield kind, rate_hz, channels


def _name(kind: str, rate_hz: int, channels: int) -> str:
    return f"{kind}{' (flac)' if kind in PACKED else ''}, {rate_hz / 1000:g} kHz, {channels} ch."


def workers_report(num_clips: int, seconds: float, repeats: int, workers: list[int]) -> str:
    """What loaders with so many workers deliver from each kind of file."""
    rows = []
    for kind, rate_hz, channels in _kinds():
        with tempfile.TemporaryDirectory() as folder:
            manifest = write_clips(Path(folder), kind, num_clips, seconds, rate_hz, channels)
            found = {n: deliver(manifest, n, BATCH_SIZE, NUM_MASKS, repeats) for n in workers}
        rows.append(delivery_row(_name(kind, rate_hz, channels), found))
    return (
        f"Loaders with worker processes: {num_clips} clips of {seconds:g} s, 16 bit, random order, files in the page "
        f"cache, batches of {BATCH_SIZE} spectrograms (1024 frames) with {NUM_MASKS} masks per clip.\n"
        f"{measuring.environment()}\n\n{delivery_table(rows, workers)}\n\n"
        "`ms per clip`: processor time of the workers, with the fewest of them; the workers that a rate takes are "
        "cores with nothing else to do. Where there are fewer cores than workers, clips/s stop to grow."
    )


def manifest_line(num_rows: int) -> str:
    """Time and private memory to load a manifest."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "train.tsv"
        with file.open("w") as handle:
            handle.write(f"{folder}\n")
            handle.writelines(f"unbalanced_{i % 40:02}/Y{i:011d}.flac\t{160_000 + i % 7}\n" for i in range(num_rows))
        start = time.process_time()
        manifest = Manifest.read(file)
        seconds = time.process_time() - start
        private = manifest._starts.nbytes + manifest._num_samples.nbytes
        size = f"{file.stat().st_size / 2**20:.0f} MiB of text"
        return (
            f"Manifest of {num_rows:,} rows ({size}): loaded in {seconds:.1f} s, "
            f"{private / num_rows:.0f} bytes of memory per row beside the mapped text, shared by all workers."
        )


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--clips", type=int, default=48)
    parser.add_argument("--seconds", type=float, default=10.0, help="length of each clip")
    parser.add_argument("--repeats", type=int, default=5, help="measured passes over the clips")
    parser.add_argument("--rows", type=int, default=10_000_000, help="rows of the manifest that is loaded")
    parser.add_argument("--workers", type=int, nargs="+", metavar="N", help="measure loaders with so many processes")
    parser.add_argument("--output", type=Path, help="markdown file to write the table to as well")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    if args.workers:
        report = workers_report(args.clips, args.seconds, args.repeats, sorted(args.workers))
        measuring.publish("bench_data", argv, report, args.output)
        return 0
    text = (
        f"From files to batches of {BATCH_SIZE} spectrograms (1024 frames) with {NUM_MASKS} masks per clip: "
        f"{args.clips} clips of {args.seconds:g} s, 16 bit, random order; processor time.\n"
        f"{measuring.environment()}\n\n"
        f"{clips_table(args.clips, args.seconds, args.repeats)}\n\n{manifest_line(args.rows)}"
    )
    measuring.publish("bench_data", argv, text, args.output)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
