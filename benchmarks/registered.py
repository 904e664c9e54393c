"""Registered objectives as yaml, recipes, size and overrides describe them, with batches of generated sound."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

import ASDA  # noqa: F401
from ASDA.core.patches import patch_grid
from ASDA.fairseq_plugin.describing import describe_run
from ASDA.fairseq_plugin.tasks.mask_settings import make_masks
from ASDA.launch.arguments import Arguments
from ASDA.launch.recipe import Recipe, find_config
from ASDA.masks.mask import Mask
from ASDA.objectives.objective import Objective


@dataclass(frozen=True)
class Registered:
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


def registered(words: str, device: str = "meta") -> Registered:
    """What `asda-train WORDS` would train.

    Args:
        words: the yaml's name, then recipes, size and overrides.
        device: where its weights are to be.

    Raises:
        LaunchError: the words fit no yaml.
        ValueError: they describe no objective.
    """
    config, *others = words.split()
    recipe = Recipe(find_config(config), Arguments.parse(others))
    torch.manual_seed(0)
    encoder, objective, front_end = describe_run(recipe.config, device)
    frames = front_end.target_length_frames
    grid = patch_grid(frames, encoder.num_mel_bins, encoder.patches)
    given = recipe.get("task.precompute_mask_config")
    masks = make_masks(given, recipe.get("task.mask_type", "inverse_block"), grid, recipe.config)
    return Registered(objective, masks, frames, int(recipe.get("task.clips_per_update")))
