"""What do the features of a frozen encoder know? Features of a split, targets, scores."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ASDA.core.classifier import POOLINGS
from ASDA.core.encoder import SpectrogramEncoder
from ASDA.data.labels import LabelTable, read_clip_labels
from ASDA.data.manifest import Manifest
from ASDA.inference import TrainedEncoder
from ASDA.inference.clips import find_clips
from ASDA.inference.run import run_clips
from ASDA.inference.windows import BadClip, Windowing
from ASDA.metrics import accuracy, bootstrap_interval, mean_average_precision
from ASDA.probes.linear import probe_scores

NUM_DECODING_THREADS = 2
BOOTSTRAP_SEED = 1


def random_twin(encoder: TrainedEncoder, seed: int) -> TrainedEncoder:
    """The same architecture and front end at newly drawn weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return TrainedEncoder(SpectrogramEncoder(encoder.encoder.config), encoder.front_end).eval()


def pooled_features(
    encoder: TrainedEncoder,
    manifest: Manifest,
    pooling: str,
    padding: str | None,
    known: dict[str, np.ndarray] | None = None,
) -> np.ndarray:
    """One vector for each clip of a manifest, (n, D), in its order.

    Args:
        encoder: the encoder.
        manifest: which clips.
        pooling: of the last layer.
        padding: of short clips; None: as the encoder was trained.
        known: vectors by path, taken from there and added to it: the folds of a cross-validation share their clips.

    Raises:
        ValueError: a clip cannot be read, with its path and the reason; the pooling asks for what the encoder lacks.
    """
    if pooling != "mean" and encoder.encoder.config.num_prefix_tokens == 0:
        raise ValueError(f"--pooling {pooling}: this encoder has no prefix tokens (CLS); take --pooling mean")

    def pooled(source: Tensor, padding_mask: Tensor | None) -> Tensor:
        prefix, patches = encoder.encoder(source, padding_mask)
        return POOLINGS[pooling](prefix, patches, padding_mask)

    known = {} if known is None else known
    clips = list(find_clips([str(manifest.file)]))
    results = run_clips(
        pooled,
        ((number, clip) for number, clip in enumerate(clips) if clip.path not in known),
        Windowing(encoder.front_end, padding or encoder.front_end.padding, patches=encoder.encoder.config.patches),
        device=encoder.encoder.device,
        batch_size=16,
        num_threads=NUM_DECODING_THREADS,
    )
    for result in results:
        if isinstance(result, BadClip):
            raise ValueError(f"{result.clip.path}: {result.reason}")
        known[result.clip.clip.path] = result.outputs[0].float().numpy()
    return np.stack([known[clip.path] for clip in clips])


def multi_hot(folder: Path, split: str) -> np.ndarray:
    """Targets of a split, (n, C), see `ClipLabels.multi_hot`."""
    table = LabelTable.read(folder / "label_descriptors.csv")
    manifest = Manifest.read(folder / f"{split}.tsv")
    return read_clip_labels(folder / f"{split}.lbl", manifest, table).multi_hots()


def probe_folder(
    folder: Path, features: Callable[[Path], np.ndarray], regularisation: float, draws: int = 0
) -> dict[str, float]:
    """mAP, and with one label per clip accuracy, of the eval split in one data folder.

    Args:
        folder: with manifests, labels and class table.
        features: of a manifest.
        regularisation: sklearn's C.
        draws: bootstrap draws for a 95 % interval of each metric, as `mAP_low` and `mAP_high`; 0: none.
    """
    train_targets, eval_targets = multi_hot(folder, "train"), multi_hot(folder, "eval")
    scores = probe_scores(features(folder / "train.tsv"), train_targets, features(folder / "eval.tsv"), regularisation)
    metrics: dict[str, Callable] = {"mAP": mean_average_precision}
    if (train_targets.sum(axis=1) == 1).all() and (eval_targets.sum(axis=1) == 1).all():
        metrics["accuracy"] = accuracy
    result = {}
    for name, metric in metrics.items():
        result[name] = float(metric(eval_targets, scores))
        if draws:
            result[f"{name}_low"], result[f"{name}_high"] = bootstrap_interval(
                metric, eval_targets, scores, BOOTSTRAP_SEED, draws, value=result[name]
            )
    return result
