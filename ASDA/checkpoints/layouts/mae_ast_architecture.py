"""MAE-AST's config keys -> the architecture of its encoder and of its decoder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ...core.config import ConfigError, EncoderConfig, StackConfig
from .published_architecture import merged

_REQUIRED = (
    "ast_kernel_size_time",
    "ast_kernel_size_chan",
    "encoder_layers",
    "encoder_embed_dim",
    "encoder_ffn_embed_dim",
    "encoder_attention_heads",
    "max_token_length",
)
# eps of the LayerNorms of torch, and of the pre-norm vision transformer.
_POST_NORM_EPS, _PRE_NORM_EPS = 1e-5, 1e-6


def config_of_keys(keys: Mapping[str, Any]) -> EncoderConfig:
    """The encoder that the keys of a model config describe.

    Args:
        keys: plain values. ``encoder`` among them, if it is set, has the last word: settings of EncoderConfig, all of
            them (as checkpoints record them) or those that the other keys cannot say.

    Raises:
        ConfigError: a key is missing, or a value describes no encoder.
    """
    for name in _REQUIRED:
        if keys.get(name) is None:
            raise ConfigError(f"{name}: missing; expected {', '.join(_REQUIRED)}, found {', '.join(keys)}")
    size = [keys["ast_kernel_size_time"], keys["ast_kernel_size_chan"]]
    stride = [keys.get("ast_kernel_stride_time") or size[0], keys.get("ast_kernel_stride_chan") or size[1]]
    bins, is_pre_norm = keys.get("num_mel_bins") or 128, bool(keys.get("layer_norm_first"))
    if not 1 <= size[1] <= bins:
        raise ConfigError(f"ast_kernel_size_chan: expected 1 to {bins} mel bins, found {size[1]}")
    stated = {
        "stack": {
            "embed_dim": keys["encoder_embed_dim"],
            "depth": keys["encoder_layers"],
            "num_heads": keys["encoder_attention_heads"],
            "mlp_ratio": keys["encoder_ffn_embed_dim"] / keys["encoder_embed_dim"],
            "attention": {"kind": "plain"},
            "norm": "pre" if is_pre_norm else "post",
            "norm_first": not is_pre_norm,
            "norm_last": is_pre_norm,
            "norm_eps": _PRE_NORM_EPS if is_pre_norm else _POST_NORM_EPS,
        },
        "patches": {"size": size, "stride": stride},
        "num_mel_bins": bins,
        "positions": "interleaved_1d",
        "max_rows": keys["max_token_length"] // (1 + (bins - size[1]) // stride[1]),
        "num_prefix_tokens": 0,
        "prefix_place": "head",
    }
    return EncoderConfig.from_dict(merged(stated, keys.get("encoder") or {}))


def decoder_of_keys(keys: Mapping[str, Any], encoder: EncoderConfig) -> StackConfig:
    """The blocks of the decoder: as the encoder's, but for their number and their width.

    Constants of the attention that differ from layer to layer are those of the encoder's last.

    Raises:
        ConfigError: a value describes no decoder.
    """
    width = keys["decoder_embed_dim"]
    return replace(
        encoder.stack,
        embed_dim=width,
        depth=keys["decoder_layers"],
        mlp_ratio=keys["encoder_ffn_embed_dim"] / width,
        attention=encoder.stack.attention.behind_the_last_layer(),
    )
