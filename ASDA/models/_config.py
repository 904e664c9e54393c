"""Config dataclasses of the models. Keys keep the spelling of EAT and data2vec 2.0 where the thing is the same.

No postponed annotations here: omegaconf 2.0 reads the types of the fields.
"""

from dataclasses import dataclass, field, fields, is_dataclass
from enum import Enum
from typing import Any, Optional

from fairseq.dataclass import FairseqDataclass

from ._architecture import PUBLISHED_LAMBDA, PUBLISHED_OUT_SCALE


def inert(value: Any, *spellings: Any, network: bool = False):
    """A key of EAT's configs for something this project does not implement: a run may set it to ``value`` only.

    Args:
        value: the default.
        spellings: other ways to say the same.
        network: the key changes what a trained network computes or consists of, so that a checkpoint of another value
            cannot be used. Other keys concern training alone; a checkpoint may hold any value of them.
    """
    metadata = {"inert": (value, *spellings), "network": network, "help": f"not implemented; stays {value}"}
    return field(default=value, metadata=metadata)


def moot(value: Any, help: str):
    """A key of EAT's configs that has nothing to act on here, whatever its value; ``help`` says why."""
    return field(default=value, metadata={"help": help})


def reject_unsupported(config_class: type, cfg: Any, path: str, training: bool) -> None:
    """Raises ValueError, naming the key and its value, if a key that is not implemented asks for something.

    Args:
        config_class: the dataclass that describes the keys.
        cfg: their values.
        path: where they stand, for the message.
        training: look at all keys; otherwise at those of the network alone.
    """
    for entry in fields(config_class):
        if entry.name not in cfg:
            continue
        value = cfg[entry.name]
        name = f"{path}.{entry.name}"
        accepted = entry.metadata.get("inert", (value,))
        if value not in accepted and (training or entry.metadata["network"]):
            raise ValueError(f"{name}={value} is not implemented here; only {name}={accepted[0]} is accepted")
        if is_dataclass(entry.type) and value is not None:
            reject_unsupported(entry.type, value, name, training)


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


def encoder_arguments(cfg: Any) -> dict:
    """Arguments of SpectrogramEncoder from a (merged) pre-training model config.

    Raises:
        ValueError: a key that is not implemented asks for something, or two keys disagree.
    """
    reject_unsupported(PretrainingModelConfig, cfg, "model", training=False)
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


class PredictionMode(Enum):
    CLS_TOKEN = "CLS_TOKEN"
    MEAN_POOLING = "MEAN_POOLING"
    LIN_SOFTMAX = "LIN_SOFTMAX"


class ClassificationLoss(Enum):
    auto = "auto"
    bce = "bce"
    cross_entropy = "cross_entropy"


@dataclass
class ClassifierConfig(FairseqDataclass):
    """A pre-trained encoder with a classification head."""

    model_path: str = field(default="", metadata={"help": "pre-trained checkpoint to start from"})
    no_pretrained_weights: bool = field(
        default=False, metadata={"help": "take the architecture of model_path, but start from random weights"}
    )
    pretrained_model_args: Any = field(default=None, metadata={"help": "filled in: config of the pre-trained model"})
    num_classes: int = field(default=527, metadata={"help": "classes of the head"})
    prediction_mode: PredictionMode = field(
        default=PredictionMode.CLS_TOKEN, metadata={"help": "CLS_TOKEN or MEAN_POOLING"}
    )
    use_fc_norm: bool = field(default=True, metadata={"help": "LayerNorm on the pooled token before the head"})
    linear_classifier: bool = field(default=False, metadata={"help": "linear probe: the encoder stays frozen"})
    loss: ClassificationLoss = field(
        default=ClassificationLoss.auto,
        metadata={"help": "auto: bce for multi-label data and with mixup, else cross_entropy"},
    )
    mixup: float = field(default=0.8, metadata={"help": "a of Beta(a, a); 0: off"})
    mixup_prob: float = field(default=0.9, metadata={"help": "probability that a batch is mixed"})
    label_smoothing: float = field(default=0.0, metadata={"help": "share of a target spread over all classes"})
    specaug: bool = field(default=True, metadata={"help": "mask mel bins and frames while training"})
    mask_ratio: float = field(default=0.2, metadata={"help": "widest SpecAugment mask, as a share; 0: freqm and timem"})
    freqm: int = field(default=25, metadata={"help": "widest mask in mel bins when mask_ratio is 0"})
    timem: int = field(default=200, metadata={"help": "widest mask in frames when mask_ratio is 0; at most the clip"})
    drop_path_rate: float = field(default=0.1, metadata={"help": "stochastic depth, the same in all layers"})
    layer_decay: float = field(default=0.65, metadata={"help": "learning rate of a layer over that of the next"})
    no_decay_blocks: bool = field(default=True, metadata={"help": "keep biases and 1-D weights out of weight decay"})
    no_decay_group: str = field(
        default="no_decay", metadata={"help": "optimiser group of biases and 1-D weights; empty: all in default"}
    )
    norm_eps: Optional[float] = field(default=None, metadata={"help": "null: as pre-trained"})
    encoder_dropout: float = field(default=0.0, metadata={"help": "dropout after the attention's projection"})
    post_mlp_drop: float = field(default=0.0, metadata={"help": "dropout after the MLP"})
    attention_dropout: float = field(default=0.0, metadata={"help": "dropout on the attention maps"})
    activation_dropout: float = field(default=0.0, metadata={"help": "dropout inside the MLP"})
    autocast: Autocast = field(default=Autocast.none, metadata={"help": "none or bf16, with float32 master weights"})
    compile: bool = field(default=False, metadata={"help": "torch.compile for the blocks"})
    checkpoint_activations: bool = field(default=False, metadata={"help": "recompute blocks instead of keeping them"})

    cutmix: float = inert(0.0)
    mixup_mode: str = inert("batch")
    mixup_switch_prob: float = moot(0.0, "needs cutmix > 0")
    remove_alibi: bool = moot(False, "there is no alibi")
    dropout_input: float = inert(0.0)
    layerdrop: float = inert(0.0)
    prenet_layerdrop: float = moot(0.0, "there is no prenet")
    prenet_dropout: float = moot(0.0, "there is no prenet")
    audio_mae: bool = inert(True, network=True)
    data: str = moot("", "task.data decides")
    esc50_eval: bool = moot(False, "task.dataset decides")
    spcv2_eval: bool = moot(False, "task.dataset decides")
    target_length: int = moot(1024, "task.target_length decides")


@dataclass
class LegacyClassifierConfig(ClassifierConfig):
    """The same under EAT's name, whose configs have one optimiser group."""

    no_decay_group: str = field(default="", metadata={"help": "optimiser group of biases and 1-D weights"})
