"""What a configuration would train, without data and, if nobody runs it, without memory for its weights."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from fairseq.dataclass.utils import merge_with_parent
from fairseq.models import MODEL_DATACLASS_REGISTRY, MODEL_REGISTRY
from fairseq.tasks import TASK_DATACLASS_REGISTRY, TASK_REGISTRY
from omegaconf import OmegaConf
from torch import nn

from ..audio.front_end import FrontEnd
from ..core.config import EncoderConfig
from .models.legacy import decide_architecture
from .tasks.front_end import corpus_of, front_end_of


def describe_run(config: Any, device: str = "meta") -> tuple[EncoderConfig, nn.Module, FrontEnd]:
    """The encoder, the whole network and the front end of a run.

    Args:
        config: the composed yaml.
        device: where the weights are to be; on "meta" they take no memory.

    Raises:
        ValueError: a name that is not registered, or settings that describe no network.
    """
    task = _completed(config, "task", TASK_DATACLASS_REGISTRY)
    model = _completed(config, "model", MODEL_DATACLASS_REGISTRY)
    corpus = corpus_of(task)
    if "num_classes" in model and model.num_classes is None:
        model.num_classes = corpus.num_classes
    if "no_pretrained_weights" in model:
        model.no_pretrained_weights = True  # the architecture is enough
    decide_architecture(model, None)
    front_end = front_end_of(task, own=TASK_REGISTRY[config.task._name].own_front_end)
    of_task = SimpleNamespace(multi_label=corpus.multi_label, front_end=front_end)
    with torch.device(device):
        built = MODEL_REGISTRY[config.model._name].build_model(model, of_task)
    return built.encoder.config, built.require_objective(), front_end


def _completed(config: Any, part: str, registry: dict[str, type]) -> Any:
    """A part of a configuration with the defaults of its name."""
    name = config[part].get("_name")
    if name not in registry:
        raise ValueError(f"{part}._name={name} is not registered; expected one of this project's names")
    section = OmegaConf.create(OmegaConf.to_container(OmegaConf.create(config)[part], resolve=False))
    missing = [key for key in section if OmegaConf.is_missing(section, key)]
    for key in missing:  # paths, which say nothing of the network
        section[key] = ""
    whole = OmegaConf.create({**{k: config[k] for k in config}, part: section})
    resolved = OmegaConf.to_container(whole[part], resolve=True)
    return merge_with_parent(registry[name](), OmegaConf.create(resolved))
