"""What an encoder's tensors say about its architecture: published files do not record all of it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any

from torch import Tensor

# The published ASDA weights were trained with these; their files record neither.
PUBLISHED_LAMBDA = 0.1
PUBLISHED_OUT_SCALE = 0.95
PUBLISHED_NORM_EPS = 1e-6

# What a published file means by not having these keys.
PUBLISHED_ARCHITECTURE = {
    "attention": "auto",
    "diff_lambda": PUBLISHED_LAMBDA,
    "out_scale": PUBLISHED_OUT_SCALE,
    "lambda_mode": "fixed",
    "lambda_init": None,
    "positions": "sincos_2d",
    "cls_position": "head",
}


def recorded_architecture(cfg: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> dict:
    """Arguments of SpectrogramEncoder from a pre-training model config as it stands in a checkpoint.

    What the tensors determine is taken from them: a published file states an MLP of 4 x D where it is 3.5 x D.

    Args:
        cfg: ``cfg.model`` of the pre-training checkpoint, a plain mapping.
        tensors: the encoder's, under native names without prefix.

    Raises:
        UnknownLayoutError: a key or tensor that every layout has is missing.
    """
    image = (cfg.get("modalities") or {}).get("image") or {}
    if cfg.get("num_heads") is None:
        raise UnknownLayoutError(
            f"unknown checkpoint layout: expected cfg.model.num_heads; found the keys {', '.join(cfg) or 'none'}"
        )
    needed = {"num_heads": cfg["num_heads"], "norm_eps": cfg.get("norm_eps", PUBLISHED_NORM_EPS)}
    num_mel_bins = image.get("num_mel_bins") or 128
    arguments = {name: cfg.get(name, default) for name, default in PUBLISHED_ARCHITECTURE.items()} | needed
    arguments = {name: value.value if isinstance(value, Enum) else value for name, value in arguments.items()}
    inferred = infer_architecture(dict(tensors), num_mel_bins)
    if inferred["lambda_mode"] == "learned" and "out_scale" not in cfg:
        arguments["out_scale"] = None  # 1 - lambda_init, as where a learned lambda comes from (arXiv 2410.05258)
    return arguments | {"num_mel_bins": num_mel_bins} | inferred


class UnknownLayoutError(ValueError):
    """The tensors are not those of an encoder of this project, of ASDA or of EAT."""


def infer_architecture(encoder: dict[str, Tensor], num_mel_bins: int = 128) -> dict:
    """Arguments of SpectrogramEncoder that its tensors determine.

    Args:
        encoder: tensors of the encoder under native names without prefix (``blocks.0.attn.qk.weight``).
        num_mel_bins: mel bins, which no tensor shows.

    Returns:
        embed_dim, depth, mlp_ratio, attention, lambda_mode, patch_size, max_patch_rows. The number of heads, lambda and
        out_scale leave no trace in the tensors.

    Raises:
        UnknownLayoutError: tensors that every layout has are missing; the message lists what was expected and found.
    """
    depth = 1 + max((int(n.split(".")[1]) for n in encoder if n.startswith("blocks.")), default=-1)
    kinds = {"differential": "blocks.0.attn.qk.weight", "plain": "blocks.0.attn.qkv.weight"}
    attention = [kind for kind, name in kinds.items() if name in encoder]
    needed = ["cls_token", "patch_embed.proj.weight", "positions", "blocks.0.mlp.fc1.weight"]
    missing = [name for name in needed if name not in encoder]
    if missing or len(attention) != 1:
        raise UnknownLayoutError(
            f"unknown checkpoint layout: expected {', '.join(needed)} and one of {', '.join(kinds.values())}; "
            f"missing {', '.join(missing) or 'nothing'}; found {len(encoder)} encoder tensors: "
            f"{', '.join(list(encoder)[:8]) or 'none'}{' ...' if len(encoder) > 8 else ''}"
        )
    embed_dim, _, _, patch_size = encoder["patch_embed.proj.weight"].shape
    return {
        "embed_dim": embed_dim,
        "depth": depth,
        "mlp_ratio": encoder["blocks.0.mlp.fc1.weight"].shape[0] / embed_dim,
        "attention": attention[0],
        "lambda_mode": "learned" if "blocks.0.attn.lambda_q1" in encoder else "fixed",
        "patch_size": patch_size,
        "max_patch_rows": encoder["positions"].shape[1] // (num_mel_bins // patch_size),
    }
