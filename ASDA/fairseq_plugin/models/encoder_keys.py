"""Keys of yaml <-> the architecture (`EncoderConfig`) and how it is trained (`Regularisation`).

No postponed annotations here: omegaconf 2.0 reads the types of the fields.
"""

from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, Optional, Tuple

from fairseq.dataclass import FairseqDataclass
from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict

from ...checkpoints.layouts.published_architecture import config_of_keys
from ...core.config import EncoderConfig, Regularisation


class AttentionKind(Enum):
    auto = "auto"
    differential = "differential"
    differential_v2 = "differential_v2"
    plain = "plain"


class LambdaMode(Enum):
    fixed = "fixed"
    learned = "learned"


class Positions(Enum):
    sincos_2d = "sincos_2d"
    sincos_1d = "sincos_1d"
    sincos_1d_patches = "sincos_1d_patches"
    interleaved_1d = "interleaved_1d"
    learned = "learned"


class ClsPosition(Enum):
    head = "head"
    middle = "middle"


class Autocast(Enum):
    none = "none"
    bf16 = "bf16"


class CompileMode(Enum):
    """Those of torch.compile that record no CUDA graphs: these would overwrite what layers hand out."""

    default = "default"
    max_autotune_no_cudagraphs = "max-autotune-no-cudagraphs"


@dataclass
class DropoutKeys(FairseqDataclass):
    """Dropout in an encoder's layers, as `Regularisation` has it."""

    encoder_dropout: float = field(default=0.0, metadata={"help": "dropout after the attention's projection"})
    post_mlp_drop: float = field(default=0.0, metadata={"help": "dropout after the MLP"})
    attention_dropout: float = field(default=0.0, metadata={"help": "dropout on the attention maps"})
    activation_dropout: float = field(default=0.0, metadata={"help": "dropout inside the MLP"})


@dataclass
class DropPathKeys(FairseqDataclass):
    """Stochastic depth that grows from the first layer to the last."""

    start_drop_path_rate: float = field(default=0.0, metadata={"help": "stochastic depth of the first layer"})
    end_drop_path_rate: float = field(default=0.0, metadata={"help": "stochastic depth of the last layer"})


@dataclass
class ComputingKeys(FairseqDataclass):
    """How a model computes, whatever it learns."""

    autocast: Autocast = field(default=Autocast.none, metadata={"help": "none or bf16, with float32 master weights"})
    compile: bool = field(default=False, metadata={"help": "torch.compile for the blocks and the decoder"})
    compile_mode: CompileMode = field(
        default=CompileMode.default,
        metadata={"help": "of torch.compile: default, or max_autotune_no_cudagraphs, which tries kernels first"},
    )
    tf32: bool = field(
        default=False,
        metadata={"help": "float32 products of a GPU in TF32, with 10 bits of mantissa"},
    )
    checkpoint_activations: bool = field(default=False, metadata={"help": "recompute layers instead of keeping them"})


_KEYS = ("depth", "num_heads", "embed_dim", "mlp_ratio", "norm_eps", "positions", "cls_position")
_ATTENTION_KEYS = ("attention", "diff_lambda", "out_scale", "lambda_mode", "lambda_init")
_IMAGE_KEYS = ("patch_size", "num_mel_bins", "max_length")


def plain(value: Any) -> Any:
    """A value of a config as json would have it."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, (DictConfig, ListConfig)):
        return OmegaConf.to_container(value, resolve=True, enum_to_str=True)
    return value


def encoder_keys(cfg: Any) -> dict:
    """The keys of a (merged) pre-training model config that describe its encoder, as plain values.

    Raises:
        ValueError: two keys disagree.
    """
    image = cfg.modalities.image
    if image.embed_dim not in (None, cfg.embed_dim):
        raise ValueError(
            f"model.modalities.image.embed_dim ({image.embed_dim}) must equal model.embed_dim ({cfg.embed_dim})"
        )
    keys = {name: plain(cfg[name]) for name in (*_KEYS, *_ATTENTION_KEYS, "encoder")}
    return {**keys, "modalities": {"image": {name: plain(image[name]) for name in _IMAGE_KEYS}}}


def encoder_config(cfg: Any) -> EncoderConfig:
    """The architecture that a (merged) pre-training model config describes.

    Raises:
        ValueError: a value describes no encoder, or two keys disagree.
    """
    return config_of_keys(encoder_keys(cfg))


def is_complete(encoder: Any) -> bool:
    """Whether ``model.encoder`` is a whole architecture, as checkpoints record it, rather than a few settings."""
    return encoder is not None and "stack" in encoder and "patches" in encoder and "positions" in encoder


def record_encoder(cfg: Any, encoder: Any) -> None:
    """Puts an architecture, or a part of one, into ``model.encoder`` in place of what is stated there."""
    with open_dict(cfg):  # omegaconf 2.0.6 takes no plain dictionary, nor a key that the old value lacks
        cfg.encoder = OmegaConf.create(plain(encoder))


def regularisation(cfg: Any, drop_path: Optional[Tuple[float, float]] = None) -> Regularisation:
    """How an encoder is trained, from a model config; ``drop_path`` of the first and of the last layer."""
    return Regularisation(
        attention_dropout=cfg.attention_dropout,
        projection_dropout=cfg.encoder_dropout,
        activation_dropout=cfg.activation_dropout,
        mlp_dropout=cfg.post_mlp_drop,
        drop_path=drop_path or (cfg.start_drop_path_rate, cfg.end_drop_path_rate),
        checkpoint_activations=cfg.checkpoint_activations,
    )


def with_norm_eps(config: EncoderConfig, norm_eps: Optional[float]) -> EncoderConfig:
    """An architecture with another eps of its LayerNorms; None changes nothing."""
    return config if norm_eps is None else replace(config, stack=replace(config.stack, norm_eps=norm_eps))
