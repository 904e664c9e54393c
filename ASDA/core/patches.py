"""Spectrogram patches: the grid they form, their values, their embedding, and which of them are padding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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


def gathered_patches(spectrogram: Tensor, patches: PatchConfig) -> Tensor:
    """:func:`patchify` for torch.export: a graph for any number of frames, where one of windows is for one number."""
    (frames, bins), (frame_step, bin_step) = patches.size, patches.stride
    width, device = spectrogram.shape[3], spectrogram.device
    grid = patch_grid(spectrogram.shape[2], width, patches)
    number = torch.arange(grid.num_patches, device=device)
    first = (number // grid.columns * frame_step) * width + (number % grid.columns) * bin_step
    inside = torch.arange(frames, device=device)[:, None] * width + torch.arange(bins, device=device)
    return spectrogram.flatten(1)[:, first[:, None] + inside.flatten()]


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
    return row_padding_mask(-(-num_frames // patches.stride[0]), PatchGrid(rows, columns))


def row_padding_mask(num_rows: Tensor, grid: PatchGrid) -> Tensor:
    """How many rows of each clip are real, (B,), in a grid with padding -> its padding mask (B, N), True = padding."""
    row = torch.arange(grid.rows, device=num_rows.device)
    return (row >= num_rows[:, None]).repeat_interleave(grid.columns, dim=1)


def whole_rows(num_frames: Tensor, patches: PatchConfig) -> Tensor:
    """The fewest rows that hold all frames of clips of such lengths, (B,) -> (B,); one at least."""
    missing = (num_frames - patches.size[0]).clamp(min=0)
    return 1 - torch.div(-missing, patches.stride[0], rounding_mode="floor")


def real_rows(padding_mask: Tensor, grid: PatchGrid) -> Tensor:
    """Inverse of :func:`row_padding_mask`: (B, N) -> (B,)."""
    return (~padding_mask.unflatten(1, tuple(grid))[:, :, 0]).sum(dim=1)


@dataclass(frozen=True)
class PatchRows:
    """Patch rows of clips of different lengths: each clip has the fewest rows that hold all its frames.

    Attributes:
        patches: their size and stride.
        columns: patch columns ``Q``.
        max_frames: frames of the longest clips; longer ones are cut, and what fills no patch of these is cut, too.
    """

    patches: PatchConfig
    columns: int
    max_frames: int

    @classmethod
    def of(cls, max_frames: int, num_mel_bins: int, patches: PatchConfig) -> PatchRows:
        """The rows of clips of so many mel bins.

        Raises:
            ValueError: such a clip is smaller than one patch.
        """
        return cls(patches, patch_grid(max_frames, num_mel_bins, patches).columns, max_frames)

    def padded_frames(self, num_frames: int) -> int:
        """Frames of a clip of ``num_frames`` that is rounded up to whole patches: one patch at least."""
        (size, _), (stride, _) = self.patches.size, self.patches.stride
        return min(self.max_frames, size + max(0, -(-(num_frames - size) // stride)) * stride)

    def count(self, num_frames: int) -> int:
        """Its patch rows."""
        return 1 + (self.padded_frames(num_frames) - self.patches.size[0]) // self.patches.stride[0]

    def padding_mask(self, num_frames: Sequence[int]) -> Tensor | None:
        """The padding mask (B, N) of clips that are padded to the longest of them; None if there is no padding."""
        rows = torch.tensor([self.count(frames) for frames in num_frames])
        if bool((rows == rows.max()).all()):
            return None
        return row_padding_mask(rows, PatchGrid(int(rows.max()), self.columns))


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
        values = gathered_patches if torch.compiler.is_compiling() else patchify
        return F.linear(values(spectrogram, self.patches), self.proj.weight.flatten(1), self.proj.bias)
