"""Spectrogram patches: the embedding, the grid they form, and the fixed positions added to them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def patch_grid(num_frames: int, num_mel_bins: int, patch_size: int) -> tuple[int, int]:
    """Patch rows ``P`` (time) and columns ``Q`` (frequency) of a spectrogram; a partial patch at the end is cut.

    Raises:
        ValueError: the spectrogram is smaller than one patch.
    """
    if num_frames < patch_size or num_mel_bins < patch_size:
        raise ValueError(
            f"a spectrogram of {num_frames} frames x {num_mel_bins} mel bins is smaller than one patch of "
            f"{patch_size} x {patch_size}; lengthen the clip or set target_length to at least {patch_size}"
        )
    return num_frames // patch_size, num_mel_bins // patch_size


def patch_padding_mask(num_frames: Tensor, padded_frames: int, patch_size: int, columns: int) -> Tensor:
    """Lengths of clips in frames -> the encoder's padding mask.

    Args:
        num_frames: (B,), how many frames of each clip are real.
        padded_frames: frames of the batch.
        patch_size: frames per patch row.
        columns: patch columns ``Q``.

    Returns:
        (B, N) bool, True where no frame of the patch is real; a patch that is real in part counts as real.

    Raises:
        ValueError: a clip has no real frame, or more than the batch has.
    """
    if bool((num_frames < 1).any()) or bool((num_frames > padded_frames).any()):
        raise ValueError(f"lengths must be between 1 and {padded_frames} frames, got {num_frames.tolist()}")
    first_frame = patch_size * torch.arange(padded_frames // patch_size, device=num_frames.device)
    return (first_frame >= num_frames[:, None]).repeat_interleave(columns, dim=1)


class PatchEmbed(nn.Module):
    """(B, 1, T, F) -> (B, N, D): one linear map per non-overlapping patch, time-major (row = Q * time + mel).

    The weights are a convolution's, as in published files. They are applied as the linear map that it amounts to: on a
    CPU a convolution is compiled anew for each shape, which keeps 8 MB per length of the clips, up to 8 GB.
    """

    def __init__(self, embed_dim: int, patch_size: int):
        super().__init__()
        self.proj = nn.Conv2d(1, embed_dim, kernel_size=patch_size, stride=patch_size)

    def forward(self, spectrogram: Tensor) -> Tensor:
        size = self.proj.kernel_size[0]
        P, Q = patch_grid(*spectrogram.shape[2:], size)
        whole = spectrogram[:, 0, : P * size, : Q * size]
        patches = whole.unflatten(2, (Q, size)).unflatten(1, (P, size)).transpose(2, 3)  # (B, P, Q, size, size)
        return F.linear(patches.flatten(3).flatten(1, 2), self.proj.weight.flatten(1), self.proj.bias)
