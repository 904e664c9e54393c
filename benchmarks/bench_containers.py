"""Clips in random order from files and from each kind of container: time, and bytes read for a byte of clip.

    python -m benchmarks.bench_containers [--clips 800] [--seconds 10] [--repeats 1] [--output TABLE.md]

One core, no worker processes, files in the page cache, so that the time is the processor's; from a disk or over a
network what is read counts as well, and Linux says how much that was (`rchar` in /proc/self/io).
"""

from __future__ import annotations

import argparse
import statistics
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np
import torch

from ASDA.data.containers import ClipReader
from ASDA.data.parquet_container import ParquetContainer
from benchmarks import measuring
from benchmarks.bench_data import write_clips

RATE_HZ = 16_000
HUB_ROWS = 100
"""Clips in a row group of the hub's files."""

BY_PYARROW = "row groups by pyarrow"
PARQUET = {
    "parquet, not compressed": {"compression": "none"},
    "parquet, snappy, a page for each row group (older files of the hub)": {"compression": "snappy"},
    "parquet, snappy, pages of 1 MB (newer files of the hub)": {
        "compression": "snappy",
        "use_content_defined_chunking": {"min_chunk_size": 1 << 18, "max_chunk_size": 1 << 20},
    },
}


def containers(folder: Path, files: list[Path]) -> dict[str, list[str]]:
    """Paths of the clips in each kind of container."""
    import pyarrow
    from pyarrow import parquet

    found = {"flac files": [str(file) for file in files]}
    with tarfile.open(folder / "clips.tar", "w") as archive:
        for file in files:
            archive.add(file, arcname=file.name)
    found["tar"] = [f"{folder}/clips.tar/{file.name}" for file in files]
    kind = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    cells = [{"bytes": file.read_bytes(), "path": file.name} for file in files]
    table = pyarrow.table({"audio": pyarrow.array(cells, kind)})
    for number, (name, options) in enumerate(PARQUET.items()):
        path = folder / f"{number}.parquet"
        parquet.write_table(table, path, row_group_size=HUB_ROWS, **options)
        found[name] = [f"{path}/audio[{row}]" for row in range(len(files))]
    found[f"the same, {BY_PYARROW}"] = found[name]
    return found


def bytes_read() -> int:
    """By this process so far; 0 where the system does not say."""
    try:
        return int(Path("/proc/self/io").read_text().split()[1])
    except OSError:
        return 0


@contextmanager
def row_groups_by_pyarrow() -> Iterator[None]:
    """What reading costs that knows no pages, as pyarrow alone can do it."""
    pages = ParquetContainer._pages
    ParquetContainer._pages = lambda *_: None
    try:
        yield
    finally:
        ParquetContainer._pages = pages


def measure(paths: list[str], order: np.ndarray) -> tuple[float, float, float]:
    """Milliseconds to the first clip, milliseconds a clip, bytes read a clip."""
    reader = ClipReader(RATE_HZ)
    start = time.process_time()
    reader.load(paths[order[0]])
    first = time.process_time() - start
    for path in paths:  # finds what is to be found once
        reader.probe(path)
    start, read = time.process_time(), bytes_read()
    for place in order:
        reader.load(paths[place])
    spent = time.process_time() - start
    read = bytes_read() - read
    reader.close()
    return 1000 * first, 1000 * spent / len(order), read / len(order)


def table(num_clips: int, seconds: float, repeats: int) -> str:
    orders = {"random": np.random.default_rng(0).permutation(num_clips), "in their order": np.arange(num_clips)}
    rows = []
    with tempfile.TemporaryDirectory() as name:
        write_clips(
            Path(name), "flac", num_clips, seconds, RATE_HZ, channels=1
        )  # pink noise: as many bytes as recordings
        files = sorted(Path(name).glob("*.flac"))
        clip_bytes = statistics.mean(file.stat().st_size for file in files)
        measured: dict[tuple[str, str], list[tuple[float, float, float]]] = {}
        kinds = containers(Path(name), files)
        for _ in range(repeats):
            for kind, paths in kinds.items():
                for order, places in orders.items():
                    with row_groups_by_pyarrow() if kind.endswith(BY_PYARROW) else nullcontext():
                        measured.setdefault((kind, order), []).append(measure(paths, places))
        for kind in kinds:
            cells = []
            for order in orders:
                first, each, read = (statistics.median(values) for values in zip(*measured[kind, order], strict=True))
                cells += [f"{each:.2f}", f"{read / clip_bytes:.1f}"]
                if order == "random":
                    cells.insert(0, f"{first:.0f}")
            rows.append((kind, *cells))
    headings = ["clips in", "first clip, ms", "random: ms a clip", "bytes read", "in order: ms a clip", "bytes read"]
    return f"{clip_bytes / 1000:.0f} kB a clip; bytes read are multiples of that.\n\n{measuring.table(headings, rows)}"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--clips", type=int, default=800)
    parser.add_argument("--seconds", type=float, default=10.0, help="length of each clip")
    parser.add_argument("--repeats", type=int, default=1, help="measured passes over the clips")
    parser.add_argument("--output", type=Path, help="markdown file to write the table to as well")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    text = (
        f"Decoding {args.clips} clips of {args.seconds:g} s, 16 kHz, flac, row groups of {HUB_ROWS}; processor time.\n"
        f"{measuring.environment()}\n\n{table(args.clips, args.seconds, args.repeats)}"
    )
    measuring.publish("bench_containers", argv, text, args.output)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
