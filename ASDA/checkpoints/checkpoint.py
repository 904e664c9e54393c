"""What a checkpoint holds, whatever its layout: the network, its input and its classes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from ..audio.front_end import FrontEnd
from ..core.config import EncoderConfig, HeadConfig


@dataclass
class Checkpoint:
    """A trained encoder, perhaps with a head, and what was recorded with it.

    Attributes:
        path: where it came from.
        layout: the name of its layout.
        encoder_config: the architecture.
        encoder: tensors of SpectrogramEncoder.
        front_end: what turns a waveform into the encoder's input.
        front_end_recorded: whether the file says so, or leaves it to be guessed from the data set it names.
        head_config: what the head consists of; None for a pre-trained encoder.
        head: tensors of ClassificationHead; empty for a pre-trained encoder.
        label_names: of the classes, in the order of the head; empty if the file does not record them.
        multi_label: whether a clip may have several labels; None if the file does not say.
        independent_scores: True if the head was trained with one sigmoid per class, False if with a softmax.
        training_config: the configuration of the fairseq run, in this project's spelling; None if there is none.
        num_updates: of that run; None if the file does not say.
        training_parts: parameters of what the file holds beside the model, by name: a decoder.
    """

    path: Path
    layout: str
    encoder_config: EncoderConfig
    encoder: dict[str, Tensor]
    front_end: FrontEnd
    front_end_recorded: bool = True
    head_config: HeadConfig | None = None
    head: dict[str, Tensor] = field(default_factory=dict)
    label_names: list[str] = field(default_factory=list)
    multi_label: bool | None = None
    independent_scores: bool = True
    training_config: dict[str, Any] | None = None
    num_updates: int | None = None
    training_parts: dict[str, int] = field(default_factory=dict)

    @property
    def num_classes(self) -> int:
        """Classes of the head; 0 without one."""
        return self.head_config.num_classes if self.head_config else 0
