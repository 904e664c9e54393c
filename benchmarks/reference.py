"""The pre-training step written plainly: what the fast paths are tested for equality with and timed against.

Same modules, same weights, same arithmetic, in the order in which the method is usually told: two explicit attention
maps in float32, M full-length copies of every clip, a decoder that transposes around each LayerNorm, targets repeated
for every student and picked by a boolean mask, an EMA loop over parameters, masks grown seed by seed. Nothing in the
package uses this file.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from ASDA.core.attention import Attention, DifferentialAttention
from ASDA.core.block import PostNormBlock
from ASDA.core.differential_v2 import DifferentialAttentionV2
from ASDA.core.encoder import SpectrogramEncoder
from ASDA.masks.inverse_block import InverseBlockMask
from ASDA.objectives.conv_decoder import ConvDecoder2d
from ASDA.objectives.ema_teacher import EmaTeacher
from ASDA.objectives.objective import Losses
from ASDA.objectives.self_distillation import SelfDistillation


def _split_heads(x: Tensor, num_heads: int) -> Tensor:
    """(B, S, D) -> (B, H, S, E)."""
    B, S, D = x.shape
    return x.reshape(B, S, num_heads, D // num_heads).transpose(1, 2)


def _attention_map(q: Tensor, k: Tensor, padding_mask: Tensor | None) -> Tensor:
    """softmax(q k^T / sqrt(E)), (B, H, S, S), in float32 (in float64 for float64 input)."""
    scores = (q / math.sqrt(q.shape[-1])) @ k.transpose(-2, -1)
    if padding_mask is not None:
        scores = scores.masked_fill(padding_mask[:, None, None, :], float("-inf"))
    return scores.softmax(dim=-1, dtype=torch.promote_types(scores.dtype, torch.float32))


def attention(
    layer: Attention | DifferentialAttention | DifferentialAttentionV2, x: Tensor, padding_mask: Tensor | None = None
) -> Tensor:
    """An attention layer with explicit maps: (A1 - lambda A2) V, or A V for the plain layer."""
    H = layer.num_heads
    coefficient: Tensor | float = 0.0
    if isinstance(layer, DifferentialAttention):
        q1, q2, k1, k2 = (_split_heads(part, H) for part in layer.qk(x).chunk(4, dim=-1))
        v = _split_heads(layer.v(x), H)
        maps = [_attention_map(q1, k1, padding_mask), _attention_map(q2, k2, padding_mask)]
        coefficient = layer.current_lambda()
    elif isinstance(layer, DifferentialAttentionV2):
        q1, q2 = (_split_heads(part, H) for part in layer.q(x).chunk(2, dim=-1))
        k, v = (_split_heads(part, H) for part in layer.kv(x).chunk(2, dim=-1))
        maps = [_attention_map(q, k, padding_mask) for q in (q1, q2)]
        logits = layer.lambda_proj(x) + math.log(layer.lambda_init / (1 - layer.lambda_init))
        coefficient = (1 / (1 + torch.exp(-logits))).transpose(1, 2)[..., None]  # (B, H, S, 1)
    else:
        q, k, v = (_split_heads(part, H) for part in layer.qkv(x).chunk(3, dim=-1))
        maps = [_attention_map(q, k, padding_mask)]
    maps = [F.dropout(each, layer.attention_dropout, layer.training) for each in maps]
    combined = maps[0] if len(maps) == 1 else maps[0] - coefficient * maps[1]
    out = (combined.to(v.dtype) @ v).transpose(1, 2).flatten(2)
    if isinstance(layer, DifferentialAttention):
        out = layer.norm(out) * layer.out_scale
    return layer.proj_drop(layer.proj(out))


def block(layer: PostNormBlock, x: Tensor, padding_mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """A transformer block: its output and its MLP output."""
    x = layer.norm1(x + layer.drop_path(attention(layer.attn, x, padding_mask)))
    m = layer.mlp_drop(layer.mlp(x))
    return layer.norm2(x + layer.drop_path(m)), m


def encode(encoder: SpectrogramEncoder, spectrogram: Tensor, mask: Tensor | None = None) -> tuple[Tensor, list[Tensor]]:
    """Features and MLP outputs of every layer, CLS at the head.

    Args:
        encoder: its weights are used.
        spectrogram: (B, 1, T, F).
        mask: (B * M, N), True = hidden: every clip is copied M times in full before the hidden patches are dropped.
    """
    x = encoder.patch_embed.proj(spectrogram).flatten(2).transpose(1, 2)  # (B, N, D)
    N, D = x.shape[1:]
    positions = encoder.positions[:, :N].to(x.dtype)
    if mask is None:
        x = x + positions
    else:
        x = x.repeat_interleave(mask.shape[0] // x.shape[0], dim=0)  # (B*M, N, D)
        x = x + positions.expand_as(x)
        kept = _kept_by_sorting(mask)
        x = torch.gather(x, 1, kept[:, :, None].expand(-1, -1, D))  # (B*M, K, D)
    cls_token = encoder.prefix_tokens.to(x.dtype).expand(x.shape[0], -1, -1)
    x = encoder.stack.norm_first(torch.cat([cls_token, x], dim=1))
    outputs = []
    for layer in encoder.stack.blocks:
        x, m = block(layer, x)
        outputs.append(m)
    return x, outputs


def _kept_by_sorting(mask: Tensor) -> Tensor:
    """(rows, N), True = hidden -> (rows, K) indices of the kept patches, in grid order."""
    K = mask.shape[1] - int(mask[0].sum())
    return mask.to(torch.int64).sort(dim=1, stable=True).indices[:, :K]


def fill_grid(tokens: Tensor, mask: Tensor, noise_std: float) -> Tensor:
    """Kept patches (rows, K, D) followed by noise for the hidden ones, sorted back into grid order: (rows, N, D)."""
    rows, K, D = tokens.shape
    noise = tokens.new_empty(rows, mask.shape[1] - K, D).normal_(0.0, noise_std)
    order = mask.to(torch.int64).sort(dim=1, stable=True).indices.argsort(dim=1)  # where each place's token lies
    return torch.gather(torch.cat([tokens, noise], dim=1), 1, order[:, :, None].expand(-1, -1, D))


def decode(decoder: ConvDecoder2d, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
    """The decoder with channels first, transposed to channels last and back around each LayerNorm."""
    x = tokens.transpose(1, 2).reshape(tokens.shape[0], -1, *grid).contiguous()  # (B, D, P, Q)
    for layer in decoder.blocks:
        y = layer[0](x)
        y = y.permute(0, 2, 3, 1).contiguous()
        y = F.layer_norm(y, y.shape[-1:])
        y = y.permute(0, 3, 1, 2).contiguous()
        y = F.gelu(y)
        x = x + y if layer.residual else y
    return decoder.proj(x.flatten(2).transpose(1, 2))


@torch.no_grad()
def teacher_target(objective: SelfDistillation, spectrogram: Tensor) -> Tensor:
    """(B, N, D), float32: instance-norm per layer, mean over the layers, LayerNorm."""
    _, outputs = encode(objective.teacher.encoder, spectrogram.to(objective.teacher.encoder.dtype))
    layers = [m[:, 1:].float() for m in outputs[-objective.average_top_k_layers :]]
    layers = [F.instance_norm(layer.transpose(1, 2)).transpose(1, 2) for layer in layers]
    mean = sum(layers) / len(layers)
    return F.layer_norm(mean, mean.shape[-1:])


def losses(objective: SelfDistillation, spectrogram: Tensor, mask: Tensor) -> Losses:
    """What ``objective(spectrogram, mask)`` returns."""
    B, D = spectrogram.shape[0], objective.encoder.embed_dim
    M = mask.shape[0] // B
    target = teacher_target(objective, spectrogram)
    tokens, _ = encode(objective.encoder, spectrogram, mask)
    filled = fill_grid(tokens[:, 1:], mask, objective.decoder.mask_noise_std)
    predicted = decode(objective.decoder, filled, objective.encoder.grid(spectrogram))

    utterance = F.mse_loss(
        tokens[:, 0].float(), target.mean(dim=1).repeat_interleave(M, dim=0), reduction="none"
    ).sum() / math.sqrt(D)
    target = target.repeat_interleave(M, dim=0)  # (B*M, N, D)
    predicted, target = predicted[mask].float(), target[mask]  # (R, D)
    frame = F.mse_loss(predicted, target, reduction="none").sum() / math.sqrt(D)
    R = int(mask.sum())
    terms = {"frame": objective.frame_weight * frame, "utterance": objective.utterance_weight * utterance * R}
    rows = {"pred_var": predicted.detach(), "target_var": target}
    return Losses(terms, R, {name: (values.var(dim=0) + 1e-6).sqrt().mean() for name, values in rows.items()})


@torch.no_grad()
def update_teacher(teacher: EmaTeacher, student: SpectrogramEncoder, num_updates: int) -> None:
    """One EMA step, parameter by parameter."""
    decay = teacher.decay(num_updates)
    own = dict(teacher.encoder.named_parameters())
    for name, parameter in student.named_parameters():
        own[name].mul_(decay).add_(parameter.float(), alpha=1.0 - decay)
    teacher.num_updates = num_updates


def sample_masks(sampler: InverseBlockMask, generator: torch.Generator) -> Tensor:
    """The sampler's distribution of masks, (M, N), by loops over students, seeds and the patches of a block."""
    P, Q = sampler.grid
    masks = []
    for _ in range(sampler.num_masks):
        marked = [False] * (P * Q)
        for _ in range(sampler.num_seeds):
            row, column = divmod(int(torch.randint(P * Q, (), generator=generator)), Q)
            for p in range(row - sampler.block_size // 2, row - sampler.block_size // 2 + sampler.block_size):
                for q in range(column - sampler.block_size // 2, column - sampler.block_size // 2 + sampler.block_size):
                    if 0 <= p < P and 0 <= q < Q:
                        marked[p * Q + q] = True
        surplus = sum(marked) - sampler.num_marked
        candidates = [n for n in range(P * Q) if marked[n] == (surplus > 0)]
        for n in torch.randperm(len(candidates), generator=generator)[: abs(surplus)].tolist():
            marked[candidates[n]] = not marked[candidates[n]]
        masks.append(torch.tensor(marked))
    masks = torch.stack(masks)
    return ~masks if sampler.inverse else masks
