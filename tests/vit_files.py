"""Files of AST and SSAST made from their description, and what they compute, worked out naively.

The weights are random. `oracle_tokens` follows the papers with explicit loops in float64, patch by patch and frequency
first, and reads the published names, so that it shares nothing with the code under test.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

_OLD = {
    "layer": "encoder.layer", "q": "attention.attention.query", "k": "attention.attention.key",
    "v": "attention.attention.value", "proj": "attention.output.dense", "fc1": "intermediate.dense",
    "fc2": "output.dense",
}  # fmt: skip
_NEW = {
    "layer": "layers", "q": "attention.q_proj", "k": "attention.k_proj", "v": "attention.v_proj",
    "proj": "attention.o_proj", "fc1": "mlp.fc1", "fc2": "mlp.fc2",
}  # fmt: skip


def vit_tensors(
    *, width: int = 64, depth: int = 2, hidden: int = 128, num_patches: int = 48, tokens: int = 2, patch=(16, 16)
) -> dict[str, torch.Tensor]:
    """A vision transformer's tensors under timm's names; patches of (mel bins, frames), frequency first."""
    generator = torch.Generator().manual_seed(width + num_patches)

    def random(*shape: int, around: float = 0.0) -> torch.Tensor:
        return around + 0.1 * torch.randn(shape, generator=generator)

    tensors = {name: random(1, 1, width) for name in ("cls_token", "dist_token")[:tokens]}
    tensors |= {"pos_embed": random(1, tokens + num_patches, width)}
    tensors |= {"patch_embed.proj.weight": random(width, 1, *patch), "patch_embed.proj.bias": random(width)}
    for layer in range(depth):
        shapes = {"attn.qkv": (3 * width, width), "attn.proj": (width, width)}
        shapes |= {"mlp.fc1": (hidden, width), "mlp.fc2": (width, hidden)}
        for name, shape in shapes.items():
            tensors[f"blocks.{layer}.{name}.weight"] = random(*shape)
            tensors[f"blocks.{layer}.{name}.bias"] = random(shape[0])
        for name in ("norm1", "norm2"):
            tensors[f"blocks.{layer}.{name}.weight"] = random(width, around=1.0)
            tensors[f"blocks.{layer}.{name}.bias"] = random(width)
    return tensors | {"norm.weight": random(width, around=1.0), "norm.bias": random(width)}


def ssast_tensors(classes: int = 0, wrapped: bool = True, **settings) -> dict[str, torch.Tensor]:
    """An SSAST file: before fine-tuning, or with a head for so many classes."""
    vit = vit_tensors(**settings)
    width, _, *patch = vit["patch_embed.proj.weight"].shape
    generator = torch.Generator().manual_seed(5)
    tensors = {f"v.{name}": tensor for name, tensor in vit.items()}
    values = math.prod(patch)
    if classes:
        shapes = {"mlp_head.0.weight": (width,), "mlp_head.0.bias": (width,)}
        shapes |= {"mlp_head.1.weight": (classes, width), "mlp_head.1.bias": (classes,)}
    else:
        shapes = {"mask_embed": (1, 1, width)}
        for head in ("cpredlayer", "gpredlayer"):
            shapes |= {f"{head}.0.weight": (width, width), f"{head}.0.bias": (width,)}
            shapes |= {f"{head}.2.weight": (values, width), f"{head}.2.bias": (values,)}
    tensors |= {name: 0.1 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    return {f"module.{name}": tensor for name, tensor in tensors.items()} if wrapped else tensors


def ast_config(**settings) -> dict:
    """`config.json` of a small AST directory."""
    return {
        "architectures": ["ASTForAudioClassification"], "model_type": "audio-spectrogram-transformer",
        "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 48,
        "hidden_act": "gelu", "layer_norm_eps": 1e-12, "patch_size": 16, "frequency_stride": 10, "time_stride": 10,
        "max_length": 64, "num_mel_bins": 128, "qkv_bias": True,
        "id2label": {"0": "bark", "1": "meow", "2": "rain"}, **settings,
    }  # fmt: skip


PREPROCESSOR = {
    "feature_extractor_type": "ASTFeatureExtractor", "do_normalize": True, "feature_size": 1, "max_length": 64,
    "mean": -4.2677393, "num_mel_bins": 128, "sampling_rate": 16000, "std": 4.5689974,
}  # fmt: skip


def ast_tensors(config: dict, new_names: bool = False, classes: int = 3) -> dict[str, torch.Tensor]:
    """Tensors of such a directory as transformers names them, up to version 4 or since version 5."""
    words = _NEW if new_names else _OLD
    steps = [
        1 + (config[length] - config["patch_size"]) // config[stride]
        for length, stride in (("num_mel_bins", "frequency_stride"), ("max_length", "time_stride"))
    ]
    sizes = {
        "width": config["hidden_size"],
        "depth": config["num_hidden_layers"],
        "hidden": config["intermediate_size"],
    }
    vit = vit_tensors(**sizes, num_patches=math.prod(steps), patch=(config["patch_size"],) * 2)
    outer = "audio_spectrogram_transformer." if classes else ""
    tensors = {}
    for name, tensor in vit.items():
        if name.startswith("blocks."):
            _, layer, part, *rest = name.split(".")
            inside = f"{outer}{words['layer']}.{layer}."
            kind = rest[-1]
            if part in ("norm1", "norm2"):
                tensors[f"{inside}layernorm_{'before' if part == 'norm1' else 'after'}.{kind}"] = tensor
            elif rest[0] == "qkv":
                for word, piece in zip("qkv", tensor.chunk(3), strict=True):
                    if kind == "weight" or config["qkv_bias"]:
                        tensors[f"{inside}{words[word]}.{kind}"] = piece.clone()
            else:
                tensors[f"{inside}{words[rest[0]]}.{kind}"] = tensor
        else:
            renamed = {"cls_token": "embeddings.cls_token", "dist_token": "embeddings.distillation_token",
                       "pos_embed": "embeddings.position_embeddings"}.get(name)  # fmt: skip
            renamed = renamed or name.replace("patch_embed.proj", "embeddings.patch_embeddings.projection")
            tensors[outer + (renamed if renamed != name else name.replace("norm.", "layernorm."))] = tensor
    if classes:
        generator = torch.Generator().manual_seed(7)
        shapes = {"layernorm.weight": (config["hidden_size"],), "layernorm.bias": (config["hidden_size"],)}
        shapes |= {"dense.weight": (classes, config["hidden_size"]), "dense.bias": (classes,)}
        tensors |= {f"classifier.{name}": torch.randn(s, generator=generator) for name, s in shapes.items()}
    return tensors


def write_ast(
    folder: Path, *, new_names: bool = False, classes: int = 3, preprocessor=PREPROCESSOR, **settings
) -> Path:
    """A small AST directory."""
    folder.mkdir(parents=True, exist_ok=True)
    config = ast_config(**settings)
    (folder / "config.json").write_text(json.dumps(config))
    if preprocessor is not None:
        (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    save_file(ast_tensors(config, new_names, classes), folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def oracle_tokens(tensors: dict, source: np.ndarray, num_heads: int, stride=None, hidden=(), eps: float = 1e-6):
    """What a transformer of `vit_tensors` (names with `v.` before them) makes of a spectrogram (T, F).

    Args:
        tensors: of a file, with `mask_embed` if patches are hidden.
        source: the spectrogram.
        num_heads: of its attention.
        stride: mel bins and frames from patch to patch; None: its size.
        hidden: (row, column) in time and frequency of patches that are replaced by the mask token.
        eps: of its LayerNorms.

    Returns:
        Prefix tokens (X, D), and patches by (row, column).
    """
    w = {name.removeprefix("module.").removeprefix("v."): t.double().numpy() for name, t in tensors.items()}
    kernel, image = w["patch_embed.proj.weight"][:, 0], source.T
    (bins, frames), (bin_step, frame_step) = kernel.shape[1:], stride or kernel.shape[1:]
    places, tokens = [], [w[name][0, 0] for name in ("cls_token", "dist_token") if name in w]
    num_prefix = len(tokens)
    for column in range(1 + (image.shape[0] - bins) // bin_step):
        for row in range(1 + (image.shape[1] - frames) // frame_step):
            patch = image[column * bin_step :, row * frame_step :][:bins, :frames]
            token = (kernel * patch).sum(axis=(1, 2)) + w["patch_embed.proj.bias"]
            tokens.append(w["mask_embed"][0, 0] if (row, column) in hidden else token)
            places.append((row, column))
    x = np.stack(tokens) + w["pos_embed"][0]
    layer = 0
    while f"blocks.{layer}.norm1.weight" in w:
        b = {n.removeprefix(f"blocks.{layer}."): t for n, t in w.items() if n.startswith(f"blocks.{layer}.")}
        x = x + _attention(_norm(x, b, "norm1", eps), b, num_heads)
        u = _linear(_norm(x, b, "norm2", eps), b, "mlp.fc1")
        gelu = 0.5 * u * (1 + np.vectorize(math.erf)(u / math.sqrt(2)))
        x = x + _linear(gelu, b, "mlp.fc2")
        layer += 1
    x = _norm(x, w, "norm", eps)
    return x[:num_prefix], dict(zip(places, x[num_prefix:], strict=True))


def oracle_head(tensors: dict, pooled: np.ndarray) -> np.ndarray:
    """Logits of `mlp_head`."""
    w = {name.removeprefix("module."): t.double().numpy() for name, t in tensors.items()}
    return _linear(_norm(pooled, w, "mlp_head.0", 1e-5), w, "mlp_head.1")


def oracle_prediction(tensors: dict, token: np.ndarray, head: str) -> np.ndarray:
    """What `cpredlayer` or `gpredlayer` makes of a token."""
    w = {name.removeprefix("module."): t.double().numpy() for name, t in tensors.items()}
    return _linear(np.maximum(_linear(token, w, f"{head}.0"), 0), w, f"{head}.2")


def _linear(x: np.ndarray, w: dict, name: str) -> np.ndarray:
    return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def _norm(x: np.ndarray, w: dict, name: str, eps: float) -> np.ndarray:
    centred = x - x.mean(axis=-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + eps) * w[f"{name}.weight"] + w[f"{name}.bias"]


def _attention(x: np.ndarray, w: dict, num_heads: int) -> np.ndarray:
    q, k, v = np.split(_linear(x, w, "attn.qkv"), 3, axis=1)
    outputs = []
    for head in range(num_heads):
        part = slice(head * x.shape[1] // num_heads, (head + 1) * x.shape[1] // num_heads)
        scores = q[:, part] @ k[:, part].T / math.sqrt(part.stop - part.start)
        weights = np.exp(scores - scores.max(axis=1, keepdims=True))
        outputs.append(weights / weights.sum(axis=1, keepdims=True) @ v[:, part])
    return _linear(np.concatenate(outputs, axis=1), w, "attn.proj")
