"""EAT as a Hugging Face directory, `model_type: eat` (arXiv 2401.03497): `worstchan/EAT-base_epoch30_pretrain`, ...

| file | what is taken from it |
|---|---|
| `config.json` | the architecture, `model_variant`, `id2label`, `problem_type` |
| `model.safetensors` or its parts | the weights: encoder and, fine-tuned, `fc_norm` and `head` |

A missing key has the value that the directories' own code gives it; that code is not run. The input's normalisation
stands in no file: it is AudioSet's, as the model cards say. The head's LayerNorm has torch's eps of 1e-5, while EAT's
fairseq program has 1e-6; it is recorded as part of the head. Without `problem_type` scores are one sigmoid per class.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ...audio.front_end import LONGEST_WINDOW_FRAMES, FrontEnd
from ...core.config import ConfigError, EncoderConfig, HeadConfig, PatchConfig, Plain, StackConfig
from ..checkpoint import Checkpoint
from ..contents import CONFIG, Contents
from ..files import CheckpointError
from ..validation import expect_equal, expect_number, expect_shape, expect_word, refuse
from ..weight_files import load_weights
from .transformers_config import is_model, is_multi_label, label_names, sizes

MODEL_TYPE = "eat"
EXPECTED = f"a directory whose {CONFIG} says model_type={MODEL_TYPE}"

_SIZES = {
    "embed_dim": 768,
    "depth": 12,
    "num_heads": 12,
    "patch_size": 16,
    "stride": 16,
    "mel_bins": 128,
    "max_length": 768,
}
# Settings that other values would make another network of; none of the published directories has any.
_CONSTANT = {"in_chans": 1, "qkv_bias": True, "layer_norm_first": False, "norm_affine": True, "fixed_positions": True}
_VARIANTS = ("pretrain", "finetune")
_HEAD_NORM_EPS = 1e-5
_OUTER = "model."
_ENCODER = {
    "extra_tokens": "prefix_tokens",
    "local_encoder.": "patch_embed.",
    "fixed_positional_encoder.positions": "positions",
    "pre_norm.": "stack.norm_first.",
    "blocks.": "stack.blocks.",
}
_HEAD = {"fc_norm.": "norm.", "head.": "linear."}


def knows(contents: Contents) -> bool:
    """Whether the contents have this layout."""
    return is_model(contents, MODEL_TYPE)


def read(contents: Contents) -> Checkpoint:
    """What such a directory holds.

    Raises:
        CheckpointError: a file is missing, damaged or not of this layout.
    """
    folder, config = contents.path, contents.config
    file = folder / CONFIG
    encoder_config = _architecture(file, config)
    front_end = _front_end(file, config, encoder_config.num_mel_bins)
    variant = expect_word(file, "model_variant", config.get("model_variant", _VARIANTS[0]), _VARIANTS)
    encoder, head = _split(folder, load_weights(folder, trust=contents.trust))
    if bool(head) != (variant == "finetune"):
        found = f"{'a' if head else 'no'} head among the weights (fc_norm.*, head.*)"
        raise CheckpointError(f"{file}: model_variant={variant}, but there is {found}")
    multi_label = is_multi_label(file, config)
    return Checkpoint(
        path=folder,
        layout="eat",
        encoder_config=encoder_config,
        encoder=encoder,
        front_end=front_end,
        front_end_recorded=False,
        head_config=_head_config(folder, config, head) if head else None,
        head=head,
        label_names=label_names(file, config) if head else [],
        multi_label=multi_label if head else None,
        independent_scores=multi_label is not False,
    )


def training_state(contents: Contents) -> None:  # noqa: ARG001 - no run of this project's trainer
    """None: of a model that was not trained here."""
    return None


def _architecture(file: Path, config: Mapping[str, Any]) -> EncoderConfig:
    for name, value in _CONSTANT.items():
        expect_equal(file, name, config.get(name, value), value, "the one that is known here")
    size = sizes(file, config, _SIZES)
    expect_equal(file, "stride", size["stride"], size["patch_size"], "as patch_size has it")
    try:
        stack = StackConfig(
            size["embed_dim"],
            size["depth"],
            size["num_heads"],
            expect_number(file, "mlp_ratio", config.get("mlp_ratio", 4.0), above=0, high=10**6),
            attention=Plain(),
            norm_eps=expect_number(file, "norm_eps", config.get("norm_eps", 1e-6), above=0, high=1),
        )
        return EncoderConfig(
            stack,
            PatchConfig((size["patch_size"],) * 2),
            num_mel_bins=size["mel_bins"],
            max_rows=size["max_length"],
        )
    except ConfigError as error:
        raise CheckpointError(f"{file}: {error}") from error


def _front_end(file: Path, config: Mapping[str, Any], num_mel_bins: int) -> FrontEnd:
    image = config.get("img_size", [1024, num_mel_bins])
    if not isinstance(image, list) or len(image) != 2:
        refuse(file, "img_size", "two numbers, frames and mel bins", image)
    frames = expect_number(file, "img_size.0", image[0], low=1, high=LONGEST_WINDOW_FRAMES, whole=True)
    expect_equal(file, "img_size.1", image[1], num_mel_bins, "as mel_bins has it")
    return FrontEnd(frames, num_mel_bins=num_mel_bins)


def _split(folder: Path, tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The tensors of the encoder and of the head (empty if there is none), under names of this project."""
    encoder: dict[str, Tensor] = {}
    head: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        plain = name.removeprefix(_OUTER)
        part, names = (head, _HEAD) if plain.startswith(tuple(_HEAD)) else (encoder, _ENCODER)
        found = next((new + plain[len(old) :] for old, new in names.items() if plain.startswith(old)), None)
        if found is None:
            refuse(folder, "tensors", "those of EAT (local_encoder.*, blocks.N.*, ...)", name)
        if found in part:
            raise CheckpointError(f"{folder}: {name}: there twice, with and without {_OUTER} before it")
        part[found] = tensor
    return encoder, head


def _head_config(folder: Path, config: Mapping[str, Any], head: Mapping[str, Tensor]) -> HeadConfig:
    num_classes = len(expect_shape(folder, "head.bias", head.get("linear.bias"), (None,)))
    stated = config.get("num_classes", num_classes)
    expect_equal(folder / CONFIG, "num_classes", stated, num_classes, "as the tensors have it")
    try:
        return HeadConfig(num_classes, norm="norm.weight" in head, norm_eps=_HEAD_NORM_EPS)
    except ConfigError as error:
        raise CheckpointError(f"{folder}: {error}") from error
