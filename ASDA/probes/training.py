"""Gradient descent for a head on frozen features."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from sklearn.preprocessing import StandardScaler
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from .heads import LinearHead

EPOCHS = 60
MIN_UPDATES = 600
"""Few clips are gone through more often: the weights of layers and tokens begin alike and take their time."""
BATCH_SIZE = 64
LEARNING_RATE = 0.01

ClipRows = Sequence[np.ndarray]
"""Features of each clip, (rows, L, D): one row of a pooled clip, one for each token else."""


class Scaling:
    """Takes each feature of each layer to mean 0 and deviation 1 over the rows of some clips."""

    def __init__(self, clips: ClipRows):
        scaler, shape = StandardScaler(), clips[0].shape[1:]
        for first in range(0, len(clips), BATCH_SIZE):
            rows = np.concatenate(clips[first : first + BATCH_SIZE])
            scaler.partial_fit(rows.reshape(len(rows), -1))
        self.mean = scaler.mean_.reshape(shape).astype(np.float32)
        self.deviation = scaler.scale_.reshape(shape).astype(np.float32)  # 1 where a feature does not change

    def batch(self, clips: ClipRows) -> tuple[Tensor, Tensor]:
        """Scaled features (B, N, L, D), zeros where a clip has fewer rows, and the mask (B, N), True = padding."""
        lengths = np.array([len(rows) for rows in clips])
        padding_mask = np.arange(lengths.max()) >= lengths[:, None]
        features = np.zeros((*padding_mask.shape, *clips[0].shape[1:]), dtype=np.float32)
        features[~padding_mask] = (np.concatenate(clips) - self.mean) / self.deviation
        return torch.from_numpy(features), torch.from_numpy(padding_mask)


def train_head(
    head: LinearHead,
    clips: ClipRows,
    targets: np.ndarray,
    *,
    penalty: float,
    seed: int,
    single_label: bool,
    device: torch.device,
) -> Scaling:
    """Trains a head: Adam, a learning rate that falls as a cosine, cross-entropy (single-label) or the classes' BCE.

    Args:
        head: is trained in place.
        clips: features of the train clips.
        targets: theirs, (n, C), NaN where a clip was not judged.
        penalty: times half the squared weights of the linear map is added to the loss.
        seed: of the order of the clips.
        single_label: a clip has one label.
        device: where to compute.

    Returns:
        How features are to be scaled for the head.
    """
    scaling = Scaling(clips)
    head.to(device).train()
    generator = torch.Generator().manual_seed(seed)
    wanted = torch.from_numpy(targets.astype(np.float32))
    epochs = max(EPOCHS, math.ceil(MIN_UPDATES / math.ceil(len(clips) / BATCH_SIZE)))
    optimizer = torch.optim.Adam(head.parameters(), lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for _ in range(epochs):
        for rows in torch.randperm(len(clips), generator=generator).split(BATCH_SIZE):
            features, padding_mask = scaling.batch([clips[row] for row in rows.tolist()])
            logits = head(features.to(device), padding_mask.to(device))
            loss = _loss(logits, wanted[rows].to(device), single_label)
            loss = loss + penalty / 2 * head.linear.weight.square().sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        schedule.step()
    return scaling


def _loss(logits: Tensor, targets: Tensor, single_label: bool) -> Tensor:
    """Mean over the clips; what was not judged (NaN) has none."""
    if single_label:
        return cross_entropy(logits, targets)
    judged = ~targets.isnan()
    return binary_cross_entropy_with_logits(logits[judged], targets[judged], reduction="sum") / len(targets)


@torch.inference_mode()
def head_scores(head: LinearHead, scaling: Scaling, clips: ClipRows, device: torch.device) -> np.ndarray:
    """Logits (n, C) of clips."""
    head.eval()
    parts = []
    for first in range(0, len(clips), BATCH_SIZE):
        features, padding_mask = scaling.batch(clips[first : first + BATCH_SIZE])
        parts.append(head(features.to(device), padding_mask.to(device)).cpu().numpy())
    return np.concatenate(parts).astype(np.float64)
