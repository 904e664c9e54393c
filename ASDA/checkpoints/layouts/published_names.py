"""Parameter names of the published checkpoints, and this project's own for the same tensors.

Checkpoints keep the published names, so that EAT's and ASDA's users can take them as they are; the code has names of
its own. Both directions are prefix rewrites and know nothing of sizes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the launch reads the names, and torch takes seconds to import
    from torch import Tensor

_IMAGE = "modality_encoders.IMAGE"

# Names of SpectrogramEncoder <-> published names.
_ENCODER = (
    ("prefix_tokens", f"{_IMAGE}.extra_tokens"),
    ("patch_embed.", f"{_IMAGE}.local_encoder."),
    ("positions", f"{_IMAGE}.fixed_positional_encoder.positions"),
    ("stack.norm_first.", f"{_IMAGE}.context_encoder.norm."),
    ("stack.norm_last.", f"{_IMAGE}.context_encoder.norm_last."),  # of no published encoder
    ("stack.blocks.", "blocks."),
)
_DECODER = f"{_IMAGE}.decoder."

# Names in the registered models <-> published names. The published classifier has the encoder under `model.`.
PRETRAINING_NAMES = (
    *((f"objective.encoder.{native}", published) for native, published in _ENCODER),
    ("objective.decoder.", _DECODER),
)
CLASSIFIER_NAMES = (
    *((f"objective.classifier.encoder.{native}", f"model.{published}") for native, published in _ENCODER),
    ("objective.classifier.head.norm.", "fc_norm."),
    ("objective.classifier.head.linear.", "head."),
)

LEGACY_PRETRAINING_MODEL = "data2vec_multi"
LEGACY_CLASSIFIER = "mae_image_classification"

# Names of the registered classes, this project's -> the published ones.
PUBLISHED_MODELS = {"asda": LEGACY_PRETRAINING_MODEL, "asda_classifier": LEGACY_CLASSIFIER}
PUBLISHED_TASKS = {"asda_pretraining": "mae_image_pretraining", "asda_finetuning": "mae_image_classification"}

# How the configs of published checkpoints say which data set it is -> the name of its preset.
PUBLISHED_FLAGS = {
    "esc50_eval": "esc50",
    "spcv2_eval": "spcv2",
    "spcv1_finetune": "spcv1",
    "fsd50k_eval": "fsd50k",
    "AS2M_finetune": "audioset",
}

TEACHER_KEY = "_ema"
# Updates that went into the teacher. Published files do not say: their teacher is one update behind the student.
TEACHER_UPDATES_KEY = "_ema_num_updates"

# The order of the parameters in the published programs, by module: within the model, and within a block. Optimiser
# states are lists in this order.
_MODULES = (
    f"{_IMAGE}.local_encoder.",
    f"{_IMAGE}.context_encoder.",
    _DECODER,
    "blocks.",
    "fc_norm.",
    "head.",
)
_MODULES_OF_BLOCK = ("norm1.", "attn.qkv.", "attn.qk.", "attn.v.", "attn.proj.", "attn.norm.", "norm2.", "mlp.")


Names = tuple[tuple[str, str], ...]


def _rewrite(name: str, pairs: Names, forward: bool) -> str | None:
    for native, published in pairs:
        old, new = (native, published) if forward else (published, native)
        if name.startswith(old):
            return new + name[len(old) :]
    return None


def to_published(name: str) -> str:
    """A registered model's name -> the published one; names without a counterpart stay."""
    return _rewrite(name, PRETRAINING_NAMES + CLASSIFIER_NAMES, True) or name


def to_native(name: str, names: Names) -> str:
    """A published name -> that in a registered model with these names; names without a counterpart stay."""
    return _rewrite(name, names, False) or name


def encoder_to_published(tensors: dict[str, Tensor], outer: str = "") -> dict[str, Tensor]:
    """Tensors of SpectrogramEncoder under their published names, with ``outer`` before them."""
    return {outer + (_rewrite(name, _ENCODER, True) or name): tensor for name, tensor in tensors.items()}


def encoder_from_published(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Inverse of :func:`encoder_to_published` without ``outer``."""
    return {_rewrite(name, _ENCODER, False) or name: tensor for name, tensor in tensors.items()}


def head_to_published(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of ClassificationHead under their published names."""
    return {to_published(f"objective.classifier.head.{name}"): tensor for name, tensor in tensors.items()}


def published_place(module: str) -> tuple[int, int, int]:
    """Sorts the names of a model's modules into the published order; ties keep theirs."""
    name = to_published(f"{module}.").removeprefix("model.")
    place = next((place for place, prefix in enumerate(_MODULES) if name.startswith(prefix)), -1)
    if place < 0 or _MODULES[place] != "blocks.":
        return place, 0, 0
    _, number, inside = [*name.split(".", 2), ""][:3]
    within = next((n for n, prefix in enumerate(_MODULES_OF_BLOCK) if inside.startswith(prefix)), -1)
    return place, int(number or 0), within


def split_published(tensors: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Sorts the tensors of a checkpoint of either kind by what they belong to, under native names without prefix.

    Returns:
        ``encoder``, ``decoder``, ``teacher`` and ``head``, each a possibly empty dictionary, and ``other``: names that
        belong to none of them, under their published names.
    """
    parts: dict[str, dict[str, Any]] = {"encoder": {}, "decoder": {}, "teacher": {}, "head": {}, "other": {}}
    heads = tuple(pair for pair in CLASSIFIER_NAMES if ".head." in pair[0])
    for name, value in tensors.items():
        plain = name.removeprefix("model.")
        if name == TEACHER_KEY:
            parts["teacher"] = encoder_from_published(value)
        elif name == TEACHER_UPDATES_KEY:
            continue
        elif native := _rewrite(name, heads, False):
            parts["head"][native.removeprefix("objective.classifier.head.")] = value
        elif native := _rewrite(plain, _ENCODER, False):
            parts["encoder"][native] = value
        elif plain.startswith(_DECODER):
            parts["decoder"][plain.removeprefix(_DECODER)] = value
        else:
            parts["other"][name] = value
    return parts
