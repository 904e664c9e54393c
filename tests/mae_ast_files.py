"""Files as MAE-AST's programs write them, with random tensors, and what they compute by the paper: loops in float64."""

import math

import numpy as np
import torch

KERNELS = {"patch": (16, 16), "frame": (2, 128)}


def released(
    kind: str = "patch",
    *,
    embed_dim: int = 32,
    layers: int = 2,
    heads: int = 4,
    ffn: int = 64,
    decoder_layers: int = 1,
    max_tokens: int = 160,
    seed: int = 0,
) -> dict:
    """Contents of a released checkpoint: ``model``, and ``cfg`` with ``model`` and ``task``."""
    generator = torch.Generator().manual_seed(seed)

    def random(*shape, scale=0.2, around=0.0):
        return around + scale * torch.randn(*shape, generator=generator)

    D, tensors = embed_dim, {}

    def linear(name, outputs, inputs):
        tensors[f"{name}.weight"], tensors[f"{name}.bias"] = random(outputs, inputs), random(outputs)

    def norm(name, size):
        tensors[f"{name}.weight"], tensors[f"{name}.bias"] = random(size, around=1.0), random(size)

    tensors["encoder_mask_emb"], tensors["decoder_mask_emb"] = random(D), random(D)
    linear("post_extract_proj", D, 256)
    norm("layer_norm", 128)
    tensors["batch_norm.running_mean"] = torch.tensor([-6.5])
    tensors["batch_norm.running_var"] = torch.tensor([17.25])
    tensors["batch_norm.num_batches_tracked"] = torch.tensor(1234)
    table = torch.from_numpy(oracle_positions(max_tokens, D)).float()[None]
    tensors["enc_sine_pos_embed.pe"], tensors["dec_sine_pos_embed.pe"] = table, table.clone()
    for part, depth in (("encoder", layers), ("decoder", decoder_layers)):
        for layer in range(depth):
            place = f"{part}.layers.{layer}"
            for projection in ("k_proj", "v_proj", "q_proj", "out_proj"):
                linear(f"{place}.self_attn.{projection}", D, D)
            norm(f"{place}.self_attn_layer_norm", D)
            linear(f"{place}.fc1", ffn, D)
            linear(f"{place}.fc2", D, ffn)
            norm(f"{place}.final_layer_norm", D)
        norm(f"{part}.layer_norm", D)
    linear("final_proj_reconstruction", 256, D)
    linear("final_proj_classification", 256, D)
    frames, bins = KERNELS[kind]
    model = {
        "_name": "mae_ast",
        "ast_kernel_size_chan": bins,
        "ast_kernel_size_time": frames,
        "ast_kernel_stride_chan": bins,
        "ast_kernel_stride_time": frames,
        "encoder_layers": layers,
        "encoder_embed_dim": D,
        "encoder_ffn_embed_dim": ffn,
        "encoder_attention_heads": heads,
        "activation_fn": "gelu",
        "layer_norm_first": False,
        "feature_grad_mult": 1.0,
        "use_post_enc_proj": False,
        "decoder_embed_dim": D,
        "decoder_layers": decoder_layers,
        "decoder_layerdrop": 0.0,
        "dropout": 0.1,
        "attention_dropout": 0.1,
        "activation_dropout": 0.0,
        "encoder_layerdrop": 0.05,
        "dropout_input": 0.1,
        "random_mask_prob": 0.75,
        "mask_length": 10,
        "mask_selection": "static",
        "mask_other": 0.0,
        "no_mask_overlap": False,
        "mask_min_space": 1,
        "conv_pos": 128,
        "conv_pos_groups": 16,
        "checkpoint_activations": False,
        "max_token_length": max_tokens,
        "enc_sine_pos": True,
        "enc_conv_pos": False,
        "dec_sine_pos": True,
        "dec_conv_pos": False,
    }
    task = {
        "_name": "mae_ast_pretraining",
        "data": "elsewhere",
        "sample_rate": 16_000,
        "normalize": False,
        "enable_padding": False,
        "max_keep_size": None,
        "max_sample_size": 160_000,
        "min_sample_size": 32_000,
        "random_crop": True,
        "pad_audio": False,
        "feature_type": "fbank",
        "feature_rate": 100,
        "feature_dim": 128,
        "deltas": False,
        "mask_spans": False,
        "mask_type": "chunk_mask" if kind == "patch" else "random_mask",
    }
    return {"model": tensors, "cfg": {"_name": None, "model": model, "task": task}}


def oracle_positions(tokens: int, D: int) -> np.ndarray:
    """pe[n, 2i] = sin(n * 10000^(-2i / D)), pe[n, 2i + 1] the cosine of the same."""
    table = np.zeros((tokens, D))
    for i in range(D // 2):
        angle = np.arange(tokens) * 10000.0 ** (-2 * i / D)
        table[:, 2 * i], table[:, 2 * i + 1] = np.sin(angle), np.cos(angle)
    return table


def oracle_tokens(frames: np.ndarray, kind: str) -> np.ndarray:
    """(T, 128) -> (N, 256): channel blocks fastest, time-major inside a token."""
    kt, kc = KERNELS[kind]
    tokens = []
    for row in range(frames.shape[0] // kt):
        for column in range(128 // kc):
            tokens.append([frames[kt * row + i // kc, kc * column + i % kc] for i in range(kt * kc)])
    return np.array(tokens)


def oracle_features(state: dict, log_mel: np.ndarray, kind: str) -> np.ndarray:
    """The encoder's output in evaluation mode for log-mel values (T, 128) as they are: (N, D)."""
    w = {name: tensor.double().numpy() for name, tensor in state["model"].items()}
    mean, variance = float(w["batch_norm.running_mean"][0]), float(w["batch_norm.running_var"][0])
    tokens = oracle_tokens(0.5 * (log_mel - mean) / math.sqrt(variance + 1e-5), kind)
    x = tokens @ w["post_extract_proj.weight"].T + w["post_extract_proj.bias"]
    x = _norm(x + w["enc_sine_pos_embed.pe"][0, : len(x)], w, "encoder.layer_norm")
    heads = state["cfg"]["model"]["encoder_attention_heads"]
    for layer in range(state["cfg"]["model"]["encoder_layers"]):
        place = f"encoder.layers.{layer}"
        x = _norm(x + _attention(x, w, f"{place}.self_attn", heads), w, f"{place}.self_attn_layer_norm")
        hidden = _linear(x, w, f"{place}.fc1")
        hidden = np.vectorize(lambda v: 0.5 * v * (1 + math.erf(v / math.sqrt(2))))(hidden)
        x = _norm(x + _linear(hidden, w, f"{place}.fc2"), w, f"{place}.final_layer_norm")
    return x


def _linear(x, w, name):
    return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def _norm(x, w, name):
    centred = x - x.mean(axis=-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-5) * w[f"{name}.weight"] + w[f"{name}.bias"]


def _attention(x, w, name, heads):
    q, k, v = (_linear(x, w, f"{name}.{part}") for part in ("q_proj", "k_proj", "v_proj"))
    E, outputs = x.shape[1] // heads, []
    for h in range(heads):
        part = slice(h * E, (h + 1) * E)
        scores = q[:, part] @ k[:, part].T / math.sqrt(E)
        weights = np.exp(scores - scores.max(axis=1, keepdims=True))
        outputs.append(weights / weights.sum(axis=1, keepdims=True) @ v[:, part])
    return _linear(np.concatenate(outputs, axis=1), w, f"{name}.out_proj")
