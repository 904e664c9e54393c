"""Clips that are the same recording under several names: within a split, and across splits, where they are a leak."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ..manifest import Manifest
from .plan import Problem

DIGEST_BYTES = 16
_NONE = b"\0" * DIGEST_BYTES


def content_digest(waveform: torch.Tensor) -> bytes:
    """What two clips have in common exactly if they decode to the same samples, whatever their files are."""
    return hashlib.blake2b(waveform.numpy().tobytes(), digest_size=DIGEST_BYTES).digest()


@dataclass
class SplitContents:
    """Digests of the clips of a manifest, `DIGEST_BYTES` for each row; clips without one are compared with nothing."""

    manifest: Manifest
    digests: np.ndarray

    @classmethod
    def of(cls, manifest: Manifest) -> SplitContents:
        """No digest known yet."""
        return cls(manifest, np.full(len(manifest), _NONE, dtype=f"V{DIGEST_BYTES}"))

    def set(self, row: int, digest: bytes) -> None:
        """Notes the digest of a clip."""
        self.digests[row] = digest


def identical_clips(splits: Sequence[SplitContents]) -> tuple[list[Problem], list[Problem]]:
    """Compares the clips of splits that belong together.

    Returns:
        Clips that stand in several splits, and clips that stand in one split several times, each with the first place
        of the same samples.
    """
    if not splits:
        return [], []
    digests = np.concatenate([split.digests for split in splits])
    split_of = np.repeat(np.arange(len(splits)), [len(split.digests) for split in splits])
    row_of = np.concatenate([np.arange(len(split.digests)) for split in splits])
    order = np.argsort(digests.view(f"S{DIGEST_BYTES}"), kind="stable")
    across: list[tuple[int, Problem]] = []
    within: list[tuple[int, Problem]] = []
    for group in _groups(digests, order):
        first = group[0]
        for place in group[1:]:
            one, other = splits[split_of[place]], splits[split_of[first]]
            row, first_row = int(row_of[place]), int(row_of[first])
            path, first_path = one.manifest.relative_path(row), other.manifest.relative_path(first_row)
            if one is other and path == first_path:  # reported as a repeated row already
                continue
            clip, same = f"{path} ({one.manifest.where(row)})", f"{first_path} ({other.manifest.where(first_row)})"
            detail = f"the same samples as {same}" + ("" if one is other else ", in another split")
            found = within if one is other else across
            found.append((int(place), Problem("identical", clip, detail)))
    return _in_order(across), _in_order(within)


def _in_order(found: list[tuple[int, Problem]]) -> list[Problem]:
    return [problem for _, problem in sorted(found, key=lambda entry: entry[0])]


def _groups(digests: np.ndarray, order: np.ndarray) -> list[np.ndarray]:
    """Places of equal digests, at least two of each, in their order."""
    known = order[digests[order] != np.void(_NONE)]
    borders = np.flatnonzero(digests[known][1:] != digests[known][:-1]) + 1
    return [group for group in np.split(known, borders) if len(group) > 1]
