"""Encoders that are to be adapted, and the clips of a corpus in folds as they hear them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ASDA.adaptation.adapting import adapt, load_tensors, methods_named
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
        """AST's network with 4 layers of 128 channels, at random weights."""
        torch.manual_seed(seed)
        stack = replace(zoo.AST.stack, embed_dim=128, depth=4, num_heads=2)
        rows = patch_grid(frames, zoo.AST.num_mel_bins, zoo.AST.patches).rows
        config = replace(zoo.AST, stack=stack, max_rows=rows)
        front_end = FrontEnd(frames, *normalisation, padding="mask")
        return cls(config, SpectrogramEncoder(config).state_dict(), front_end)

    def identity(self) -> dict[str, Any]:
        """What tells it from another, for json."""
        return {"encoder": encoder_checksum(self.tensors), "front_end": self.front_end.to_dict()}

    def adapted(self, method: str, num_classes: int, seed: int) -> Classification:
        """The encoder with a method and a new head, on the mean of its patches."""
        torch.manual_seed(seed)
        encoder = SpectrogramEncoder(self.config)
        half = {LastBlocks.kind: {"count": max(1, encoder.depth // 2)}}
        parts = adapt(encoder, methods_named([method], half))
        load_tensors(encoder, self.tensors)
        classifier = SpectrogramClassifier(encoder, HeadConfig(num_classes, "mean"))
        return Classification(classifier, independent_scores=False, trained_parts=parts)


class Clips:
    """The clips of a corpus in folds, decoded once, as an encoder hears them.

    Args:
        folds: folders with the manifests and labels of `train` and `eval`; each holds all clips.
        source: of whose kind the encoders are.
    """

    def __init__(self, folds: Sequence[Path], source: Source):
        config, frames = source.config, source.front_end.target_length_frames
        self._rows = PatchRows.of(frames, config.num_mel_bins, config.patches)
        table = LabelTable.read(folds[0] / "label_descriptors.csv")
        self.num_classes = len(table)
        samples: dict[str, dict] = {}
        for split in ("train", "eval"):
            manifest = Manifest.read(folds[0] / f"{split}.tsv")
            labels = read_clip_labels(folds[0] / f"{split}.lbl", manifest, table)
            data = SpectrogramDataset(
                manifest, source.front_end, labels=labels, max_bad_fraction=0.0, patch_rows=self._rows
            )
            samples |= {manifest.relative_path(row): data[row] for row in range(len(manifest))}
        self._join = data.collater
        self.folds = [
            {split: [samples[path] for path in _paths(fold / f"{split}.tsv")] for split in ("train", "eval")}
            for fold in folds
        ]

    def batch(self, samples: Sequence[dict]) -> dict[str, Any]:
        """Arguments of `Classification`."""
        joined = self._join(list(samples))["net_input"]
        return {"spectrogram" if name == "source" else name: value for name, value in joined.items()}

    def longest(self, number: int) -> list[dict]:
        """So many of the longest clips, again and again if there are fewer."""
        samples = sorted(self.folds[0]["train"], key=lambda sample: -sample["num_frames"])
        return [samples[row % len(samples)] for row in range(number)]


def _paths(manifest: Path) -> list[str]:
    rows = Manifest.read(manifest)
    return [rows.relative_path(row) for row in range(len(rows))]
