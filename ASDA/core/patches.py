"""Spectrogram patches: the grid they form, their values, their embedding, and which of them are padding."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .config import PatchConfig


class PatchGrid(NamedTuple):
    """Patch rows ``P`` (time) and columns ``Q`` (frequency) of a clip; patches are counted row by row."""

    rows: int
    columns: int

    @property
    def num_patches(self) -> int:
        """``N``."""
        return self.rows * self.columns


def patch_grid(num_frames: int, num_mel_bins: int, patches: PatchConfig) -> PatchGrid:
    """The grid of a spectrogram; frames at the end that fill no patch are cut.

    Raises:
        ValueError: the spectrogram is smaller than one patch.
    """
    (frames, bins), (frame_step, bin_step) = patches.size, patches.stride
    if num_frames < frames or num_mel_bins < bins:
        raise ValueError(
            f"a spectrogram of {num_frames} frames x {num_mel_bins} mel bins is smaller than one patch of "
            f"{frames} x {bins}; lengthen the clip or set target_length to at least {frames}"
        )
    return PatchGrid(1 + (num_frames - frames) // frame_step, 1 + (num_mel_bins - bins) // bin_step)


def patchify(spectrogram: Tensor, patches: PatchConfig) -> Tensor:
    """The values of each patch, time-major inside it too: (B, 1, T, F) -> (B, N, frames * mel bins)."""
    (frames, bins), (frame_step, bin_step) = patches.size, patches.stride
    windows = spectrogram[:, 0].unfold(1, frames, frame_step).unfold(2, bins, bin_step)  # (B, P, Q, frames, bins)
    return windows.flatten(3).flatten(1, 2)


def patch_padding_mask(num_frames: Tensor, padded_frames: int, patches: PatchConfig, columns: int) -> Tensor:
    """Lengths of clips in frames -> the encoder's padding mask.

    Args:
        num_frames: (B,), how many frames of each clip are real.
        padded_frames: frames of the batch.
        patches: their size and stride.
        columns: patch columns ``Q``.

    Returns:
        (B, N) bool, True where no frame of the patch is real; a patch that is real in part counts as real.

    Raises:
        ValueError: a clip has no real frame, or more than the batch has.
    """
    if bool((num_frames < 1).any()) or bool((num_frames > padded_frames).any()):
        raise ValueError(f"lengths must be between 1 and {padded_frames} frames, got {num_frames.tolist()}")
    rows = 1 + (padded_frames - patches.size[0]) // patches.stride[0]
    first_frame = patches.stride[0] * torch.arange(rows, device=num_frames.device)
    return (first_frame >= num_frames[:, None]).repeat_interleave(columns, dim=1)


class PatchEmbed(nn.Module):
    """(B, 1, T, F) -> (B, N, D): one linear map per patch, time-major (row = Q * time + mel).

    The weights are a convolution's, as in published files. They are applied as the linear map that it amounts to: on a
    CPU a convolution is compiled anew for each shape, which keeps 8 MB per length of the clips, up to 8 GB.
    """

    def __init__(self, embed_dim: int, patches: PatchConfig):
        super().__init__()
        self.patches = patches
        self.proj = nn.Conv2d(1, embed_dim, kernel_size=patches.size, stride=patches.stride)

    def forward(self, spectrogram: Tensor) -> Tensor:
        return F.linear(patchify(spectrogram, self.patches), self.proj.weight.flatten(1), self.proj.bias)
