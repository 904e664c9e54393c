"""Config of a model exported to Hugging Face; what it holds is described in the project's docs/compatibility.md."""

from __future__ import annotations

from typing import Any

from transformers import PretrainedConfig

SIGMOID_PROBLEM, SOFTMAX_PROBLEM = "multi_label_classification", "single_label_classification"


class AsdaConfig(PretrainedConfig):
    """Architecture, front end and classes.

    Classes are transformers' own settings: `num_labels`, `id2label`, `problem_type`. What `head` says of them is
    brought in line when the config is written, so that the project's programs read what `save_pretrained` leaves.

    Args:
        encoder: the architecture, as EncoderConfig.to_dict gives it.
        front_end: how a waveform becomes the input: normalisation statistics, length, rate, mel bins.
        head: of a fine-tuned model: pooling, norm, ...; None for a pre-trained one.
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
        self.recorded_run = False  # its training.json is not among what save_pretrained writes

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for config.json."""
        values = super().to_dict()
        for task in values.get("custom_pipelines", {}).values():
            task["pt"] = [getattr(found, "__name__", found) for found in task["pt"]]  # pipeline() puts classes there
        if self.head is not None:
            unnamed = [f"LABEL_{index}" for index in range(self.num_labels)]
            names = [self.id2label.get(index, name) for index, name in enumerate(unnamed)]
            values["head"] = {
                "multi_label": None,
                **self.head,
                "num_classes": self.num_labels,
                "independent_scores": self.problem_type == SIGMOID_PROBLEM,
                "label_names": [] if names == unnamed else names,
            }
        return values
