"""Encoders that are to be adapted, and the clips of a corpus in folds as they hear them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ASDA.adaptation.adapting import adapt, load_tensors, methods_named
from ASDA.adaptation.method import Method
from ASDA.adaptation.partial import LastBlocks
from ASDA.audio.front_end import FrontEnd
from ASDA.checkpoints.adapters import encoder_checksum
from ASDA.checkpoints.reading import read_checkpoint
from ASDA.core import zoo
from ASDA.core.classifier import SpectrogramClassifier
from ASDA.core.config import EncoderConfig, HeadConfig
from ASDA.core.encoder import SpectrogramEncoder
from ASDA.core.patches import PatchRows, patch_grid
from ASDA.data.dataset import SpectrogramDataset
from ASDA.data.labels import LabelTable, read_clip_labels
from ASDA.data.manifest import Manifest
from ASDA.objectives.classification import Classification

UNTRAINED = "_random"  # ends the name of an encoder that is the same network at random weights
_SMALL = {"embed_dim": 128, "depth": 4, "num_heads": 2}  # the demo's size, which objectives.sh pre-trains


def methods_of(name: str, depth: int) -> tuple[Method, ...]:
    """What a name of `model.adaptation` stands for on an encoder of so many blocks: with the defaults of each method.

    The last blocks are half of them, as six of twelve are in the paper.
    """
    return methods_named([name], {LastBlocks.kind: {"count": max(1, depth // 2)}})


@dataclass(frozen=True)
class Source:
    """An encoder that is to be adapted.

    Attributes:
        config: its architecture.
        tensors: of its SpectrogramEncoder.
        front_end: what it hears.
    """

    config: EncoderConfig
    tensors: dict[str, Tensor]
    front_end: FrontEnd

    @classmethod
    def read(cls, checkpoint: str, frames: int) -> Source:
        """A trained one, for clips of so many frames, of which it does not see the padding."""
        found = read_checkpoint(checkpoint)
        front_end = replace(found.front_end, target_length_frames=frames, padding="mask")
        return cls(found.encoder_config, found.encoder, front_end)

    @classmethod
    def random_ast(cls, frames: int, normalisation: Sequence[float], seed: int) -> Source:
        """AST's network at the size of the others, at random weights."""
        rows = patch_grid(frames, zoo.AST.num_mel_bins, zoo.AST.patches).rows
        config = replace(zoo.AST, stack=replace(zoo.AST.stack, **_SMALL), max_rows=rows)
        return cls(config, _random_tensors(config, seed), FrontEnd(frames, *normalisation, padding="mask"))

    def at_random_weights(self, seed: int) -> Source:
        """The same network untrained, hearing the same."""
        return replace(self, tensors=_random_tensors(self.config, seed))

    def identity(self) -> dict[str, Any]:
        """What tells it from another, for json."""
        return {"encoder": encoder_checksum(self.tensors), "front_end": self.front_end.to_dict()}

    def adapted(self, method: str, num_classes: int, seed: int, device: torch.device) -> Classification:
        """The encoder with a method and a new head, on the mean of its patches."""
        torch.manual_seed(seed)
        encoder = SpectrogramEncoder(self.config)
        parts = adapt(encoder, methods_of(method, encoder.depth))
        load_tensors(encoder, self.tensors)
        classifier = SpectrogramClassifier(encoder, HeadConfig(num_classes, "mean"))
        return Classification(classifier, independent_scores=False, trained_parts=parts).to(device)


def _random_tensors(config: EncoderConfig, seed: int) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    return SpectrogramEncoder(config).state_dict()


class Clips:
    """The clips of a corpus in folds, decoded once, as an encoder hears them: of longer ones the beginning.

    Args:
        folds: folders with the manifests and labels of `train` and `eval`; each holds all clips.
        source: of whose kind the encoders are.
        device: where batches are wanted.
    """

    def __init__(self, folds: Sequence[Path], source: Source, device: torch.device):
        config, frames = source.config, source.front_end.target_length_frames
        rows = PatchRows.of(frames, config.num_mel_bins, config.patches)
        table = LabelTable.read(folds[0] / "label_descriptors.csv")
        self.num_classes = len(table)
        self._device = device
        samples: dict[str, dict] = {}
        for split in ("train", "eval"):
            manifest = Manifest.read(folds[0] / f"{split}.tsv")
            labels = read_clip_labels(folds[0] / f"{split}.lbl", manifest, table)
            data = SpectrogramDataset(manifest, source.front_end, labels=labels, max_bad_fraction=0.0, patch_rows=rows)
            samples |= {manifest.relative_path(row): data[row] for row in range(len(manifest))}
        self._join = data.collater
        self.folds = [
            {split: [samples[path] for path in _paths(fold / f"{split}.tsv")] for split in ("train", "eval")}
            for fold in folds
        ]

    def batch(self, samples: Sequence[dict]) -> dict[str, Any]:
        """Arguments of `Classification`."""
        joined = self._join(list(samples))["net_input"]
        return {
            "spectrogram" if name == "source" else name: value.to(self._device) if torch.is_tensor(value) else value
            for name, value in joined.items()
        }

    def longest(self, number: int) -> list[dict]:
        """So many of the longest clips, again and again if there are fewer."""
        samples = sorted(self.folds[0]["train"], key=lambda sample: -sample["num_frames"])
        return [samples[row % len(samples)] for row in range(number)]


def checksum_of(fold: Path) -> str:
    """Of a fold's manifests and labels: which clips are in it, as what, and where they lie."""
    digest = hashlib.sha256()
    for name in ("label_descriptors.csv", "train.tsv", "train.lbl", "eval.tsv", "eval.lbl"):
        digest.update(hashlib.sha256((fold / name).read_bytes()).digest())
    return digest.hexdigest()


def _paths(manifest: Path) -> list[str]:
    rows = Manifest.read(manifest)
    return [rows.relative_path(row) for row in range(len(rows))]
