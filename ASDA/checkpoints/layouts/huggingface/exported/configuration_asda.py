"""Config of a model exported to Hugging Face; what it holds is described in the project's docs/compatibility.md."""

from __future__ import annotations

from typing import Any

from transformers import PretrainedConfig


class AsdaConfig(PretrainedConfig):
    """Architecture, front end and classes.

    Args:
        encoder: the architecture, as EncoderConfig.to_dict gives it.
        front_end: how a waveform becomes the input: normalisation statistics, length, rate, mel bins.
        head: of a fine-tuned model: num_classes, pooling, norm, label_names, ...; None for a pre-trained one.
    """

    model_type = "asda"

    def __init__(
        self,
        encoder: dict[str, Any] | None = None,
        front_end: dict[str, Any] | None = None,
        head: dict[str, Any] | None = None,
        **kwargs: Any,
    ):
        self.encoder = encoder or {}
        self.front_end = front_end or {}
        self.head = head
        super().__init__(**kwargs)
