"""The checkpoint of fairseq's trainer that a model without a run amounts to: one that was not trained here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ...adaptation.keys import keys_of_methods
from ...audio.front_end import FrontEnd
from ..checkpoint import Checkpoint
from ..files import CheckpointError
from .published_architecture import has_eats_frame, keys_of_config
from .published_names import encoder_to_published, head_to_published

PRETRAINING_TASK, FINETUNING_TASK = "asda_pretraining", "asda_finetuning"
PRETRAINED, CLASSIFIER = "asda", "asda_classifier"
PREDICTION_MODES = {"cls": "CLS_TOKEN", "mean": "MEAN_POOLING", "prefix_mean": "PREFIX_MEAN"}
"""Poolings and how configs spell them."""


def state_of_model(checkpoint: Checkpoint) -> dict[str, Any]:
    """A classifier as a run of this project would have written it, or an EAT encoder without decoder and teacher.

    Raises:
        CheckpointError: it is another encoder without a head, of which no run of this project has the rest, or an
            adapted one.
    """
    return _encoder_state(checkpoint) if checkpoint.head_config is None else _classifier_state(checkpoint)


def _encoder_state(checkpoint: Checkpoint) -> dict[str, Any]:
    config = checkpoint.encoder_config
    if checkpoint.adaptation:
        kinds = ", ".join(method.kind for method in checkpoint.adaptation)
        raise CheckpointError(
            f"{checkpoint.path}: an encoder alone with {kinds}, for which a .pt file without a head has no place; "
            "write a directory (--to directory), or the adapters apart (--to adapter)"
        )
    if not has_eats_frame(config):
        raise CheckpointError(
            f"{checkpoint.path}: an encoder alone, of no run of this project: a .pt file would lack what training adds "
            "to it; write a directory (--to directory), from which fine-tuning starts as well"
        )
    state = without_run({"_name": PRETRAINED, **keys_of_config(config)}, PRETRAINING_TASK, checkpoint.front_end)
    return state | {"model": encoder_to_published(checkpoint.encoder)}


def _classifier_state(checkpoint: Checkpoint) -> dict[str, Any]:
    head = checkpoint.head_config
    assert head is not None
    cfg_model: dict[str, Any] = {
        "_name": CLASSIFIER,
        "encoder": checkpoint.encoder_config.to_dict(),
        "num_classes": head.num_classes,
        "prediction_mode": PREDICTION_MODES[head.pooling],
        "use_fc_norm": head.norm,
        "fc_norm_eps": head.norm_eps,
        "loss": "bce" if checkpoint.independent_scores else "cross_entropy",
    }
    if has_eats_frame(checkpoint.encoder_config):  # which the published layout can say
        pretrained = {"_name": PRETRAINED, **keys_of_config(checkpoint.encoder_config)}
        cfg_model["pretrained_model_args"] = {"model": pretrained, "task": {"_name": PRETRAINING_TASK}}
    if checkpoint.adaptation:
        cfg_model |= keys_of_methods(checkpoint.adaptation)
    state = without_run(cfg_model, FINETUNING_TASK, checkpoint.front_end)
    state["task_state"] |= {"label_names": checkpoint.label_names, "multi_label": checkpoint.multi_label}
    encoder = {**checkpoint.encoder, **checkpoint.adapters}
    model = encoder_to_published(encoder, "model.") | head_to_published(checkpoint.head)
    return state | {"model": model}


def sizes_by_part(tensors: Mapping[str, Tensor]) -> dict[str, int]:
    """How many values tensors have, by the first part of their names."""
    sizes: dict[str, int] = {}
    for name, tensor in tensors.items():
        part = name.partition(".")[0]
        sizes[part] = sizes.get(part, 0) + tensor.numel()
    return sizes


def without_run(cfg_model: dict[str, Any], task: str, front_end: FrontEnd) -> dict[str, Any]:
    """A checkpoint before the first update, all of it but its model."""
    cfg_task = {
        "_name": task,
        "target_length": front_end.target_length_frames,
        "norm_mean": front_end.norm_mean,
        "norm_std": front_end.norm_std,
        "seed": 1,  # else fairseq looks for one of a run
    }
    return {
        "args": None,
        "cfg": {"model": cfg_model, "task": cfg_task},
        "criterion": None,
        "optimizer_history": [{"optimizer_name": None, "lr_scheduler_state": {}, "num_updates": 0}],
        "task_state": {"front_end": front_end.to_dict()},
        "extra_state": {},
        "last_optimizer_state": None,
    }
