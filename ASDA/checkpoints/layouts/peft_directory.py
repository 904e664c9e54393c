"""LoRA as the peft library saves it, for `PeftModel.from_pretrained(network, DIR)`.

| file | what it holds |
|---|---|
| `adapter_config.json` | peft's LoraConfig |
| `adapter_model.safetensors` | `base_model.model.*`: the factors of each update and, of a classifier, its `head` |
| `asda_adapter.json` | what peft does not record: architecture, front end, head, labels, checksum of the base |

The network is SpectrogramClassifier where there is a head, else SpectrogramEncoder. A directory that peft has written
has no third file: it is put on whatever base is given, and a head is taken for one like the base's own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ...adaptation.lora import A, Lora
from ...adaptation.method import AdaptationError
from ..adapters import Adapter
from ..contents import PEFT_CONFIG, Contents, read_json
from ..files import CheckpointError, load_safetensors, save_safetensors
from ..validation import expect_key, expect_number, refuse
from .adapter_directory import describe, read_description
from .directory import write_json

EXPECTED = f"a directory with {PEFT_CONFIG} of LoRA"
TENSORS, RECORD = "adapter_model.safetensors", "asda_adapter.json"
_OUTER = "base_model.model."
_ENCODER = re.compile(r"^(?:classifier\.)?(?:encoder\.)?(?=stack\.)")
_HEAD = re.compile(r"^(?:classifier\.)?head\.")
# Settings of peft's that no update's result depends on: how it was trained, where it was put, versions.
_INERT = frozenset(
    ("peft_type", "r", "lora_alpha", "target_modules", "init_lora_weights")  # looked at by themselves
    + ("task_type", "base_model_name_or_path", "revision", "auto_mapping", "inference_mode", "peft_version")
    + ("lora_dropout", "exclude_modules", "modules_to_save", "layers_to_transform", "layers_pattern", "megatron_core")
    + ("runtime_config", "eva_config", "qalora_group_size")
)
# Initialisations that leave the encoder's weights as they are. The others (pissa, olora, corda, loftq, lora_ga) take
# from them what the factors begin with: on the encoder as it was, such factors are too much.
_INITIALISATIONS = (True, False, None, "gaussian", "eva", "orthogonal")


def knows(contents: Contents) -> bool:
    """Whether the contents have this layout."""
    return isinstance(contents.config, dict) and "peft_type" in contents.config


def read_adapter(contents: Contents) -> Adapter:
    """What such a directory holds.

    Raises:
        CheckpointError: a file is missing or damaged, or it is no plain LoRA of this network.
    """
    folder, config = contents.path, contents.config
    file = folder / PEFT_CONFIG
    if config["peft_type"] != "LORA":
        refuse(file, "peft_type", "LORA", config["peft_type"])
    for key, value in config.items():  # a variant of LoRA, this peft's or a later one's, has a setting of its own
        if key not in _INERT and value and value != "none":
            refuse(file, key, "nothing, as plain LoRA has it", value)
    if config.get("init_lora_weights") not in _INITIALISATIONS:
        expected = "true, gaussian, eva or orthogonal, which change no weights of the encoder (peft's save_pretrained "
        expected += "converts others, with path_initial_model_for_weight_conversion)"
        refuse(file, "init_lora_weights", expected, config["init_lora_weights"])
    lora, head = _sorted(folder / TENSORS)
    record = folder / RECORD
    described = read_description(record, read_json(record)) if record.is_file() else {}
    stated = _method(file, config, lora)
    methods = described.pop("methods", None) or (stated,)
    for recorded in methods:
        if isinstance(recorded, Lora) and (recorded.rank, recorded.alpha) != (stated.rank, stated.alpha):
            raise CheckpointError(
                f"{file}: r={stated.rank}, lora_alpha={stated.alpha:g}, but {RECORD} beside it has {recorded.rank} and "
                f"{recorded.alpha:g}; if peft has written the directory anew, remove {RECORD}"
            )
    if head and "head_config" not in described:
        described["head_config"] = None  # like the base's
    return Adapter(folder, "peft", methods=methods, tensors=lora, head=head, **described)


def write(folder: Path, adapter: Adapter) -> None:
    """Writes LoRA as peft does.

    Raises:
        CheckpointError: the encoder is adapted otherwise.
    """
    kinds = [method.kind for method in adapter.methods]
    lora = next((method for method in adapter.methods if isinstance(method, Lora)), None)
    if lora is None or len(kinds) > 1:
        raise CheckpointError(f"{adapter.path}: peft's directories hold LoRA alone, this is {', '.join(kinds)}")
    inner = "encoder." if adapter.head else ""
    maps = [name.removesuffix(f".{A}") for name in adapter.tensors if name.endswith(f".{A}")]
    config = {
        "peft_type": "LORA",
        "task_type": None,
        "base_model_name_or_path": adapter.base and adapter.base.path,
        "inference_mode": True,
        "r": lora.rank,
        "lora_alpha": lora.alpha,
        "lora_dropout": lora.dropout,
        "target_modules": [f"{inner}{name}" for name in maps],
        "modules_to_save": ["head"] if adapter.head else None,
        "bias": "none",
        "fan_in_fan_out": False,
    }
    tensors = {f"{_OUTER}{inner}{name}": tensor for name, tensor in adapter.tensors.items()}
    tensors |= {f"{_OUTER}head.{name}": tensor for name, tensor in adapter.head.items()}
    save_safetensors(tensors, folder / TENSORS)
    write_json(folder / RECORD, describe(adapter))
    write_json(folder / PEFT_CONFIG, config)


def _sorted(file: Path) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The factors and the head's tensors, under the network's own names."""
    lora, head = {}, {}
    for name, tensor in load_safetensors(file).items():
        plain = name.removeprefix(_OUTER)
        if _HEAD.match(plain):
            head[_HEAD.sub("", plain)] = tensor
        elif _ENCODER.match(plain):
            lora[_ENCODER.sub("", plain)] = tensor
        else:
            raise CheckpointError(
                f"{file}: expected {_OUTER}*.stack.blocks.N.* and {_OUTER}head.*, found {name}; is it LoRA of another "
                "network?"
            )
    return lora, head


def _method(file: Path, config: Mapping[str, Any], lora: Mapping[str, Tensor]) -> Lora:
    rank = expect_number(file, "r", expect_key(file, "", config, "r"), low=1, high=10**6, whole=True)
    alpha = expect_number(file, "lora_alpha", expect_key(file, "", config, "lora_alpha"), above=0, high=1e9)
    maps = dict.fromkeys(name.removesuffix(f".{A}").rpartition(".")[2] for name in lora if name.endswith(f".{A}"))
    try:
        return Lora(rank, alpha, targets=tuple(maps))
    except AdaptationError as error:
        raise CheckpointError(f"{file}: {error}") from error
