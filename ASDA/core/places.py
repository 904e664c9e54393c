"""Where the students' kept and hidden patches are, as indices, and moving patches there and back.

A mask is boolean, (students, N), and True means *hidden from the student*. How many patches it hides is known where it
is drawn, on the CPU; turned into indices there, a step on a GPU never waits for the device to count.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Places:
    """Kept and hidden patches of ``B`` clips with ``M`` students each, the students of a clip side by side.

    Attributes:
        kept: (B * M, K), the patches each student keeps, in grid order.
        hidden: (R,), the hidden ones among the B * M * N patches of all students.
        hidden_of_clip: (R,), the same among the B * N patches of the clips.
        students: ``M``.
    """

    kept: Tensor
    hidden: Tensor
    hidden_of_clip: Tensor
    students: int

    @classmethod
    def of(cls, mask: Tensor | Places, num_clips: int) -> Places:
        """The places of masks (B * M, N), True = hidden; what already is places stays as it is.

        Raises:
            ValueError: another shape, or masks that do not keep the same number of patches.
        """
        if isinstance(mask, Places):
            return mask
        if mask.ndim != 2 or num_clips < 1 or mask.shape[0] % num_clips:
            raise ValueError(f"expected masks of shape ({num_clips} x students, patches), got {tuple(mask.shape)}")
        M, N = mask.shape[0] // num_clips, mask.shape[1]
        hidden = mask.flatten().nonzero()[:, 0]
        return cls(kept_indices(mask), hidden, hidden // (M * N) * N + hidden % N, M)

    @classmethod
    def from_dict(cls, tensors: dict[str, Tensor], num_clips: int) -> Places:
        """Inverse of :meth:`to_dict`, for ``num_clips`` clips."""
        return cls(**tensors, students=tensors["kept"].shape[0] // max(num_clips, 1))

    def to_dict(self) -> dict[str, Tensor]:
        """The tensors, for a batch that moves from process to process and to the device."""
        return {"kept": self.kept, "hidden": self.hidden, "hidden_of_clip": self.hidden_of_clip}

    def to(self, device: torch.device) -> Places:
        """The same on a device."""
        moved = {name: tensor.to(device, non_blocking=True) for name, tensor in self.to_dict().items()}
        return Places(**moved, students=self.students)

    def check(self, num_clips: int, num_patches: int) -> None:
        """Raises ValueError if these are not the places of so many clips with so many patches each."""
        kept, hidden = self.kept.shape[1] * self.kept.shape[0], len(self.hidden)
        if self.kept.shape[0] != num_clips * self.students or kept + hidden != self.kept.shape[0] * num_patches:
            raise ValueError(
                f"expected masks of shape ({num_clips} x students, {num_patches}), got {self.kept.shape[0]} masks that "
                f"keep {kept} and hide {hidden} patches in all"
            )

    def hide(self, patches: Tensor) -> Tensor:
        """What the clips' patches (B, N, V) have in the hidden places: (R, V)."""
        return patches.flatten(0, 1).index_select(0, self.hidden_of_clip)

    def fill_grid(self, tokens: Tensor, grid: Tensor) -> Tensor:
        """Puts the kept tokens (B * M, K, D) into a grid (B * M, N, D) that is filled already; returns it."""
        rows, N, D = grid.shape
        places = self.kept + N * torch.arange(rows, device=self.kept.device)[:, None]
        return grid.view(rows * N, D).index_copy_(0, places.flatten(), tokens.reshape(-1, D)).view(rows, N, D)


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
    rows = kept + N * torch.arange(B, device=kept.device).repeat_interleave(M, output_size=B * M)[:, None]
    return patches.reshape(B * N, D).index_select(0, rows.flatten()).view(B * M, kept.shape[1], D)
