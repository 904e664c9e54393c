"""The estimate of a run's memory against the peak that real runs have, on a CPU.

    python -m benchmarks.bench_memory [CASE ...]

Each case is a pre-training of two updates on generated noise, started by `asda-train` with one data-loading process.
The peak is the training process's largest resident set, as the system counts it (getrusage), and beside it the memory
that its data-loading process has to itself.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np
import soundfile

from ASDA.launch.arguments import Arguments
from ASDA.launch.memory import BF16_AUTOCAST, FLOAT32, Machine, peak_bytes
from ASDA.launch.recipe import Recipe, find_config
from ASDA.launch.workload import workload_of
from benchmarks import measuring

CONFIG = "pretraining_AS2M"
# name -> clips, and the words that make it
CASES = {
    "tiny, the demo's": (8, ["demo_pretraining"]),
    "tiny, the demo's, bf16": (8, ["demo_pretraining", "model.autocast=bf16"]),
    "small": (2, ["+size=small"]),
    "small, plain attention": (2, ["EAT", "+size=small"]),
    "base, 6 layers, 8 students": (1, ["model.depth=6", "model.clone_batch=8"]),
    "base, 3 layers, 4 students, bf16": (1, ["model.depth=3", "model.clone_batch=4", "model.autocast=bf16"]),
    "base, 6 layers, recomputed": (1, ["model.depth=6", "model.checkpoint_activations=true"]),
    "base": (2, []),
    "base, bf16": (2, ["model.autocast=bf16"]),
    "large, 4 students, bf16": (1, ["+size=large", "model.clone_batch=4", "model.autocast=bf16"]),
}


def estimate(clips: int, words: list[str]) -> float:
    work = workload_of(Recipe(find_config(CONFIG), Arguments.parse(words)), None)
    assert work is not None  # the yaml is one of ours
    return peak_bytes(work, Machine("cpu", BF16_AUTOCAST if "model.autocast=bf16" in words else FLOAT32), clips)


def measure(clips: int, words: list[str], data: Path, folder: Path) -> tuple[int, int]:
    """Peak of the training process, and the most that its worker had to itself, in bytes."""
    recipes = [word for word in words if "=" not in word]
    overrides = [word for word in words if "=" in word]
    if not any(word.startswith("model.autocast") for word in words):
        overrides.append("model.autocast=none")
    overrides += [f"task.clips_per_update={clips}", "optimization.max_update=2", "dataset.num_workers=1"]
    overrides += ["optimizer.groups.default.lr_scheduler.warmup_updates=1", "common.tensorboard_logdir=null"]
    overrides += ["checkpoint.no_save=true", "task.norm_mean=-4.268", "task.norm_std=4.569"]
    command = [sys.executable, "-m", "ASDA.cli.train", CONFIG, *recipes, *overrides]
    settings = {"DATA": data, "SAVE_DIR": folder, "BATCH_SIZE": clips, "NGPU": 0, "MEMORY_GB": 10_000}
    environment = {**os.environ, **{name: str(value) for name, value in settings.items()}}
    with open(folder / "output.txt", "w") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
    ended, worker = threading.Event(), [0]

    def watch() -> None:
        while not ended.wait(0.5):
            worker[0] = max([worker[0], *(_private_bytes(child) for child in _children(process.pid))])

    watching = threading.Thread(target=watch)
    watching.start()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    ended.set()
    watching.join()
    if process.returncode:
        raise RuntimeError((folder / "output.txt").read_text()[-2000:])
    return usage.ru_maxrss * 1024, worker[0]


def _children(process: int) -> list[int]:
    try:
        return [
            int(c) for task in Path(f"/proc/{process}/task").iterdir() for c in (task / "children").read_text().split()
        ]
    except OSError:  # it has ended
        return []


def _private_bytes(process: int) -> int:
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith("Private_"))


def write_clips(folder: Path, number: int = 24) -> None:
    folder.mkdir()
    generator = np.random.default_rng(0)
    for clip in range(number):
        soundfile.write(folder / f"{clip}.wav", 0.1 * generator.normal(size=160_000), 16_000)
    rows = "".join(f"{clip}.wav\t160000\n" for clip in range(number))
    (folder / "train.tsv").write_text(f"{folder}\n{rows}")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {'; '.join(CASES)} (default: all)")
    parser.add_argument("--output", type=Path, help="markdown file to write the report to as well")
    args = parser.parse_args(argv)
    unknown = [name for name in args.cases if name not in CASES]
    if unknown:
        parser.error(f"there is no case {unknown[0]}")
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_clips(folder / "data")
        for name in args.cases or CASES:
            clips, words = CASES[name]
            estimated, (peak, worker) = estimate(clips, words), measure(clips, words, folder / "data", folder)
            numbers = (
                clips,
                f"{estimated / 1e9:.2f}",
                f"{peak / 1e9:.2f}",
                f"{estimated / peak:.2f}",
                f"{worker / 1e9:.2f}",
            )
            rows.append((f"{name}", *map(str, numbers)))
    table = measuring.table(("network", "clips", "estimate GB", "peak GB", "ratio", "worker GB"), rows)
    measuring.publish("bench_memory", argv, f"{measuring.environment()}\n\n{table}", args.output)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
