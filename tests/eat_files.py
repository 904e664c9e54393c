"""EAT directories of Hugging Face made from their description, with random weights."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from tests.published_files import encoder_tensors

_IMAGE = "modality_encoders.IMAGE."
_NAMES = {  # published -> in a directory
    f"{_IMAGE}local_encoder.": "local_encoder.",
    f"{_IMAGE}extra_tokens": "extra_tokens",
    f"{_IMAGE}fixed_positional_encoder.": "fixed_positional_encoder.",
    f"{_IMAGE}context_encoder.norm.": "pre_norm.",
    "blocks.": "blocks.",
}
CODE_THAT_MUST_NOT_RUN = "import pathlib; pathlib.Path(__file__).with_name('marker').touch()\n"


def eat_config(classes: int = 0, **settings) -> dict:
    """`config.json` of a small EAT directory: all of its keys."""
    return {
        "model_type": "eat", "architectures": ["EATModel"],
        "auto_map": {"AutoConfig": "configuration_eat.EATConfig", "AutoModel": "modeling_eat.EATModel"},
        "embed_dim": 32, "depth": 2, "num_heads": 4, "patch_size": 16, "stride": 16, "in_chans": 1, "mel_bins": 128,
        "max_length": 768, "num_classes": classes or 527, "model_variant": "finetune" if classes else "pretrain",
        "mlp_ratio": 4.0, "qkv_bias": True, "drop_rate": 0.0, "layer_norm_first": False, "norm_eps": 1e-6,
        "norm_affine": True, "fixed_positions": True, "img_size": [1024, 128], "torch_dtype": "float32", **settings,
    }  # fmt: skip


def eat_tensors(classes: int = 0, seed: int = 0) -> tuple[dict, dict]:
    """Tensors of a small model, as a directory names them and as a fairseq file does; the head is in both."""
    generator = torch.Generator().manual_seed(seed)
    published = encoder_tensors("plain", embed_dim=32, depth=2, generator=generator)
    for name, shape in {"fc_norm": (32,), "head": (classes, 32)}.items() if classes else ():
        published[f"{name}.weight"] = 0.3 * torch.randn(*shape, generator=generator)
        published[f"{name}.bias"] = 0.3 * torch.randn(shape[0], generator=generator)
    named = {}
    for name, tensor in published.items():
        old = next((old for old in _NAMES if name.startswith(old)), "")
        named["model." + _NAMES.get(old, "") + name[len(old) :]] = tensor
    return named, published


def write_eat(folder: Path, classes: int = 0, *, seed: int = 0, **settings) -> Path:
    """A small EAT directory, pre-trained or fine-tuned for so many classes, its code included."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(eat_config(classes, **settings)))
    for name in ("configuration_eat.py", "modeling_eat.py", "eat_model.py", "model_core.py"):
        (folder / name).write_text(CODE_THAT_MUST_NOT_RUN)
    save_file(eat_tensors(classes, seed)[0], folder / "model.safetensors", metadata={"format": "pt"})
    return folder
