"""Keys of EAT's configs that this project accepts and that do nothing here, so that EAT's users keep their yaml.

A key for something that is not implemented is accepted at its inert value and refused otherwise, with a message that
names it; a key that has nothing to act on is accepted with any value. The config classes of this project derive from
these, and hold what does something.

No postponed annotations here: omegaconf 2.0 reads the types of the fields.
"""

from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Optional

from fairseq.dataclass import FairseqDataclass


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


@dataclass
class EatDecoderKeys(FairseqDataclass):
    """Of the convolutional decoder."""

    input_dropout: float = inert(0.0)
    add_positions_masked: bool = inert(False)
    add_positions_all: bool = inert(False)
    projection_layers: int = inert(1, network=True)
    projection_ratio: float = moot(2.0, "needs projection_layers > 1")


@dataclass
class EatSpectrogramKeys(FairseqDataclass):
    """Of the image modality: prenet, ALiBi, masks that are not implemented."""

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
class EatPretrainingKeys(FairseqDataclass):
    """Of the pre-training model: losses, targets and layers that are not implemented."""

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
class EatClassifierKeys(FairseqDataclass):
    """Of the classifier."""

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
    target_length: Optional[int] = moot(1024, "task.target_length decides")


@dataclass
class EatTaskKeys(FairseqDataclass):
    """Of both tasks."""

    multi_data: Any = inert(None)
    local_cache_path: Optional[str] = inert(None)
    beit_transforms: bool = inert(False)
    target_transform: bool = inert(False)
    no_transform: bool = moot(False, "there are no image transforms")
    subsample: float = inert(1.0)
    flexible_mask: bool = inert(False)
    downsr_16hz: bool = inert(True)
    audio_mae: bool = inert(True)
    input_size: int = moot(224, "spectrograms have target_length frames")
    key: str = moot("source", "the data set decides")
    dataset_type: str = moot("imagefolder", "the manifest decides")
    h5_format: bool = moot(False, "a path some.h5/key in the manifest says so by itself")
    is_finetuning: bool = moot(False, "the task's name says so")
