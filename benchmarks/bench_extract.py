"""Features of a folder: one run of asda-extract over it against one process for each file, as EAT's program works.

    python -m benchmarks.bench_extract [--clips 32] [--single 4] [--seconds 10] [--depth 12] [--output TABLE.md]

Both run the same program on the same generated clips with a randomly initialised model of this project (base width), on
the CPU unless --device says otherwise. A process per file pays for Python, torch and the model every time.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Optional

import numpy as np
import soundfile
import torch

from ASDA.audio.fbank import FrontEnd
from ASDA.core.encoder import SpectrogramEncoder
from ASDA.inference.checkpoint import Checkpoint
from ASDA.inference.directory import write_model
from benchmarks.bench_frontend import environment

RATE_HZ = 16_000


def write_inputs(folder: Path, clips: int, seconds: float, depth: int) -> tuple[Path, Path]:
    """A folder of clips and a model directory."""
    audio = folder / "audio"
    audio.mkdir()
    rng = np.random.default_rng(0)
    for number in range(clips):
        samples = 0.1 * rng.standard_normal(round(seconds * RATE_HZ))
        soundfile.write(audio / f"{number:04d}.flac", samples, RATE_HZ)
    torch.manual_seed(0)
    encoder = SpectrogramEncoder(depth=depth)
    write_model(folder / "model", Checkpoint(folder, encoder.config, encoder.state_dict(), FrontEnd()))
    return audio, folder / "model"


def extract(model: Path, device: str, *arguments: object) -> float:
    """Seconds that asda-extract takes, start to end."""
    command = [sys.executable, "-m", "ASDA.cli.extract", "--checkpoint_dir", model, "--device", device, *arguments]
    start = time.perf_counter()
    subprocess.run([str(argument) for argument in command], check=True, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start


def main(argv: Optional[list[str]] = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--clips", type=int, default=32, help="clips in the folder")
    parser.add_argument("--single", type=int, default=4, help="how many of them get a process each")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of a clip")
    parser.add_argument("--depth", type=int, default=12, help="layers of the model")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--output", type=Path, help="markdown file to write the table to as well")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        audio, model = write_inputs(folder, args.clips, args.seconds, args.depth)
        whole = extract(model, args.device, audio, "--output", folder / "features") / args.clips
        singles = [
            extract(model, args.device, "--source_file", path, "--target_file", folder / f"{path.stem}.npy")
            for path in sorted(audio.iterdir())[: args.single]
        ]
        for path in sorted(folder.glob("*.npy")):
            if np.abs(np.load(path) - np.load(folder / "features" / path.name)).max() > 1e-4:
                raise RuntimeError(f"{path.name} differs between the two ways: nothing to compare")
    single = sum(singles) / len(singles)
    report = (
        f"{args.clips} clips of {args.seconds:g} s (16 kHz flac), base width, {args.depth} layers, {args.device}, "
        f"{torch.get_num_threads()} threads.\n{environment()}\n\n"
        "| way                      | s per clip | clips/s |\n|---|---:|---:|\n"
        f"| one process per file     | {single:10.2f} | {1 / single:7.2f} |\n"
        f"| asda-extract of a folder | {whole:10.2f} | {1 / whole:7.2f} |\n\n"
        f"Ratio: {single / whole:.1f}\n"
    )
    print(report, end="")
    if args.output is not None:
        args.output.parent.mkdir(parents=True, exist_ok=True)
        args.output.write_text(report, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
