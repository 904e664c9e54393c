"""Config dataclasses of the models. Keys keep the spelling of EAT and data2vec 2.0 where the thing is the same.

No postponed annotations here: omegaconf 2.0 reads the types of the fields.
"""

from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Optional

from fairseq.dataclass import FairseqDataclass

from ...checkpoints.layouts.published_architecture import PUBLISHED_LAMBDA, PUBLISHED_OUT_SCALE
from ..eat_keys import EatDecoderKeys, EatPretrainingKeys, EatSpectrogramKeys
from .encoder_keys import (
    AttentionKind,
    ClsPosition,
    ComputingKeys,
    DropoutKeys,
    DropPathKeys,
    LambdaMode,
    Positions,
)


class DecoderBackend(Enum):
    """How the decoder computes its convolutions: ASDA/objectives/grouped_convolution.py."""

    conv = "conv"
    matmul = "matmul"
    auto = "auto"


@dataclass
class DecoderConfig(EatDecoderKeys):
    decoder_dim: int = field(default=768, metadata={"help": "channels of the convolutions"})
    decoder_groups: int = field(default=16, metadata={"help": "groups of the convolutions"})
    decoder_kernel: int = field(default=3, metadata={"help": "side of the kernels, odd"})
    decoder_layers: int = field(default=6, metadata={"help": "convolution layers"})
    decoder_residual: bool = field(default=True, metadata={"help": "residuals where the shapes agree"})


@dataclass
class SpectrogramConfig(EatSpectrogramKeys):
    """What EAT's configs call the image modality: the spectrogram, its patches, its masks, its decoder."""

    mask_noise_std: float = field(default=0.01, metadata={"help": "std of the tokens in hidden places"})
    mask_prob: float = field(default=0.8, metadata={"help": "share of the patches that is hidden"})
    inverse_mask: bool = field(default=True, metadata={"help": "blocks are kept (true) or hidden (false)"})
    mask_prob_adjust: float = field(default=0.07, metadata={"help": "added to the share when blocks are counted"})
    mask_length: int = field(default=5, metadata={"help": "side of a block, in patches"})
    patch_size: int = field(default=16, metadata={"help": "side of a patch, in frames and mel bins"})
    num_mel_bins: int = field(default=128, metadata={"help": "mel bins of the spectrograms"})
    max_length: int = field(default=768, metadata={"help": "patch rows of the position table; 768 are 122.9 s"})
    embed_dim: Optional[int] = field(default=None, metadata={"help": "must equal model.embed_dim; null: does"})
    decoder: DecoderConfig = field(default_factory=DecoderConfig)


@dataclass
class ModalitiesConfig(FairseqDataclass):
    image: SpectrogramConfig = field(default_factory=SpectrogramConfig)


@dataclass
class AsdaConfig(EatPretrainingKeys, DropoutKeys, DropPathKeys, ComputingKeys):
    """Encoder, decoder, teacher and losses of pre-training."""

    attention: AttentionKind = field(
        default=AttentionKind.differential, metadata={"help": "differential (ASDA), plain (EAT) or differential_v2"}
    )
    diff_lambda: Any = field(
        default=0.3, metadata={"help": "weight of the map that is subtracted; a list: of each layer"}
    )
    out_scale: Optional[float] = field(
        default=PUBLISHED_OUT_SCALE, metadata={"help": "constant after attention's norm; null: 1 - lambda_init"}
    )
    lambda_mode: LambdaMode = field(default=LambdaMode.fixed, metadata={"help": "fixed or learned (arXiv 2410.05258)"})
    lambda_init: Any = field(
        default=None,
        metadata={
            "help": "constant of a learned lambda, null: grows with the depth; of differential_v2 lambda at the start, "
            "null: 0.5; a list: of each layer"
        },
    )
    positions: Positions = field(
        default=Positions.sincos_2d, metadata={"help": "sincos_2d, sincos_1d, interleaved_1d, learned"}
    )
    cls_position: ClsPosition = field(
        default=ClsPosition.head, metadata={"help": "head or middle: where 1-D positions count CLS"}
    )
    encoder: Any = field(
        default=None,
        metadata={"help": "settings of EncoderConfig that no other key can say; in checkpoints the whole architecture"},
    )
    depth: int = field(default=12, metadata={"help": "layers"})
    num_heads: int = field(default=12, metadata={"help": "attention heads"})
    embed_dim: int = field(default=768, metadata={"help": "width"})
    mlp_ratio: float = field(default=3.5, metadata={"help": "hidden width of the MLPs over embed_dim"})
    norm_eps: float = field(default=1e-6, metadata={"help": "eps of the encoder's LayerNorms"})

    clone_batch: int = field(default=16, metadata={"help": "students (masks) per clip"})
    average_top_k_layers: int = field(default=12, metadata={"help": "teacher layers that make the target"})
    cls_loss: float = field(default=0.5, metadata={"help": "alpha, weight of the utterance loss"})
    cls_loss_clips: Optional[int] = field(
        default=None,
        metadata={"help": "clips the utterance loss sums over; null: as many as a process has, as published"},
    )
    d2v_loss: float = field(default=1.0, metadata={"help": "weight of the frame loss"})
    ema_decay: float = field(default=0.9998, metadata={"help": "EMA decay at the start"})
    ema_end_decay: float = field(default=0.99999, metadata={"help": "EMA decay at the end"})
    ema_anneal_end_step: int = field(default=100_000, metadata={"help": "updates from the first decay to the last"})
    min_pred_var: float = field(default=0.0, metadata={"help": "collapse monitor: floor of pred_var; 0: off"})
    min_target_var: float = field(default=0.0, metadata={"help": "collapse monitor: floor of target_var; 0: off"})
    collapse_after_updates: int = field(
        default=5000, metadata={"help": "updates after which the collapse monitor looks"}
    )

    no_decay_group: str = field(
        default="no_decay", metadata={"help": "optimiser group of biases and 1-D weights; empty: all in default"}
    )
    decoder_backend: DecoderBackend = field(
        default=DecoderBackend.conv,
        metadata={
            "help": "the decoder by convolutions (conv), products of matrices (matmul), or what is faster (auto)"
        },
    )
    modalities: ModalitiesConfig = field(default_factory=ModalitiesConfig)


@dataclass
class LegacyAsdaConfig(AsdaConfig):
    """The same under EAT's name, with what a published file that does not record it was trained with."""

    attention: AttentionKind = field(
        default=AttentionKind.auto, metadata={"help": "auto: as the loaded tensors say; from scratch: differential"}
    )
    diff_lambda: Any = field(
        default=PUBLISHED_LAMBDA, metadata={"help": "weight of the map that is subtracted; a list: of each layer"}
    )
    mlp_ratio: float = field(default=4.0, metadata={"help": "hidden width of the MLPs over embed_dim"})
    no_decay_group: str = field(default="", metadata={"help": "optimiser group of biases and 1-D weights"})
