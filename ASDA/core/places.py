"""Inverse block masks, and moving between the full patch grid and the patches a student keeps.

A mask is boolean, (masks, N), and True means *hidden from the student*.
"""

from __future__ import annotations

import torch
from torch import Tensor


def kept_indices(mask: Tensor) -> Tensor:
    """(rows, N) bool, True = hidden -> (rows, K) indices of the kept patches, in grid order.

    Raises:
        ValueError: the rows do not keep the same number of patches.
    """
    counts = (~mask).sum(dim=1)
    K = int(counts[0])
    if bool((counts != K).any()):
        raise ValueError(
            f"every mask must keep the same number of patches; "
            f"these keep {sorted(set(counts.tolist()))} of {mask.shape[1]}"
        )
    return (~mask).nonzero()[:, 1].view(-1, K)


def gather_patches(patches: Tensor, kept: Tensor) -> Tensor:
    """Patches (B, N, D) and indices (B * M, K), clip-major -> (B * M, K, D), without M copies of the full grid."""
    B, N, D = patches.shape
    M, left = divmod(kept.shape[0], B)
    if left:
        raise ValueError(f"{kept.shape[0]} masks do not divide among {B} clips")
    rows = kept + N * torch.arange(B, device=kept.device).repeat_interleave(M)[:, None]
    return patches.reshape(B * N, D).index_select(0, rows.flatten()).view(B * M, kept.shape[1], D)


def restore_grid(tokens: Tensor, kept: Tensor, num_patches: int, noise_std: float) -> Tensor:
    """Kept patches (rows, K, D) -> the full grid (rows, N, D), hidden places filled with normal(0, noise_std)."""
    rows, _, D = tokens.shape
    # Drawn in float32: then a seed gives the same noise in every precision (and bfloat16 draws are slow on a CPU).
    noise = torch.empty(rows * num_patches, D, device=tokens.device)
    grid = (noise.normal_(0.0, noise_std) if noise_std > 0 else noise.zero_()).to(tokens.dtype)
    places = kept + num_patches * torch.arange(rows, device=kept.device)[:, None]
    return grid.index_copy_(0, places.flatten(), tokens.reshape(-1, D)).view(rows, num_patches, D)
