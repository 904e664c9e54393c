"""Config dataclasses of the models. Keys keep the spelling of EAT and data2vec 2.0 where the thing is the same.

No postponed annotations here: omegaconf 2.0 reads the types of the fields.
"""

from dataclasses import dataclass, field
from typing import Any, Optional

from fairseq.dataclass import FairseqDataclass

from ...checkpoints.layouts.published_architecture import PUBLISHED_LAMBDA, PUBLISHED_OUT_SCALE
from ..eat_keys import inert, moot
from .encoder_keys import AttentionKind, Autocast, ClsPosition, LambdaMode, Positions


@dataclass
class DecoderConfig(FairseqDataclass):
    decoder_dim: int = field(default=768, metadata={"help": "channels of the convolutions"})
    decoder_groups: int = field(default=16, metadata={"help": "groups of the convolutions"})
    decoder_kernel: int = field(default=3, metadata={"help": "side of the kernels, odd"})
    decoder_layers: int = field(default=6, metadata={"help": "convolution layers"})
    decoder_residual: bool = field(default=True, metadata={"help": "residuals where the shapes agree"})
    input_dropout: float = inert(0.0)
    add_positions_masked: bool = inert(False)
    add_positions_all: bool = inert(False)
    projection_layers: int = inert(1, network=True)
    projection_ratio: float = moot(2.0, "needs projection_layers > 1")


@dataclass
class SpectrogramConfig(FairseqDataclass):
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

    type: str = inert("IMAGE", "Modality.IMAGE", network=True)
    prenet_depth: int = inert(0, network=True)
    prenet_layerdrop: float = moot(0.0, "needs prenet_depth > 0")
    prenet_dropout: float = moot(0.0, "needs prenet_depth > 0")
    start_drop_path_rate: float = moot(0.0, "needs prenet_depth > 0; see model.start_drop_path_rate")
    end_drop_path_rate: float = moot(0.0, "needs prenet_depth > 0; see model.end_drop_path_rate")
    num_extra_tokens: int = inert(1, network=True)
    init_extra_token_zero: bool = inert(False)
    mask_prob_min: Optional[float] = inert(None)
    keep_masked_pct: float = inert(0.0)
    add_masks: bool = inert(False)
    remove_masks: bool = inert(False)
    mask_dropout: float = inert(0.0)
    encoder_zero_mask: bool = inert(True)
    mask_channel_prob: float = inert(0.0)
    mask_channel_length: int = moot(64, "needs mask_channel_prob > 0")
    ema_local_encoder: bool = inert(True)
    local_grad_mult: float = inert(1.0)
    use_alibi_encoder: bool = inert(False, network=True)
    alibi_scale: float = moot(1.0, "needs use_alibi_encoder")
    learned_alibi: bool = moot(False, "needs use_alibi_encoder")
    alibi_max_pos: Optional[int] = moot(None, "needs use_alibi_encoder")
    learned_alibi_scale: bool = moot(False, "needs use_alibi_encoder")
    learned_alibi_scale_per_head: bool = moot(False, "needs use_alibi_encoder")
    learned_alibi_scale_per_layer: bool = moot(False, "needs use_alibi_encoder")
    num_alibi_heads: int = moot(12, "needs use_alibi_encoder")
    alibi_dims: int = moot(2, "needs use_alibi_encoder")
    alibi_distance: str = moot("manhattan", "needs use_alibi_encoder")
    model_depth: int = moot(12, "model.depth decides")
    input_size: int = moot(224, "spectrograms have task.target_length frames")
    in_chans: int = inert(1, network=True)
    fixed_positions: bool = inert(True, network=True)
    transformer_decoder: bool = inert(False, network=True)
    enc_dec_transformer: bool = inert(False, network=True)
    target_length: int = moot(1024, "task.target_length decides")


@dataclass
class ModalitiesConfig(FairseqDataclass):
    image: SpectrogramConfig = field(default_factory=SpectrogramConfig)


@dataclass
class PretrainingModelConfig(FairseqDataclass):
    """Encoder, decoder, teacher and losses of pre-training."""

    attention: AttentionKind = field(
        default=AttentionKind.differential, metadata={"help": "differential (ASDA) or plain (EAT)"}
    )
    diff_lambda: float = field(default=0.3, metadata={"help": "weight of the map that is subtracted"})
    out_scale: Optional[float] = field(
        default=PUBLISHED_OUT_SCALE, metadata={"help": "constant after attention's norm; null: 1 - lambda_init"}
    )
    lambda_mode: LambdaMode = field(default=LambdaMode.fixed, metadata={"help": "fixed or learned (arXiv 2410.05258)"})
    lambda_init: Optional[float] = field(
        default=None, metadata={"help": "constant of a learned lambda; null: grows with the depth"}
    )
    positions: Positions = field(default=Positions.sincos_2d, metadata={"help": "sincos_2d or sincos_1d"})
    cls_position: ClsPosition = field(default=ClsPosition.head, metadata={"help": "head or middle of the sequence"})
    depth: int = field(default=12, metadata={"help": "layers"})
    num_heads: int = field(default=12, metadata={"help": "attention heads"})
    embed_dim: int = field(default=768, metadata={"help": "width"})
    mlp_ratio: float = field(default=3.5, metadata={"help": "hidden width of the MLPs over embed_dim"})
    norm_eps: float = field(default=1e-6, metadata={"help": "eps of the encoder's LayerNorms"})
    start_drop_path_rate: float = field(default=0.0, metadata={"help": "stochastic depth of the first layer"})
    end_drop_path_rate: float = field(default=0.0, metadata={"help": "stochastic depth of the last layer"})
    encoder_dropout: float = field(default=0.0, metadata={"help": "dropout after the attention's projection"})
    post_mlp_drop: float = field(default=0.0, metadata={"help": "dropout after the MLP"})
    attention_dropout: float = field(default=0.0, metadata={"help": "dropout on the attention maps"})
    activation_dropout: float = field(default=0.0, metadata={"help": "dropout inside the MLP"})

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

    autocast: Autocast = field(default=Autocast.none, metadata={"help": "none or bf16, with float32 master weights"})
    compile: bool = field(default=False, metadata={"help": "torch.compile for the blocks and the decoder's norms"})
    checkpoint_activations: bool = field(default=False, metadata={"help": "recompute layers instead of keeping them"})
    no_decay_group: str = field(
        default="no_decay", metadata={"help": "optimiser group of biases and 1-D weights; empty: all in default"}
    )
    modalities: ModalitiesConfig = field(default_factory=ModalitiesConfig)

    loss_beta: float = inert(0.0)
    loss_scale: Optional[float] = inert(None)
    norm_affine: bool = inert(True, network=True)
    dropout_input: float = inert(0.0)
    layerdrop: float = inert(0.0)
    layer_norm_first: bool = inert(False, network=True)
    end_of_block_targets: bool = inert(False)
    layer_norm_target_layer: bool = inert(False)
    batch_norm_target_layer: bool = inert(False)
    instance_norm_target_layer: bool = inert(True)
    instance_norm_targets: bool = inert(False)
    layer_norm_targets: bool = inert(True)
    ema_same_dtype: bool = moot(True, "the teacher is kept in float32 in any case")
    log_norms: bool = moot(True, "fairseq logs the gradient norm; weight norms are not logged")
    ema_encoder_only: bool = inert(False)
    max_update: int = moot(0, "optimization.max_update decides")
    shared_decoder: Any = inert(None, network=True)
    supported_modality: Optional[str] = inert("IMAGE", "Modality.IMAGE", None, network=True)
    mae_init: bool = inert(False)
    seed: int = moot(1, "task.seed decides")
    skip_ema: bool = inert(False)
    recon_loss: float = inert(0.0, network=True)
    decoder_group: bool = inert(False)
    utterance_level: bool = inert(False, network=True)
    init_center_token_zero: bool = moot(False, "needs utterance_level")
    center_exp: float = moot(0.9, "needs utterance_level")
    softmax_temperature_student: float = moot(0.1, "needs utterance_level")
    softmax_temperature_teacher: float = moot(0.05, "needs utterance_level")


@dataclass
class LegacyPretrainingModelConfig(PretrainingModelConfig):
    """The same under EAT's name, with what a published file that does not record it was trained with."""

    attention: AttentionKind = field(
        default=AttentionKind.auto, metadata={"help": "auto: as the loaded tensors say; from scratch: differential"}
    )
    diff_lambda: float = field(default=PUBLISHED_LAMBDA, metadata={"help": "weight of the map that is subtracted"})
    mlp_ratio: float = field(default=4.0, metadata={"help": "hidden width of the MLPs over embed_dim"})
    no_decay_group: str = field(default="", metadata={"help": "optimiser group of biases and 1-D weights"})
