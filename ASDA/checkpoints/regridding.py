"""A trained encoder on another grid of patches: SSAST pre-trains without overlap and fine-tunes with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from ..core.config import EncoderConfig
from ..core.patches import PatchGrid, patch_grid
from ..core.positions import POSITIONS, fit_grid
from .checkpoint import Checkpoint
from .files import CheckpointError
from .layouts.published_architecture import merged


def regridded(checkpoint: Checkpoint, changes: Mapping[str, Any]) -> Checkpoint:
    """The same encoder with another stride or another number of rows in its learned position table.

    Patch filters and everything else stay; positions are cut to the middle or interpolated. With another stride alone,
    the table is for the frames that it was for before.

    Args:
        checkpoint: the encoder.
        changes: settings of EncoderConfig.

    Raises:
        CheckpointError: another setting than these is to change, or the positions are not learned.
        ConfigError: the settings describe no encoder.
    """
    old = checkpoint.encoder_config
    new = EncoderConfig.from_dict(merged(old.to_dict(), changes))
    if _fixed(new) != _fixed(old):
        raise CheckpointError(
            f"{checkpoint.path}: of a trained encoder, model.encoder can change patches.stride and max_rows alone"
        )
    if new.patches.stride != old.patches.stride and "max_rows" not in changes:
        frames = old.patches.size[0] + (old.max_rows - 1) * old.patches.stride[0]
        new = replace(new, max_rows=patch_grid(frames, new.num_mel_bins, new.patches).rows)
    if new == old:
        return checkpoint
    if not POSITIONS[old.positions].is_learned:
        raise CheckpointError(
            f"{checkpoint.path}: model.encoder changes the grid of patches, which takes learned positions; these are "
            f"{old.positions}"
        )
    X, table = old.num_prefix_tokens, checkpoint.encoder["positions"]
    patches = fit_grid(table[:, X:], PatchGrid(old.max_rows, old.columns), PatchGrid(new.max_rows, new.columns))
    tensors = {**checkpoint.encoder, "positions": torch.cat([table[:, :X], patches], dim=1)}
    return replace(checkpoint, encoder_config=new, encoder=tensors)


def _fixed(config: EncoderConfig) -> dict[str, Any]:
    """What of an architecture cannot change."""
    values = config.to_dict()
    return {**values, "patches": values["patches"]["size"], "max_rows": None}
