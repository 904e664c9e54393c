"""What does a pre-training train on, and how much arithmetic is an update? From its composed yaml, without data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..core.patches import patch_grid
from ..core.places import Places
from ..masks.mask import Mask
from ..objectives.counting import step_flops
from ..objectives.objective import Objective
from .describing import describe_run
from .tasks.mask_settings import make_masks


@dataclass(frozen=True)
class Pretraining:
    """What a pre-training run trains.

    Attributes:
        objective: at fresh weights.
        masks: of a clip.
        num_frames: of a clip.
        clips_per_update: that its schedule is for.
    """

    objective: Objective
    masks: Mask
    num_frames: int
    clips_per_update: int

    def batch(self, clips: int) -> tuple[Tensor, Tensor]:
        """Spectrograms (B, 1, T, F) of noise, and masks (B * M, N); always the same."""
        generator = torch.Generator().manual_seed(0)
        bins = self.objective.encoder.config.num_mel_bins
        spectrogram = torch.randn(clips, 1, self.num_frames, bins, generator=generator)
        return spectrogram, torch.cat([self.masks(generator) for _ in range(clips)])


def describe_pretraining(config: Any, device: str = "meta") -> Pretraining:
    """What a run of a configuration would train.

    Args:
        config: the composed yaml.
        device: where the weights are to be; on "meta" they take no memory.

    Raises:
        ValueError: it describes no pre-training, or clips of no stated length.
    """
    encoder, objective, front_end = describe_run(config, device)
    frames = front_end.target_length_frames
    if not isinstance(objective, Objective) or "precompute_mask_config" not in config.task:
        raise ValueError(f"task._name={config.task.get('_name')} is no pre-training")
    if frames is None:
        raise ValueError("task.target_length=null: how long a clip is has to be stated")
    grid = patch_grid(frames, encoder.num_mel_bins, encoder.patches)
    kind = config.task.get("mask_type", "inverse_block")
    masks = make_masks(config.task.precompute_mask_config, kind, grid, config)
    return Pretraining(objective, masks, frames, int(config.task.clips_per_update))


def update_flops(config: Any) -> float:
    """FLOPs of an update, forward and backward, on clips of full length.

    Raises:
        ValueError: as :func:`describe_pretraining`.
    """
    run = describe_pretraining(config)
    spectrogram, mask = run.batch(1)
    return run.clips_per_update * step_flops(run.objective, spectrogram, Places.of(mask, 1))
