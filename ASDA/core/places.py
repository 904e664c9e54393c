"""Where the students' kept and hidden patches are, as indices, and moving patches there and back.

A mask is boolean, (students, N), and True means *hidden from the student*. How many patches it hides is known where it
is drawn, on the CPU; turned into indices there, a step on a GPU never waits for the device to count.

Padding is neither kept nor hidden. Clips of different lengths keep different numbers of patches: `kept` is then padded,
too, and `kept_tokens` says which of its entries stand for a patch.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Places:
    """Kept and hidden patches of ``B`` clips with ``M`` students each, the students of a clip side by side.

    Attributes:
        kept: (B * M, K), the patches each student keeps, in grid order; where they are fewer than K, any behind them.
        hidden: (R,), the hidden ones among the B * M * N patches of all students.
        hidden_of_clip: (R,), the same among the B * N patches of the clips.
        students: ``M``.
        padding: (B, N), True = padding; None if no clip is padded.
        kept_tokens: the entries of `kept` that stand for a patch, among all B * M * K; None if no clip is padded.
    """

    kept: Tensor
    hidden: Tensor
    hidden_of_clip: Tensor
    students: int
    padding: Tensor | None = None
    kept_tokens: Tensor | None = None

    @classmethod
    def of(cls, mask: Tensor | Places, num_clips: int, padding: Tensor | None = None) -> Places:
        """The places of masks (B * M, N), True = hidden; what already is places stays as it is.

        Args:
            mask: the masks; what they say of padding does not matter.
            num_clips: ``B``.
            padding: (B, N), True = padding, or None.

        Raises:
            ValueError: another shape, or masks that do not keep the same number of patches though nothing is padded.
        """
        if isinstance(mask, Places):
            return mask
        if mask.ndim != 2 or num_clips < 1 or mask.shape[0] % num_clips:
            raise ValueError(f"expected masks of shape ({num_clips} x students, patches), got {tuple(mask.shape)}")
        M, N = mask.shape[0] // num_clips, mask.shape[1]
        if padding is None or not bool(padding.any()):
            padding = None
            kept, kept_tokens = kept_indices(mask), None
        else:
            if padding.shape != (num_clips, N):
                raise ValueError(f"expected a padding mask of shape ({num_clips}, {N}), got {tuple(padding.shape)}")
            padded = padding.repeat_interleave(M, dim=0)
            kept, kept_tokens = _kept_of_padded(mask | padded)
            mask = mask & ~padded
        hidden = mask.flatten().nonzero()[:, 0]
        return cls(kept, hidden, hidden // (M * N) * N + hidden % N, M, padding, kept_tokens)

    @classmethod
    def from_dict(cls, tensors: dict[str, Tensor], num_clips: int) -> Places:
        """Inverse of :meth:`to_dict`, for ``num_clips`` clips."""
        return cls(**tensors, students=tensors["kept"].shape[0] // max(num_clips, 1))

    def to_dict(self) -> dict[str, Tensor]:
        """The tensors, for a batch that moves from process to process and to the device."""
        tensors = {name: getattr(self, name) for name in ("kept", "hidden", "hidden_of_clip", "padding", "kept_tokens")}
        return {name: tensor for name, tensor in tensors.items() if tensor is not None}

    def to(self, device: torch.device) -> Places:
        """The same on a device."""
        moved = {name: tensor.to(device, non_blocking=True) for name, tensor in self.to_dict().items()}
        return Places(**moved, students=self.students)

    @property
    def num_kept(self) -> int:
        """Kept patches of all students."""
        return self.kept.numel() if self.kept_tokens is None else len(self.kept_tokens)

    @property
    def kept_padding(self) -> Tensor | None:
        """(B * M, K), True where `kept` stands for no patch, which attention must not see; None if it always does."""
        if self.kept_tokens is None:
            return None
        missing = torch.ones(self.kept.numel(), dtype=torch.bool, device=self.kept.device)
        return missing.index_fill_(0, self.kept_tokens, False).view(self.kept.shape)

    @property
    def grid_padding(self) -> Tensor | None:
        """(B * M, N), the padding of each student's grid, True = padding; None if no clip is padded."""
        if self.padding is None:
            return None
        B, M = len(self.padding), self.students
        return self.padding.repeat_interleave(M, dim=0, output_size=B * M)

    def check(self, num_clips: int, num_patches: int, may_be_padded: bool = False) -> None:
        """Refuses the places of other clips, or of clips with padding where an objective does not know of it.

        Raises:
            ValueError: these are not the places of so many clips with so many patches each, or they have padding.
        """
        rows, kept, hidden = len(self.kept), self.num_kept, len(self.hidden)
        complete = kept + hidden == rows * num_patches
        if self.padding is not None:  # how much of it there is, the device alone knows
            complete = self.padding.shape == (num_clips, num_patches) and kept + hidden < rows * num_patches
        if rows != num_clips * self.students or not complete:
            raise ValueError(
                f"expected masks of shape ({num_clips} x students, {num_patches}), got {rows} masks that "
                f"keep {kept} and hide {hidden} patches in all"
            )
        if self.padding is not None and not may_be_padded:
            raise ValueError("this objective takes no clips with a padding mask; set task.padding=constant")

    def hide(self, patches: Tensor) -> Tensor:
        """What the clips' patches (B, N, V) have in the hidden places: (R, V)."""
        return patches.flatten(0, 1).index_select(0, self.hidden_of_clip)

    def fill_grid(self, tokens: Tensor, grid: Tensor) -> Tensor:
        """Puts the kept tokens (B * M, K, D) into a grid (B * M, N, D) that is filled already; returns it."""
        rows, N, D = grid.shape
        places = (self.kept + N * torch.arange(rows, device=self.kept.device)[:, None]).flatten()
        tokens = tokens.reshape(-1, D)
        if self.kept_tokens is not None:
            places, tokens = (x.index_select(0, self.kept_tokens) for x in (places, tokens))
        return grid.view(rows * N, D).index_copy_(0, places, tokens).view(rows, N, D)


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


def _kept_of_padded(mask: Tensor) -> tuple[Tensor, Tensor]:
    """(rows, N) bool, True = hidden or padding -> the kept patches (rows, K), K those of the row with most, and tokens.

    Raises:
        ValueError: a row keeps none.
    """
    counts = (~mask).sum(dim=1)
    if not bool(counts.all()):
        raise ValueError(f"every mask must keep a patch; these keep {sorted(set(counts.tolist()))} of {mask.shape[1]}")
    kept = mask.long().argsort(dim=1, stable=True)[:, : int(counts.max())]
    is_patch = torch.arange(kept.shape[1], device=mask.device) < counts[:, None]
    return kept, is_patch.flatten().nonzero()[:, 0]


def gather_patches(patches: Tensor, kept: Tensor) -> Tensor:
    """Patches (B, N, D) and indices (B * M, K), clip-major -> (B * M, K, D), without M copies of the full grid."""
    B, N, D = patches.shape
    M, left = divmod(kept.shape[0], B)
    if left:
        raise ValueError(f"{kept.shape[0]} masks do not divide among {B} clips")
    rows = kept + N * torch.arange(B, device=kept.device).repeat_interleave(M, output_size=B * M)[:, None]
    return patches.reshape(B * N, D).index_select(0, rows.flatten()).view(B * M, kept.shape[1], D)
