"""What a checkpoint holds, whatever its layout: the network, its input and its classes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from ..adaptation.method import Method
from ..audio.front_end import FrontEnd
from ..core.config import EncoderConfig, HeadConfig


@dataclass(frozen=True)
class Base:
    """The encoder that adapters were trained on.

    Attributes:
        sha256: of its tensors.
        path: where it was.
    """

    sha256: str
    path: str


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
        adaptation: how the encoder is adapted; empty for a plain one.
        adapters: tensors that this has added to the encoder.
        base: the encoder that the adapters were put on; None for a whole model.
        trained: names of the encoder's own tensors that came with the adapters rather than with the base.
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
    adaptation: tuple[Method, ...] = ()
    adapters: dict[str, Tensor] = field(default_factory=dict)
    base: Base | None = None
    trained: tuple[str, ...] = ()

    @property
    def num_classes(self) -> int:
        """Classes of the head; 0 without one."""
        return self.head_config.num_classes if self.head_config else 0

    @property
    def class_names(self) -> list[str]:
        """What programs call the classes: their names, or numbers where the file records none."""
        return self.label_names or [f"class {index}" for index in range(self.num_classes)]
