"""Parameter names of the published checkpoints, and this project's own for the same tensors.

Checkpoints keep the published names, so that EAT's and ASDA's users can take them as they are; the code has names of
its own. Both directions are prefix rewrites and know nothing of sizes.
"""

from __future__ import annotations

import re

_IMAGE = "modality_encoders.IMAGE"

# native prefix (student: the encoder, decoder: the pre-training decoder) <-> published prefix
_PREFIXES = (
    ("student.cls_token", f"{_IMAGE}.extra_tokens"),
    ("student.patch_embed.", f"{_IMAGE}.local_encoder."),
    ("student.positions", f"{_IMAGE}.fixed_positional_encoder.positions"),
    ("student.norm.", f"{_IMAGE}.context_encoder.norm."),
    ("student.blocks.", "blocks."),
    ("decoder.", f"{_IMAGE}.decoder."),
)

LEGACY_PRETRAINING_MODEL = "data2vec_multi"
LEGACY_CLASSIFIER = "mae_image_classification"

# Names of the registered classes, this project's -> the published ones.
PUBLISHED_MODELS = {"asda": LEGACY_PRETRAINING_MODEL, "asda_classifier": LEGACY_CLASSIFIER}
PUBLISHED_TASKS = {"asda_pretraining": "mae_image_pretraining", "asda_finetuning": "mae_image_classification"}

TEACHER_KEY = "_ema"
# Updates that went into the teacher. Published files do not say: their teacher is one update behind the student.
TEACHER_UPDATES_KEY = "_ema_num_updates"

_NATIVE = re.compile(r"^(?P<outer>model\.)?(?:objective\.)?(?P<name>(?:student|decoder)\..*)$")


def to_published(name: str) -> str:
    """`objective.student.cls_token` -> `modality_encoders.IMAGE.extra_tokens`; names without a counterpart stay."""
    match = _NATIVE.match(name)
    if match:
        for native, published in _PREFIXES:
            if match["name"].startswith(native):
                return (match["outer"] or "") + published + match["name"][len(native) :]
    return name


def to_native(name: str) -> str:
    """`blocks.0.attn.v.bias` -> `student.blocks.0.attn.v.bias`; names without a counterpart stay."""
    for native, published in _PREFIXES:
        if name.startswith(published):
            return native + name[len(published) :]
    return name


# The order of the parameters in the published programs, by module: within the model, and within a block. Optimiser
# states are lists in this order.
_MODULES = (
    f"{_IMAGE}.local_encoder.",
    f"{_IMAGE}.context_encoder.",
    f"{_IMAGE}.decoder.",
    "blocks.",
    "fc_norm.",
    "head.",
)
_MODULES_OF_BLOCK = ("norm1.", "attn.qkv.", "attn.qk.", "attn.v.", "attn.proj.", "attn.norm.", "norm2.", "mlp.")


def published_place(module: str) -> tuple[int, int, int]:
    """Sorts the names of modules (`objective.student.norm`) into the published order; ties keep theirs."""
    name = to_published(f"{module}.").removeprefix("model.")
    place = next((place for place, prefix in enumerate(_MODULES) if name.startswith(prefix)), -1)
    if place < 0 or _MODULES[place] != "blocks.":
        return place, 0, 0
    _, number, inside = [*name.split(".", 2), ""][:3]
    within = next((n for n, prefix in enumerate(_MODULES_OF_BLOCK) if inside.startswith(prefix)), -1)
    return place, int(number or 0), within


def split_published(tensors: dict) -> dict[str, dict]:
    """Sorts the tensors of a checkpoint of either kind by what they belong to, under native names without prefix.

    Returns:
        ``student``, ``decoder``, ``teacher`` and ``head`` (fine-tuned: fc_norm and head), each a possibly empty
        dictionary, and ``other``: names that belong to none of them, under their published names.
    """
    parts: dict[str, dict] = {"student": {}, "decoder": {}, "teacher": {}, "head": {}, "other": {}}
    for name, value in tensors.items():
        if name == TEACHER_KEY:
            parts["teacher"] = {to_native(n).removeprefix("student."): t for n, t in value.items()}
        elif name == TEACHER_UPDATES_KEY:
            continue
        elif name.startswith(("fc_norm.", "head.")):
            parts["head"][name] = value
        else:
            native = to_native(name.removeprefix("model."))
            part, _, rest = native.partition(".")
            if part in ("student", "decoder") and native != name:
                parts[part][rest] = value
            else:
                parts["other"][name] = value
    return parts


# How the configs of published checkpoints say which data set it is -> its name in data.corpora.
PUBLISHED_FLAGS = {
    "esc50_eval": "esc50",
    "spcv2_eval": "spcv2",
    "spcv1_finetune": "spcv1",
    "fsd50k_eval": "fsd50k",
    "AS2M_finetune": "audioset",
}
