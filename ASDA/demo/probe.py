"""Linear probe: how much do the features of a frozen encoder tell, compared with the same encoder at random weights?

    python -m ASDA.demo.probe --data DIR [DIR ...] --checkpoint FILE [FILE ...]

A logistic regression for each class (one against the rest) is fitted to the standardised features of the train split
and judged on the eval split. The encoder is in evaluation mode and sees each clip once, without augmentation. The n-th
checkpoint is compared with random weights of seed n. With several data folders (the folds of a cross-validation) the
numbers are means over them.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ASDA.core.classifier import POOLINGS, pool_tokens
from ASDA.core.encoder import SpectrogramEncoder
from ASDA.data.atomic import atomic_writer
from ASDA.data.labels import LabelTable, read_clip_labels
from ASDA.data.manifest import Manifest
from ASDA.inference import TrainedEncoder, load_encoder
from ASDA.inference.clips import find_clips
from ASDA.inference.run import run_clips
from ASDA.inference.windows import BadClip, Windowing
from ASDA.metrics import accuracy, mean_average_precision

NUM_DECODING_THREADS = 2


def random_twin(encoder: TrainedEncoder, seed: int) -> TrainedEncoder:
    """The same architecture and front end at newly drawn weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return TrainedEncoder(SpectrogramEncoder(**encoder.encoder.config), encoder.front_end).eval()


def pooled_features(encoder: TrainedEncoder, manifest: Manifest, pooling: str, padding: str) -> np.ndarray:
    """One vector for each clip of a manifest, (n, D), in its order.

    Raises:
        ValueError: a clip cannot be read, with its path and the reason.
    """
    features = np.zeros((len(manifest), encoder.encoder.embed_dim), dtype=np.float32)
    results = run_clips(
        lambda source, padding_mask: pool_tokens(encoder(source, padding_mask), pooling, padding_mask),
        enumerate(find_clips([str(manifest.file)])),
        Windowing(encoder.front_end, padding=padding, patch_size=encoder.encoder.patch_size),
        device=encoder.encoder.cls_token.device,
        batch_size=16,
        num_threads=NUM_DECODING_THREADS,
    )
    for result in results:
        if isinstance(result, BadClip):
            raise ValueError(f"{result.clip.path}: {result.reason}")
        features[result.clip.index] = result.outputs[0].numpy()
    return features


def multi_hot(folder: Path, split: str) -> np.ndarray:
    """Targets of a split, (n, C) bool."""
    table = LabelTable.read(folder / "label_descriptors.csv")
    manifest = Manifest.read(folder / f"{split}.tsv")
    labels = read_clip_labels(folder / f"{split}.lbl", manifest, table)
    targets = np.zeros((len(manifest), len(table)), dtype=bool)
    for row in range(len(manifest)):
        targets[row, labels.targets(row)] = True
    return targets


def probe_scores(
    train_features: np.ndarray, train_targets: np.ndarray, eval_features: np.ndarray, regularisation: float
) -> np.ndarray:
    """Scores (n, C) of the eval clips; a class that no train clip has (or all have) scores 0 throughout.

    Args:
        regularisation: sklearn's C, the inverse strength of the penalty.
    """
    scores = np.zeros((len(eval_features), train_targets.shape[1]))
    for index, target in enumerate(train_targets.T):
        if target.any() and not target.all():
            probe = make_pipeline(StandardScaler(), LogisticRegression(C=regularisation, max_iter=2000))
            scores[:, index] = probe.fit(train_features, target).decision_function(eval_features)
    return scores


def probe_folder(folder: Path, features: Callable[[Path], np.ndarray], regularisation: float) -> dict[str, float]:
    """mAP, and with one label per clip accuracy, of the eval split in one data folder."""
    train_targets, eval_targets = multi_hot(folder, "train"), multi_hot(folder, "eval")
    scores = probe_scores(features(folder / "train.tsv"), train_targets, features(folder / "eval.tsv"), regularisation)
    result = {"mAP": mean_average_precision(eval_targets, scores).value}
    if (train_targets.sum(axis=1) == 1).all() and (eval_targets.sum(axis=1) == 1).all():
        result["accuracy"] = accuracy(eval_targets, scores)
    return result


def probe(encoder: TrainedEncoder, folders: list[Path], args: argparse.Namespace) -> dict[str, float]:
    """Means over the folders."""
    results = [
        probe_folder(
            folder,
            lambda file: pooled_features(encoder, Manifest.read(file), args.pooling, args.padding),
            args.regularisation,
        )
        for folder in folders
    ]
    return {name: float(np.mean([result[name] for result in results])) for name in results[0]}


def compare(args: argparse.Namespace) -> list[dict]:
    """Probes every checkpoint and its random twin; prints a line for each as soon as it is known."""
    rows = []
    for seed, checkpoint in enumerate(args.checkpoint, start=1):
        trained = load_encoder(checkpoint)
        for weights, encoder in (("pre-trained", trained), ("random", random_twin(trained, seed))):
            row = {"weights": weights, "seed": seed, **probe(encoder, args.data, args)}
            rows.append(row)
            numbers = "  ".join(f"{name} {100 * row[name]:.1f} %" for name in ("mAP", "accuracy") if name in row)
            print(f"{weights:<12} seed {seed}:  {numbers}", flush=True)
    return rows


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", nargs="+", type=Path, required=True, help="folders with train and eval manifests")
    parser.add_argument("--checkpoint", nargs="+", type=Path, required=True, help="runs that differ in their seed")
    parser.add_argument("--pooling", choices=POOLINGS, default="mean", help="of the last layer [%(default)s]")
    parser.add_argument("--padding", choices=("constant", "mask"), default="constant", help="of short clips")
    parser.add_argument("--regularisation", type=float, default=0.1, help="sklearn's C [%(default)s]")
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    args = parser.parse_args(argv)
    try:
        rows = compare(args)
    except (ValueError, OSError) as error:
        print(f"probe: error: {error}", file=sys.stderr)
        return 1
    if args.json:
        with atomic_writer(args.json) as handle:
            json.dump(rows, handle, indent=2)
    return 0


if __name__ == "__main__":
    sys.exit(main())
