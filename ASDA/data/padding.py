"""Clips that are shorter than the others of their batch: their real frames and patches, and their masks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Protocol

import torch
from torch import Tensor

from ..audio.fbank import num_frames

MaskSampler = Callable[[torch.Generator], Tensor]


class PatchRows(Protocol):
    """Patch rows of clips of different lengths, as ``ASDA.core.patches.PatchRows`` counts them."""

    columns: Any
    max_frames: Any

    def padded_frames(self, num_frames: int) -> int:
        """Frames of a clip that is rounded up to whole patches."""

    def count(self, num_frames: int) -> int:
        """Patch rows of a clip."""

    def padding_mask(self, num_frames: Sequence[int]) -> Tensor | None:
        """(B, N), True = padding; None if there is none."""


class MaskedPadding:
    """Padding under a mask: clips keep their own length, a batch is as long as its longest clip.

    Args:
        rows: how frames become patch rows.
        mask_sampler: draws the masks (M, N) of a clip that is as long as ``rows`` has it; a dataclass with ``grid``,
            the patch rows and columns. None: no masks.

    Raises:
        ValueError: the sampler has another grid.
    """

    def __init__(self, rows: PatchRows, mask_sampler: MaskSampler | None = None):
        self.rows = rows
        self._samplers: dict[int, MaskSampler] = {}  # by patch rows
        self._shortest_frames = 1
        if mask_sampler is not None:
            grid, longest = tuple(mask_sampler.grid), rows.count(rows.max_frames)  # type: ignore[attr-defined]
            if grid != (longest, rows.columns):
                raise ValueError(
                    f"the masks are for {grid[0]} x {grid[1]} patches, but clips of {rows.max_frames} frames have "
                    f"{longest} x {rows.columns}; task.precompute_mask_config.patch_size has to be the model's"
                )
            self._samplers[longest] = mask_sampler
            self._shortest_frames = self._frames_of_the_smallest_grid(mask_sampler)

    def num_frames(self, num_samples: int, sample_rate_hz: int) -> int:
        """How many frames of a clip of so many samples are no padding.

        At least one, and at least as many as it takes for masks that both keep and hide something: a clip that is
        shorter counts as if its padding were sound up to there.
        """
        own = num_frames(num_samples, sample_rate_hz)
        return min(max(own, self._shortest_frames), self.rows.max_frames)

    def sampler(self, num_frames: int) -> MaskSampler | None:
        """What draws the masks (M, N) of a clip of so many frames, N its own patches; None if there are no masks."""
        if not self._samplers:
            return None
        rows = self.rows.count(num_frames)
        if rows not in self._samplers:
            longest = self._samplers[max(self._samplers)]
            self._samplers[rows] = replace(longest, grid=(rows, self.rows.columns))  # type: ignore[type-var]
        return self._samplers[rows]

    def _frames_of_the_smallest_grid(self, sampler: Any) -> int:
        """Frames of the shortest clips that masks can be drawn for."""
        size = self.rows.padded_frames(1)
        previous = 0
        for frames in range(size, self.rows.max_frames + 1):
            if self.rows.count(frames) == previous:
                continue
            previous = self.rows.count(frames)
            try:
                replace(sampler, grid=(previous, self.rows.columns))
                return frames if previous > 1 else 1
            except ValueError:  # it leaves no patch that is kept, or none that is hidden
                continue
        return self.rows.max_frames


def join_masks(masks: Sequence[Tensor]) -> Tensor:
    """Masks (M, N) of clips of different N -> (B * M, N) with the largest N; nothing is hidden in padding."""
    longest = max(mask.shape[1] for mask in masks)
    return torch.cat([torch.nn.functional.pad(mask, (0, longest - mask.shape[1])) for mask in masks])
