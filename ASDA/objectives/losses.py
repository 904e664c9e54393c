"""Losses and target statistics as pure functions (EAT, section 3; data2vec 2.0, section 3; MAE-AST, section 3.4)."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import functional as F

from ..core.config import PatchConfig
from ..core.patches import patchify
from ..core.places import Places


def summed_regression(predicted: Tensor, target: Tensor) -> Tensor:
    """Sum over rows and channels of (predicted - target)^2 / sqrt(D), for rows (..., D), in float32."""
    D = predicted.shape[-1]
    return F.mse_loss(predicted.float(), target.float(), reduction="sum") / D**0.5


def summed_squares(predicted: Tensor, target: Tensor) -> Tensor:
    """Sum over rows of the mean over channels of (predicted - target)^2, for rows (..., V), in float32."""
    return F.mse_loss(predicted.float(), target.float(), reduction="sum") / predicted.shape[-1]


def info_nce(predicted: Tensor, target: Tensor, absent: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Which of its row's targets does a prediction belong to? By their inner products, without temperature or norm.

    Args:
        predicted: (rows, H, V).
        target: (rows, H, V); the i-th is that of the i-th prediction, the others of its row are its negatives.
        absent: (rows, H), True where there is neither prediction nor target; None: nowhere.

    Returns:
        Sum over all predictions of -log softmax over the targets of its row, at its own; how often its own has the
        largest product. float32 scalars.
    """
    with torch.autocast(predicted.device.type, enabled=False):
        logits = predicted.float() @ target.float().transpose(1, 2)  # (rows, H, H)
    own = torch.arange(logits.shape[1], device=logits.device).expand(logits.shape[:2])
    if absent is not None:
        logits = logits.masked_fill(absent[:, None], float("-inf"))
    losses = F.cross_entropy(logits.flatten(0, 1), own.flatten(), reduction="none").view(own.shape)
    hits = (logits.detach().argmax(dim=2) == own).float()
    if absent is None:
        return losses.sum(), mean_of(hits)
    present = ~absent
    return losses.where(present, 0.0).sum(), (hits * present).sum() / present.sum().clamp(min=1)


def bin_mean_loss(spectrogram: Tensor, mean: Tensor, places: Places, patches: PatchConfig) -> Tensor:
    """The squared error in the hidden places of predicting the batch's mean of each mel bin, (1, 1, 1, F)."""
    return mean_of(places.hide(patchify((spectrogram - mean).square(), patches)))


def mean_of(values: Tensor) -> Tensor:
    """The mean of all values; 0 if there are none, as in a validation batch of which no clip could be read."""
    return values.sum() / max(values.numel(), 1)


def _moments(x: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Mean and biased variance over ``dim``, which stays with size one."""
    # On a CPU a fifth of the time of torch.var_mean, which is slow over a dimension that is not the last.
    mean = x.mean(dim=dim, keepdim=True)
    return mean, (x - mean).square().mean(dim=dim, keepdim=True)


def mean_over_patches(patches: Tensor, padding_mask: Tensor | None = None) -> Tensor:
    """The mean of the patches that are no padding: (B, N, D), (B, N) True = padding -> (B, 1, D)."""
    if padding_mask is None:
        return patches.mean(dim=1, keepdim=True)
    number = (~padding_mask).sum(dim=1).to(patches.dtype)[:, None, None]
    return patches.masked_fill(padding_mask[..., None], 0.0).sum(dim=1, keepdim=True) / number


def _moments_over_patches(patches: Tensor, padding_mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Mean and biased variance over the patches (B, N, D) that are no padding, both (B, 1, D)."""
    if padding_mask is None:
        return _moments(patches, dim=1)
    mean = mean_over_patches(patches, padding_mask)
    return mean, mean_over_patches((patches - mean).square(), padding_mask)


def layer_average_target(layers: list[Tensor], eps: float = 1e-5, padding_mask: Tensor | None = None) -> Tensor:
    """The teacher's target: per layer instance-norm over the patches, mean over the layers, LayerNorm over channels.

    Args:
        layers: MLP outputs of the teacher's layers, each (B, N, D), without the CLS row.
        eps: eps of both norms; both use the biased variance and have no affine part.
        padding_mask: (B, N), True = padding, which enters no statistic; or None.

    Returns:
        (B, N, D), float32; at padding without meaning.
    """
    total = torch.zeros_like(layers[0], dtype=torch.float32)
    for layer in layers:
        layer = layer.float()
        mean, variance = _moments_over_patches(layer, padding_mask)
        total.addcmul_(layer - mean, (variance + eps).rsqrt(), value=1.0 / len(layers))
    return F.layer_norm(total, total.shape[-1:], eps=eps)


@torch.no_grad()
def channel_stds(*groups: Tensor, eps: float = 1e-6) -> list[Tensor]:
    """Mean over channels of sqrt(unbiased variance + eps) over the rows (R, D) of all ranks, for each group.

    A model that has collapsed predicts the same for every patch: this falls towards 0. Where torch.distributed is
    initialised every rank has to call it (with no rows if it has none that count), and every rank gets the same values.

    Returns:
        A float32 scalar for each group.
    """
    moments = torch.stack([_summed_moments(rows) for rows in groups])  # (G, 3, D)
    if dist.is_available() and dist.is_initialized():
        dist.all_reduce(moments)
    stds = []
    for n, total, squares in moments:
        unbiased = (squares - total.square() / n) / (n - 1)
        stds.append((unbiased.clamp_min(0.0) + eps).sqrt().mean().float())
    return stds


def _summed_moments(rows: Tensor) -> Tensor:
    """Number of rows (R, D), sum and sum of squares in each channel: (3, D), float64."""
    mean, variance = (moment[0] for moment in _moments(rows.float(), dim=0))
    if rows.shape[0] == 0:
        variance, mean = torch.zeros_like(variance), torch.zeros_like(mean)
    n = torch.full_like(mean, rows.shape[0], dtype=torch.float64)
    mean = mean.double()
    return torch.stack([n, n * mean, n * (variance.double() + mean.square())])
