"""What a checkpoint holds, whatever its layout: the network, its input and its classes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from ..audio.front_end import FrontEnd


@dataclass
class Checkpoint:
    """A trained encoder, perhaps with a head, and what was recorded with it.

    Attributes:
        path: where it came from.
        encoder_config: arguments of SpectrogramEncoder.
        encoder: tensors of the encoder under native names.
        front_end: what turns a waveform into the encoder's input.
        head: ``fc_norm.*`` and ``head.*``; empty for a pre-trained encoder.
        pooling: ``cls`` or ``mean``, for the head.
        label_names: of the classes, in the order of the head; empty if the file does not record them.
        multi_label: whether a clip may have several labels; None if the file does not say.
        independent_scores: True if the head was trained with one sigmoid per class, False if with a softmax.
    """

    path: Path
    encoder_config: dict[str, Any]
    encoder: dict[str, Tensor]
    front_end: FrontEnd
    head: dict[str, Tensor] = field(default_factory=dict)
    pooling: str = "cls"
    label_names: list[str] = field(default_factory=list)
    multi_label: bool | None = None
    independent_scores: bool = True

    @property
    def num_classes(self) -> int:
        """Classes of the head; 0 without one."""
        return len(self.head["head.bias"]) if self.head else 0
