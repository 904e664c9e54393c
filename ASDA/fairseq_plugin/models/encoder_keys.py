"""Keys of yaml that describe an encoder.

No postponed annotations here: omegaconf 2.0 reads the types of the fields.
"""

from enum import Enum
from typing import Any


class AttentionKind(Enum):
    auto = "auto"
    differential = "differential"
    plain = "plain"


class LambdaMode(Enum):
    fixed = "fixed"
    learned = "learned"


class Positions(Enum):
    sincos_2d = "sincos_2d"
    sincos_1d = "sincos_1d"


class ClsPosition(Enum):
    head = "head"
    middle = "middle"


class Autocast(Enum):
    none = "none"
    bf16 = "bf16"


def encoder_arguments(cfg: Any) -> dict:
    """Arguments of SpectrogramEncoder from a (merged) pre-training model config.

    Raises:
        ValueError: a key that is not implemented asks for something, or two keys disagree.
    """
    image = cfg.modalities.image
    if image.embed_dim not in (None, cfg.embed_dim):
        raise ValueError(
            f"model.modalities.image.embed_dim ({image.embed_dim}) must equal model.embed_dim ({cfg.embed_dim})"
        )
    attention = cfg.attention
    if attention is AttentionKind.auto:
        attention = AttentionKind.differential
    return {
        "embed_dim": cfg.embed_dim,
        "depth": cfg.depth,
        "num_heads": cfg.num_heads,
        "mlp_ratio": cfg.mlp_ratio,
        "attention": attention.value,
        "diff_lambda": cfg.diff_lambda,
        "out_scale": cfg.out_scale,
        "lambda_mode": cfg.lambda_mode.value,
        "lambda_init": cfg.lambda_init,
        "num_mel_bins": image.num_mel_bins,
        "patch_size": image.patch_size,
        "max_patch_rows": image.max_length,
        "positions": cfg.positions.value,
        "cls_position": cfg.cls_position.value,
        "norm_eps": cfg.norm_eps,
        "attention_dropout": cfg.attention_dropout,
        "encoder_dropout": cfg.encoder_dropout,
        "activation_dropout": cfg.activation_dropout,
        "post_mlp_drop": cfg.post_mlp_drop,
        "drop_path": (cfg.start_drop_path_rate, cfg.end_drop_path_rate),
        "checkpoint_activations": cfg.checkpoint_activations,
    }
