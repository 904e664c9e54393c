"""asda-extract against other programs that do the same: transformers' AST over a folder, a process for each file.

    python -m benchmarks.bench_programs [--clips 32] [--turns 3] [--single 3] [--output TABLE.md]
    python -m benchmarks.bench_programs --against files --clips 128

Each program runs in a process of its own, on the same generated clips, by turns. A clip's time is the difference of a
run over all clips and one over a single clip, by the others; what a run takes before its first clip stands beside it.

* transformers: the same AST directory with random weights is read by both, at 512 patches without overlap. ASDA's own
  network, which has a second attention map, is a further row: of equal tokens, not of equal work.
* A process for each file: both read the same pre-training checkpoint, as a run writes it (teacher, decoder and the
  optimiser's state included), of EAT's network and of ASDA's. Here a clip's time is a whole process's, and that of the
  folder its whole run's.

Both compare the features, too. On the CPU, seconds are processor time with one thread unless --threads says otherwise.
"""

import argparse
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks import measuring
from benchmarks.bench_extract import Run, run_extract, run_program, write_clips, write_model

OTHERS = ("transformers", "files")

NETWORKS = {"EAT": "EAT", "ASDA": ""}
"""Recipes behind that of the pre-training checkpoint."""

HALF_TOLERANCE = 0.05
"""Of two ways to compute in half precision, beside the largest feature."""


@dataclass(frozen=True)
class Size:
    """What is run."""

    width: int
    depth: int
    device: torch.device
    threads: int

    def seconds(self, runs: Sequence[Run]) -> float:
        """The median: wall time with a GPU, else processor time."""
        key = "wall_s" if self.device.type == "cuda" else "processor_s"
        return statistics.median(getattr(run, key) for run in runs)


def other(size: Size, *words: object) -> Run:
    """Runs one of `other_programs`."""
    return run_program("benchmarks.other_programs", *words, "--device", size.device.type, threads=size.threads)


def write_ast(folder: Path, size: Size) -> Path:
    """An AST directory with random weights and patches that do not overlap, as transformers writes it."""
    from transformers import ASTConfig, ASTFeatureExtractor, ASTModel

    torch.manual_seed(0)
    config = ASTConfig(
        hidden_size=size.width,
        num_hidden_layers=size.depth,
        num_attention_heads=max(1, size.width // 64),
        intermediate_size=4 * size.width,
        frequency_stride=16,
        time_stride=16,
    )
    ASTModel(config).save_pretrained(folder)
    ASTFeatureExtractor().save_pretrained(folder)
    return folder


def write_checkpoint(folder: Path, size: Size, network: str) -> Path:
    """A pre-training checkpoint after one update on noise, with two students instead of sixteen."""
    from benchmarks.bench_step import Size as Step
    from benchmarks.real_update import RealUpdate

    words = Step(clips=1, students=2, depth=size.depth, embed_dim=size.width).words
    update = RealUpdate(f"{words} {NETWORKS[network]}", 1, "fp32", torch.device("cpu"), folder)
    update()
    update.trainer.consolidate_optimizer()
    update.trainer.save_checkpoint(str(folder / "checkpoint_last.pt"), {})
    update.close()
    return folder / "checkpoint_last.pt"


def require_equal(one: Path, another: Path, tolerance: float) -> None:
    """Compares the features in two folders, or in two files.

    Raises:
        RuntimeError: they differ.
    """
    files = sorted(one.rglob("*.npy")) if one.is_dir() else [one]
    for file in files:
        ours = np.load(file).astype(np.float32)
        theirs = np.load(another / file.name if another.is_dir() else another).astype(np.float32)
        if ours.shape != theirs.shape or np.abs(ours - theirs).max() > tolerance * max(1.0, np.abs(theirs).max()):
            raise RuntimeError(f"{file.name}: the two programs differ, nothing to compare")


def against_transformers(folder: Path, audio: Path, size: Size, turns: int) -> list[tuple[str, ...]]:
    """Table rows of both programs, in float32 and in half precision."""
    ast, own = write_ast(folder / "ast", size), write_model(folder, size.width, size.depth)
    single = folder / "single"
    single.mkdir()
    first = min(audio.iterdir())
    (single / first.name).symlink_to(first)
    number = len(list(audio.iterdir())) - 1
    rows = []
    for precision, half in (("float32", []), ("half precision", ["--half"])):
        runs: dict[str, dict[Path, list[Run]]] = {}
        for turn in range(turns):
            for clips in (single, audio):
                outputs = {name: folder / f"{precision[:4]}-{clips.name}-{turn}-{name}" for name in ("t", "ast", "own")}
                ours = (clips, "--granularity", "utterance", *half)
                turned = {
                    "transformers, AST": other(size, "transformers", ast, clips, outputs["t"], *half),
                    "asda-extract, AST": extract(size, ast, *ours, "--output", outputs["ast"]),
                    "asda-extract, ASDA": extract(size, own, *ours, "--output", outputs["own"]),
                }
                require_equal(outputs["ast"], outputs["t"], HALF_TOLERANCE if half else 1e-4)
                for name, run in turned.items():
                    runs.setdefault(name, {single: [], audio: []})[clips].append(run)
        theirs = None
        for name, of in runs.items():
            start = size.seconds(of[single])
            each = (size.seconds(of[audio]) - start) / number
            theirs = theirs or each
            peak = max(run.peak_mib for run in of[audio])
            rows.append((f"{name}, {precision}", f"{start:.1f}", f"{each:.3f}", f"{each / theirs:.2f}", f"{peak:.0f}"))
    return rows


def against_process_per_file(folder: Path, audio: Path, size: Size, single: int, network: str) -> list[tuple[str, ...]]:
    """Table rows of a process for each file and of one run over the folder."""
    folder = folder / network
    folder.mkdir()
    checkpoint = write_checkpoint(folder, size, network)
    features = folder / "features"
    paths = sorted(audio.iterdir())
    whole = extract(size, checkpoint, audio, "--output", features)
    runs = []
    for path in paths[:single]:
        target = folder / f"{path.stem}.npy"
        runs.append(other(size, "one_file", checkpoint, path, target))
        require_equal(target, features / target.name, 1e-4)
    each, ours = size.seconds(runs), size.seconds([whole]) / len(paths)
    peaks = max(run.peak_mib for run in runs), whole.peak_mib
    return [
        (f"{network}, a process for each file", f"{each:.2f}", "1.0", f"{peaks[0]:.0f}"),
        (f"{network}, asda-extract over {len(paths)}", f"{ours:.2f}", f"{each / ours:.1f}", f"{peaks[1]:.0f}"),
    ]


def extract(size: Size, model: Path, *arguments: object) -> Run:
    return run_extract(model, size.device, size.threads, *arguments)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--against", nargs="+", choices=OTHERS, default=OTHERS, help="[%(default)s]")
    parser.add_argument("--clips", type=int, default=32, help="clips in the folder [%(default)s]")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of a clip [%(default)s]")
    parser.add_argument("--turns", type=int, default=3, help="runs of each program over the folder [%(default)s]")
    parser.add_argument("--single", type=int, default=3, help="clips that get a process each [%(default)s]")
    parser.add_argument("--width", type=int, default=768, help="of the networks, a multiple of 64 [%(default)s]")
    parser.add_argument("--depth", type=int, default=12, help="layers [%(default)s]")
    parser.add_argument("--device", type=torch.device, default=measuring.best_device())
    parser.add_argument("--threads", type=int, default=1, help="of the networks [%(default)s]")
    parser.add_argument("--output", type=Path, help="markdown file to write the report to as well")
    args = parser.parse_args(argv)
    if args.clips < 2:
        parser.error("--clips: expected at least 2, of which one tells the time before the first clip")
    size = Size(args.width, args.depth, args.device, args.threads)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        audio = folder / "audio"
        write_clips(audio, args.clips, args.seconds)
        tables = []
        if "transformers" in args.against:
            headings = ["over a folder", "s to the first clip", "s per clip", "ratio", "peak MiB"]
            tables.append(measuring.table(headings, against_transformers(folder, audio, size, args.turns)))
        if "files" in args.against:
            headings = ["with a pre-training checkpoint", "s per clip", "times", "peak MiB"]
            rows = [
                row for name in NETWORKS for row in against_process_per_file(folder, audio, size, args.single, name)
            ]
            tables.append(measuring.table(headings, rows))
    text = (
        f"{args.clips} clips of {args.seconds:g} s (16 kHz flac), networks of {args.depth} layers of width "
        f"{args.width}, 512 patches a clip ({measuring.clock_name(args.device)}, {args.threads} threads).\n"
        f"{measuring.environment(args.device)}\n\n" + "\n\n".join(tables)
    )
    measuring.publish("bench_programs", argv, text, args.output)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
