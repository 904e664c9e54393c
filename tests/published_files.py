"""Checkpoints in the published layout, made from its description, and what they compute, worked out naively.

The layout (names, shapes, config keys and their values) is that of files written by the published programs; the
weights are random. `oracle_features` follows the paper with explicit loops in float64 and reads the published names, so
it shares nothing with the code under test.
"""

from __future__ import annotations

import copy
import io
import math
import zipfile
from pathlib import Path

import numpy as np
import torch

PUBLISHED_LAMBDA, PUBLISHED_OUT_SCALE = 0.1, 0.95

_IMAGE_CONFIG = {
    "type": "IMAGE",
    "prenet_depth": 0,
    "prenet_layerdrop": 0.0,
    "prenet_dropout": 0.0,
    "start_drop_path_rate": 0.0,
    "end_drop_path_rate": 0.0,
    "num_extra_tokens": 1,
    "init_extra_token_zero": False,
    "mask_noise_std": 0.01,
    "mask_prob_min": None,
    "mask_prob": 0.8,
    "inverse_mask": True,
    "mask_prob_adjust": 0.07,
    "keep_masked_pct": 0.0,
    "mask_length": 5,
    "add_masks": False,
    "remove_masks": False,
    "mask_dropout": 0.0,
    "encoder_zero_mask": True,
    "mask_channel_prob": 0.0,
    "mask_channel_length": 64,
    "ema_local_encoder": True,
    "local_grad_mult": 1.0,
    "use_alibi_encoder": False,
    "alibi_scale": 1.0,
    "learned_alibi": False,
    "alibi_max_pos": None,
    "learned_alibi_scale": False,
    "learned_alibi_scale_per_head": False,
    "learned_alibi_scale_per_layer": False,
    "num_alibi_heads": 12,
    "model_depth": 12,
    "input_size": 224,
    "in_chans": 1,
    "patch_size": 16,
    "alibi_dims": 2,
    "alibi_distance": "manhattan",
    "fixed_positions": True,
    "transformer_decoder": False,
    "enc_dec_transformer": False,
    "target_length": 1024,
    "max_length": 768,
}
_DECODER_CONFIG = {
    "decoder_groups": 16,
    "decoder_kernel": 3,
    "decoder_layers": 6,
    "input_dropout": 0.0,
    "add_positions_masked": False,
    "add_positions_all": False,
    "decoder_residual": True,
    "projection_layers": 1,
    "projection_ratio": 2.0,
}
_PRETRAINING_CONFIG = {
    "_name": "data2vec_multi",
    "loss_beta": 0.0,
    "loss_scale": None,
    "start_drop_path_rate": 0.0,
    "end_drop_path_rate": 0.0,
    "norm_eps": 1e-06,
    "norm_affine": True,
    "encoder_dropout": 0.0,
    "post_mlp_drop": 0.0,
    "attention_dropout": 0.0,
    "activation_dropout": 0.0,
    "dropout_input": 0.0,
    "layerdrop": 0.0,
    "mlp_ratio": 4.0,  # whatever the MLP really has
    "layer_norm_first": False,
    "end_of_block_targets": False,
    "clone_batch": 16,
    "layer_norm_target_layer": False,
    "batch_norm_target_layer": False,
    "instance_norm_target_layer": True,
    "instance_norm_targets": False,
    "layer_norm_targets": True,
    "ema_decay": 0.9998,
    "ema_same_dtype": True,
    "log_norms": True,
    "ema_end_decay": 0.99999,
    "ema_anneal_end_step": 100000,
    "ema_encoder_only": False,
    "max_update": 4,
    "shared_decoder": None,
    "min_target_var": 0.0,
    "min_pred_var": 0.0,
    "supported_modality": "IMAGE",
    "mae_init": False,
    "seed": 1,
    "skip_ema": False,
    "cls_loss": 0.5,
    "recon_loss": 0.0,
    "d2v_loss": 1.0,
    "decoder_group": False,
    "utterance_level": False,
    "init_center_token_zero": False,
    "center_exp": 0.9,
    "softmax_temperature_student": 0.1,
    "softmax_temperature_teacher": 0.05,
}
_TASK_CONFIG = {
    "data": "DATA",
    "multi_data": None,
    "input_size": 224,
    "local_cache_path": None,
    "beit_transforms": False,
    "target_transform": False,
    "no_transform": False,
    "rebuild_batches": True,
    "precompute_mask_config": None,
    "subsample": 1.0,
    "seed": 1,
    "dataset_type": "imagefolder",
    "audio_mae": True,
    "h5_format": False,
    "downsr_16hz": True,
    "target_length": 1024,
    "flexible_mask": False,
    "esc50_eval": False,
    "spcv2_eval": False,
    "fsd50k_eval": False,
    "AS2M_finetune": False,
    "spcv1_finetune": False,
    "roll_aug": False,
    "noise": False,
    "weights_file": "",
    "num_samples": 200000,
    "is_finetuning": False,
}
_MASK_CONFIG = {
    "patch_size": 16,
    "mask_prob": 0.8,
    "mask_prob_adjust": 0.07,
    "mask_length": 5,
    "inverse_mask": True,
    "mask_dropout": 0.0,
    "clone_batch": 16,
    "expand_adjacent": False,
    "non_overlapping": False,
}
_FINETUNING_CONFIG = {
    "_name": "mae_image_classification",
    "model_path": "elsewhere/checkpoint_last.pt",
    "no_pretrained_weights": False,
    "linear_classifier": False,
    "mixup": 0.8,
    "cutmix": 0.0,
    "label_smoothing": 0.0,
    "drop_path_rate": 0.1,
    "layer_decay": 0.65,
    "mixup_prob": 0.9,
    "mixup_switch_prob": 0.0,
    "mixup_mode": "batch",
    "data": "DATA",
    "norm_eps": None,
    "remove_alibi": False,
    "encoder_dropout": 0.0,
    "post_mlp_drop": 0.0,
    "attention_dropout": 0.0,
    "activation_dropout": 0.0,
    "dropout_input": 0.0,
    "layerdrop": 0.0,
    "prenet_layerdrop": 0.0,
    "prenet_dropout": 0.0,
    "use_fc_norm": True,
    "prediction_mode": "CLS_TOKEN",
    "no_decay_blocks": True,
    "audio_mae": True,
    "esc50_eval": False,
    "spcv2_eval": False,
    "target_length": 1024,
    "specaug": True,
    "freqm": 25,
    "timem": 200,
    "mask_ratio": 0.2,
}


def pretraining_cfg(*, embed_dim: int, depth: int, num_heads: int) -> dict:
    """`cfg` of a published pre-training file; it says the same for ASDA and EAT."""
    image = {**_IMAGE_CONFIG, "embed_dim": embed_dim, "decoder": {**_DECODER_CONFIG, "decoder_dim": embed_dim}}
    sizes = {"embed_dim": embed_dim, "depth": depth, "num_heads": num_heads, "average_top_k_layers": depth}
    return {
        "_name": None,
        "common": {"_name": None, "seed": 1, "user_dir": "elsewhere"},
        "model": {**_PRETRAINING_CONFIG, **sizes, "modalities": {"_name": None, "image": image}},
        "task": {
            "_name": "mae_image_pretraining",
            **_TASK_CONFIG,
            "key": "source",
            "precompute_mask_config": _MASK_CONFIG,
        },
    }


def encoder_tensors(attention: str, *, embed_dim: int, depth: int, generator: torch.Generator) -> dict:
    """Random tensors of an encoder under the published names; the position table is the fixed one."""
    D, image = embed_dim, "modality_encoders.IMAGE"
    mlp = int(3.5 * D) if attention == "differential" else 4 * D

    def random(*shape: int, scale: float = 0.2, around: float = 0.0) -> torch.Tensor:
        return around + scale * torch.randn(*shape, generator=generator)

    tensors = {
        f"{image}.extra_tokens": random(1, 1, D, scale=1.0),
        f"{image}.local_encoder.proj.weight": random(D, 1, 16, 16, scale=0.1),
        f"{image}.local_encoder.proj.bias": random(D),
        f"{image}.fixed_positional_encoder.positions": torch.from_numpy(oracle_positions(768, 8, D)).float()[None],
        f"{image}.context_encoder.norm.weight": random(D, around=1.0),
        f"{image}.context_encoder.norm.bias": random(D),
    }
    if attention == "differential":
        inside = {"attn.qk": (4 * D, D), "attn.v": (D, D), "attn.proj": (D, D), "attn.norm": (D,)}
    else:
        inside = {"attn.qkv": (3 * D, D), "attn.proj": (D, D)}
    # The order of the published files, and of the optimiser's state in them.
    block = {"norm1": (D,), **inside, "norm2": (D,), "mlp.fc1": (mlp, D), "mlp.fc2": (D, mlp)}
    for N in range(depth):
        for name, shape in block.items():
            tensors[f"blocks.{N}.{name}.weight"] = random(*shape, around=1.0 if len(shape) == 1 else 0.0)
            tensors[f"blocks.{N}.{name}.bias"] = random(shape[0])
    return tensors


def decoder_tensors(embed_dim: int, generator: torch.Generator) -> dict:
    """Random tensors of the pre-training decoder."""
    prefix = "modality_encoders.IMAGE.decoder"
    shapes = {f"{prefix}.blocks.{J}.0": (embed_dim, embed_dim // 16, 3, 3) for J in range(6)}
    shapes[f"{prefix}.proj"] = (embed_dim, embed_dim)
    tensors = {}
    for name, shape in shapes.items():
        tensors[f"{name}.weight"] = 0.1 * torch.randn(*shape, generator=generator)
        tensors[f"{name}.bias"] = 0.1 * torch.randn(shape[0], generator=generator)
    return tensors


def published_pretraining(
    attention: str = "differential", *, embed_dim: int = 32, depth: int = 2, num_heads: int = 4, seed: int = 0
) -> dict:
    """Contents of a published pre-training checkpoint of ASDA (differential) or EAT (plain)."""
    generator = torch.Generator().manual_seed(seed)
    sizes = {"embed_dim": embed_dim, "depth": depth, "generator": generator}
    encoder, decoder = encoder_tensors(attention, **sizes), decoder_tensors(embed_dim, generator)
    before_blocks = [name for name in encoder if not name.startswith("blocks.")]
    model = {**{name: encoder[name] for name in before_blocks}, **decoder, **encoder}
    model["_ema"] = encoder_tensors(attention, **sizes)
    return _file(
        pretraining_cfg(embed_dim=embed_dim, depth=depth, num_heads=num_heads), model, {"val_loss": None}, updates=4
    )


def published_finetuned(
    attention: str = "differential",
    *,
    num_classes: int = 10,
    embed_dim: int = 32,
    depth: int = 2,
    num_heads: int = 4,
    seed: int = 0,
    task: dict | None = None,
    model: dict | None = None,
    score: float = 0.25,
) -> dict:
    """Contents of a published fine-tuned checkpoint, with its best score as a NumPy scalar."""
    generator = torch.Generator().manual_seed(seed)
    encoder = encoder_tensors(attention, embed_dim=embed_dim, depth=depth, generator=generator)
    tensors = {f"model.{name}": tensor for name, tensor in encoder.items()}
    for name, shape in {"fc_norm": (embed_dim,), "head": (num_classes, embed_dim)}.items():
        tensors[f"{name}.weight"] = torch.randn(*shape, generator=generator)
        tensors[f"{name}.bias"] = torch.randn(shape[0], generator=generator)
    pretraining = pretraining_cfg(embed_dim=embed_dim, depth=depth, num_heads=num_heads)
    cfg = {
        "_name": None,
        "common": {"_name": None, "seed": 1, "user_dir": "elsewhere"},
        "model": {
            **_FINETUNING_CONFIG,
            "num_classes": num_classes,
            "pretrained_model_args": pretraining,
            **(model or {}),
        },
        "task": {
            "_name": "mae_image_classification",
            **_TASK_CONFIG,
            "key": "imgs",
            "roll_aug": True,
            "label_descriptors": "label_descriptors.csv",
            "labels": "lbl",
            **(task or {}),
        },
    }
    return _file(cfg, tensors, {"val_loss": np.float64(score), "best": np.float64(score)}, updates=6)


def _file(cfg: dict, model: dict, extra_state: dict, updates: int) -> dict:
    return {
        "args": None,
        "cfg": copy.deepcopy(cfg),
        "model": model,
        "criterion": None,
        "optimizer_history": [
            {
                "criterion_name": "ModelCriterion",
                "optimizer_name": "FairseqCompositeOptimizer",
                "lr_scheduler_state": {},
                "num_updates": updates,
            }
        ],
        "task_state": {},
        "extra_state": {
            "metrics": {},
            "previous_training_time": 1.5,
            "train_iterator": {"epoch": 1, "iterations_in_epoch": updates, "shuffle": True},
            **extra_state,
        },
        "last_optimizer_state": None,
    }


def save_as_numpy_1(state: dict, path: Path) -> None:
    """`torch.save`, with NumPy scalars pickled under the name that NumPy 1 gives their function."""
    written = io.BytesIO()
    torch.save(state, written)
    with zipfile.ZipFile(written) as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            data = source.read(name)
            if name.endswith("data.pkl"):
                assert b"numpy._core.multiarray" in data or b"numpy.core.multiarray" in data
                data = data.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
            target.writestr(name, data)


# ---- the paper, in float64, with loops ------------------------------------------------------------------------------


def oracle_positions(rows: int, columns: int, D: int) -> np.ndarray:
    """(rows * columns, D): the mel coordinate in the first half of the channels, time in the second; float32 angles."""
    table = np.zeros((rows * columns, D), dtype=np.float32)
    quarter = D // 4
    frequency = (1.0 / 10000 ** (np.arange(quarter, dtype=np.float32) / np.float32(quarter))).astype(np.float32)
    for row in range(rows):
        for column in range(columns):
            for half, position in enumerate((column, row)):
                angle = np.float32(position) * frequency
                start = half * 2 * quarter
                table[columns * row + column, start : start + quarter] = np.sin(angle)
                table[columns * row + column, start + quarter : start + 2 * quarter] = np.cos(angle)
    return table


def oracle_features(tensors: dict, source: np.ndarray, num_heads: int) -> np.ndarray:
    """Features of one clip: (T, F) -> (1 + N, D), CLS first. `tensors`: the encoder's, under published names."""
    w = {name: tensor.double().numpy() for name, tensor in tensors.items()}
    image = "modality_encoders.IMAGE"
    kernel, bias = w[f"{image}.local_encoder.proj.weight"][:, 0], w[f"{image}.local_encoder.proj.bias"]
    columns = source.shape[1] // 16
    tokens = [w[f"{image}.extra_tokens"][0, 0]]
    for row in range(source.shape[0] // 16):
        for column in range(columns):
            patch = source[16 * row : 16 * row + 16, 16 * column : 16 * column + 16]
            position = w[f"{image}.fixed_positional_encoder.positions"][0, columns * row + column]
            tokens.append((kernel * patch).sum(axis=(1, 2)) + bias + position)
    x = _norm(np.stack(tokens), w, f"{image}.context_encoder.norm", 1e-6)
    depth = 1 + max(int(name.split(".")[1]) for name in w if name.startswith("blocks."))
    for N in range(depth):
        block = f"blocks.{N}"
        x = _norm(x + _attention(x, w, f"{block}.attn", num_heads), w, f"{block}.norm1", 1e-6)
        hidden = _linear(x, w, f"{block}.mlp.fc1")
        hidden = np.vectorize(lambda v: 0.5 * v * (1 + math.erf(v / math.sqrt(2))))(hidden)
        x = _norm(x + _linear(hidden, w, f"{block}.mlp.fc2"), w, f"{block}.norm2", 1e-6)
    return x


def oracle_logits(tensors: dict, features: np.ndarray, pooling: str = "cls", eps: float = 1e-6) -> np.ndarray:
    """(1 + N, D) -> (C,): LayerNorm on the pooled token, then the head."""
    w = {name: tensor.double().numpy() for name, tensor in tensors.items()}
    pooled = features[0] if pooling == "cls" else features[1:].mean(axis=0)
    return _linear(_norm(pooled[None], w, "fc_norm", eps), w, "head")[0]


def _linear(x: np.ndarray, w: dict, name: str) -> np.ndarray:
    return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def _norm(x: np.ndarray, w: dict, name: str, eps: float) -> np.ndarray:
    centred = x - x.mean(axis=-1, keepdims=True)
    variance = (centred**2).mean(axis=-1, keepdims=True)
    return centred / np.sqrt(variance + eps) * w[f"{name}.weight"] + w[f"{name}.bias"]


def _softmax(scores: np.ndarray) -> np.ndarray:
    e = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def _attention(x: np.ndarray, w: dict, name: str, num_heads: int) -> np.ndarray:
    D = x.shape[1]
    E = D // num_heads
    heads = []
    if f"{name}.qk.weight" in w:
        q1, q2, k1, k2 = np.split(_linear(x, w, f"{name}.qk"), 4, axis=1)
        v = _linear(x, w, f"{name}.v")
        for h in range(num_heads):
            part = slice(h * E, (h + 1) * E)
            first = _softmax(q1[:, part] @ k1[:, part].T / math.sqrt(E)) @ v[:, part]
            second = _softmax(q2[:, part] @ k2[:, part].T / math.sqrt(E)) @ v[:, part]
            heads.append(first - PUBLISHED_LAMBDA * second)
        merged = _norm(np.concatenate(heads, axis=1), w, f"{name}.norm", 1e-5) * PUBLISHED_OUT_SCALE
    else:
        q, k, v = np.split(_linear(x, w, f"{name}.qkv"), 3, axis=1)
        for h in range(num_heads):
            part = slice(h * E, (h + 1) * E)
            heads.append(_softmax(q[:, part] @ k[:, part].T / math.sqrt(E)) @ v[:, part])
        merged = np.concatenate(heads, axis=1)
    return _linear(merged, w, f"{name}.proj")
