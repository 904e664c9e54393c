"""Linear probe: how much do the features of a frozen encoder tell, compared with the same encoder at random weights?

    python -m ASDA.cli.probe --data DIR [DIR ...] --checkpoint FILE [FILE ...]

A logistic regression for each class (one against the rest) is fitted to the standardised features of the train split
and judged on the eval split. The encoder is in evaluation mode and sees each clip once, without augmentation. The n-th
checkpoint is compared with random weights of seed n. Each metric has its 95 % bootstrap interval. With several data
folders (the folds of a cross-validation) the numbers are means over them, without intervals.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import ASDA.cli._threads  # noqa: F401 (its settings are to be there when torch loads)

# isort: split

import numpy as np

from ASDA.atomic import atomic_writer
from ASDA.audio.front_end import PADDINGS
from ASDA.cli._json import to_json
from ASDA.core.classifier import POOLINGS
from ASDA.data.manifest import Manifest
from ASDA.inference import TrainedEncoder, load_encoder
from ASDA.probes.probing import pooled_features, probe_folder, random_twin

METRICS = ("mAP", "accuracy")


def probe(encoder: TrainedEncoder, folders: list[Path], args: argparse.Namespace) -> dict[str, float]:
    """Means over the folders."""
    known: dict[str, np.ndarray] = {}
    results = [
        probe_folder(
            folder,
            lambda file: pooled_features(encoder, Manifest.read(file), args.pooling, args.padding, known),
            args.regularisation,
            args.bootstrap if len(folders) == 1 else 0,
        )
        for folder in folders
    ]
    return {name: float(np.mean([result[name] for result in results])) for name in results[0]}


def _percent(row: dict, name: str) -> str:
    """A metric for people, with its interval where it has one."""
    interval = f" ({100 * row[f'{name}_low']:.1f} to {100 * row[f'{name}_high']:.1f})" if f"{name}_low" in row else ""
    return f"{name} {100 * row[name]:.1f} %{interval}"


def compare(args: argparse.Namespace) -> list[dict]:
    """Probes every checkpoint and its random twin; prints a line for each as soon as it is known."""
    rows = []
    for seed, checkpoint in enumerate(args.checkpoint, start=1):
        trained = load_encoder(checkpoint)
        for weights, encoder in (("pre-trained", trained), ("random", random_twin(trained, seed))):
            row = {"weights": weights, "seed": seed, **probe(encoder, args.data, args)}
            rows.append(row)
            numbers = "  ".join(_percent(row, name) for name in METRICS if name in row)
            print(f"{weights:<12} seed {seed}:  {numbers}", flush=True)
    return rows


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", nargs="+", type=Path, required=True, help="folders with train and eval manifests")
    parser.add_argument("--checkpoint", nargs="+", type=Path, required=True, help="runs that differ in their seed")
    parser.add_argument("--pooling", choices=POOLINGS, default="mean", help="of the last layer [%(default)s]")
    parser.add_argument("--padding", choices=PADDINGS, help="of short clips [as the checkpoint was trained]")
    parser.add_argument("--regularisation", type=float, default=0.1, help="sklearn's C [%(default)s]")
    parser.add_argument(
        "--bootstrap", type=int, default=1000, metavar="N", help="draws for the intervals; 0: none [%(default)s]"
    )
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    args = parser.parse_args(argv)
    try:
        rows = compare(args)
    except (ValueError, OSError) as error:
        print(f"probe: error: {error}", file=sys.stderr)
        return 1
    if args.json:
        with atomic_writer(args.json) as handle:
            handle.write(to_json(rows, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
