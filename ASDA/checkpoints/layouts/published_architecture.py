"""EAT's config keys <-> the architecture, and what an encoder's tensors say about it.

Published files do not record all of it, and state an MLP of 4 x D where it is 3.5 x D: what the tensors determine is
taken from them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from enum import Enum
from typing import Any

from torch import Tensor

from ...core.config import (
    ATTENTIONS,
    ConfigError,
    Differential,
    DifferentialV2,
    EncoderConfig,
    PatchConfig,
    Plain,
    StackConfig,
)

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
_NUM_MEL_BINS = 128
# The linear map that holds the queries tells the kinds of attention apart.
_QUERY_MAPS = {Differential.kind: "qk", Plain.kind: "qkv", DifferentialV2.kind: "q"}


class UnknownLayoutError(ValueError):
    """The tensors are not those of an encoder of this project, of ASDA or of EAT."""


def config_of_keys(keys: Mapping[str, Any]) -> EncoderConfig:
    """The architecture from the keys of a pre-training model config, all of which have to be there.

    Args:
        keys: plain values; ``encoder`` among them, if it is set, has the last word: settings of EncoderConfig, all of
            them (as checkpoints record them) or those that the other keys cannot say.

    Raises:
        ConfigError: a value describes no encoder.
        KeyError: a key is missing.
    """
    image = keys["modalities"]["image"]
    size = image["patch_size"]
    stated = {
        "stack": {
            "embed_dim": keys["embed_dim"],
            "depth": keys["depth"],
            "num_heads": keys["num_heads"],
            "mlp_ratio": keys["mlp_ratio"],
            "attention": _attention(keys),
            "norm": "post",
            "norm_first": True,
            "norm_last": False,
            "norm_eps": keys["norm_eps"],
        },
        "patches": {"size": [size, size], "stride": [size, size]},
        "num_mel_bins": image["num_mel_bins"],
        "positions": keys["positions"],
        "max_rows": image["max_length"],
        "num_prefix_tokens": 1,
        "prefix_place": keys["cls_position"],
    }
    return EncoderConfig.from_dict(merged(stated, keys.get("encoder") or {}))


def _attention(keys: Mapping[str, Any]) -> dict[str, Any]:
    kind = keys["attention"]
    known = ATTENTIONS.get(kind) if isinstance(kind, str) else None
    constants = [entry.name for entry in fields(known)] if known else []
    if keys["lambda_mode"] != Differential.lambda_mode and "lambda_mode" not in constants:
        raise ConfigError(f"lambda_mode: expected fixed with attention={kind}, found {keys['lambda_mode']}")
    return {"kind": kind, **{name: keys[name] for name in constants}}


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """``changes`` on top of ``base``, part by part; another kind of attention comes with the constants of its own."""
    if not isinstance(changes, Mapping):
        raise ConfigError(f"encoder: expected a table of settings, found {changes!r}")
    result = dict(base)
    for name, value in changes.items():
        old = result.get(name)
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            kind = value.get("kind")
            if kind in ATTENTIONS and kind != old.get("kind"):
                old = {"kind": kind, **asdict(ATTENTIONS[kind]())}
            result[name] = merged(old, value)
        else:
            result[name] = value
    return result


def keys_of_config(config: EncoderConfig) -> dict[str, Any]:
    """The keys that say as much of an architecture as EAT's spelling can; ``encoder`` says all of it."""
    whole = config.to_dict()
    attention = whole["stack"]["attention"]
    names = ("diff_lambda", "out_scale", "lambda_mode", "lambda_init")
    constants = {name: attention.get(name, PUBLISHED_ARCHITECTURE[name]) for name in names}
    stack: StackConfig = config.stack
    patches: PatchConfig = config.patches
    return {
        "embed_dim": stack.embed_dim,
        "depth": stack.depth,
        "num_heads": stack.num_heads,
        "mlp_ratio": stack.mlp_ratio,
        "norm_eps": stack.norm_eps,
        "attention": attention["kind"],
        **constants,
        "positions": config.positions,
        "cls_position": config.prefix_place,
        "modalities": {
            "image": {
                "patch_size": patches.size[0],
                "num_mel_bins": config.num_mel_bins,
                "max_length": config.max_rows,
            }
        },
        "encoder": whole,
    }


def has_eats_frame(config: EncoderConfig) -> bool:
    """Whether all of an architecture is as in EAT, but for its positions and for attention that they know."""
    stack, (frames, bins) = config.stack, config.patches.size
    if isinstance(stack.attention, DifferentialV2):
        return False
    frame = (stack.norm, stack.norm_first, stack.norm_last, config.num_prefix_tokens, config.patches.overlap)
    return frame == ("post", True, False, 1, False) and frames == bins


def recorded_architecture(cfg: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> EncoderConfig:
    """The architecture from a pre-training model config as it stands in a checkpoint, and from its tensors.

    Args:
        cfg: ``cfg.model`` of the pre-training checkpoint, a plain mapping.
        tensors: the encoder's, under native names.

    Raises:
        UnknownLayoutError: a key or tensor that every layout has is missing.
        ConfigError: a value describes no encoder.
    """
    if cfg.get("encoder") and "stack" in cfg["encoder"] and "patches" in cfg["encoder"]:
        return EncoderConfig.from_dict(cfg["encoder"])
    if cfg.get("num_heads") is None:
        raise UnknownLayoutError(
            f"unknown checkpoint layout: expected cfg.model.num_heads; found the keys {', '.join(cfg) or 'none'}"
        )
    modalities = cfg.get("modalities") or {}
    image = modalities.get("image") or {}
    keys = {name: cfg.get(name, default) for name, default in PUBLISHED_ARCHITECTURE.items()}
    keys |= {"num_heads": cfg["num_heads"], "norm_eps": cfg.get("norm_eps", PUBLISHED_NORM_EPS)}
    keys = {name: value.value if isinstance(value, Enum) else value for name, value in keys.items()}
    seen = infer_architecture(tensors, image.get("num_mel_bins") or _NUM_MEL_BINS)
    if seen["lambda_mode"] == "learned" and "out_scale" not in cfg:
        keys["out_scale"] = None  # 1 - lambda_init, as where a learned lambda comes from (arXiv 2410.05258)
    if keys["positions"] == "sincos_1d":
        keys["positions"] = "sincos_1d_patches"  # what that word meant before architectures were recorded as such
    return config_of_keys({**keys, **seen})


def infer_architecture(encoder: Mapping[str, Tensor], num_mel_bins: int = _NUM_MEL_BINS) -> dict[str, Any]:
    """The keys that an encoder's tensors determine.

    Args:
        encoder: its tensors under native names (``stack.blocks.0.attn.qk.weight``).
        num_mel_bins: mel bins, which no tensor shows.

    Returns:
        embed_dim, depth, mlp_ratio, attention, lambda_mode and modalities. The number of heads, lambda and out_scale
        leave no trace in the tensors.

    Raises:
        UnknownLayoutError: tensors that every layout has are missing; the message lists what was expected and found.
    """
    first = "stack.blocks.0."
    kinds = {kind: f"{first}attn.{name}.weight" for kind, name in _QUERY_MAPS.items()}
    attention = [kind for kind, name in kinds.items() if name in encoder]
    needed = ["prefix_tokens", "patch_embed.proj.weight", "positions", f"{first}mlp.fc1.weight"]
    missing = [name for name in needed if name not in encoder]
    if missing or len(attention) != 1:
        raise UnknownLayoutError(
            f"unknown checkpoint layout: expected {', '.join(needed)} and one of {', '.join(kinds.values())}; "
            f"missing {', '.join(missing) or 'nothing'}; found {len(encoder)} encoder tensors: "
            f"{', '.join(list(encoder)[:8]) or 'none'}{' ...' if len(encoder) > 8 else ''}"
        )
    numbers = {name.split(".")[2] for name in encoder if name.startswith("stack.blocks.")}
    if numbers != {str(number) for number in range(len(numbers))}:
        raise UnknownLayoutError(
            f"unknown checkpoint layout: expected blocks with the numbers 0, 1, ..., found {', '.join(sorted(numbers))}"
        )
    depth = len(numbers)
    for name, num_dims in zip(needed, (3, 4, 3, 2), strict=True):
        if encoder[name].dim() != num_dims or not encoder[name].numel():
            shape = tuple(encoder[name].shape)
            raise UnknownLayoutError(f"{name}: expected a tensor of {num_dims} dimensions, found one of shape {shape}")
    embed_dim, _, _, patch_size = encoder["patch_embed.proj.weight"].shape
    return {
        "embed_dim": embed_dim,
        "depth": depth,
        "mlp_ratio": encoder[f"{first}mlp.fc1.weight"].shape[0] / embed_dim,
        "attention": attention[0],
        "lambda_mode": "learned" if f"{first}attn.lambda_q1" in encoder else "fixed",
        "modalities": {
            "image": {
                "patch_size": patch_size,
                "num_mel_bins": num_mel_bins,
                "max_length": encoder["positions"].shape[1] // max(num_mel_bins // patch_size, 1),
            }
        },
    }
