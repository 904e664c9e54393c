"""HEAR 2021: the module that `hear-validator` and `heareval` import.

hear-validator ASDA.bridges.hear -m model.pt -d cpu
python -m heareval.embeddings.runner ASDA.bridges.hear --model model.pt --tasks-dir TASKS --embeddings-dir model
"""

from __future__ import annotations

import torch
from torch import Tensor

from .clip_encoder import ClipEncoder
from .frame_places import FramePlaces

SAMPLE_RATES_HZ = (16_000, 22_050, 32_000, 44_100, 48_000)
"""Rates that HEAR has its tasks in."""

LONGEST_HOP_MS = 50.0
"""HEAR scores onsets with a tolerance of 50 ms, and asks for time stamps no further apart."""


class HearModel(ClipEncoder):
    """An encoder with the attributes that HEAR reads."""

    def __init__(self, checkpoint: str, **settings):
        super().__init__(checkpoint, **settings)
        if settings.get("hop_ms") is None:
            self.places = FramePlaces.at_most(self.places.windowing, LONGEST_HOP_MS)
        own_hz = self.sample_rate_hz
        self.sample_rate = min((rate for rate in SAMPLE_RATES_HZ if rate >= own_hz), default=SAMPLE_RATES_HZ[-1])
        self.scene_embedding_size = self.timestamp_embedding_size = self.embed_dim


def load_model(model_file_path: str = "", **settings) -> HearModel:
    """The encoder of a checkpoint.

    Args:
        model_file_path: a file, a directory or a name on the Hugging Face hub.
        settings: those of :class:`ClipEncoder`, as `--model-options '{"hop_ms": 160}'` gives them. Without `hop_ms`
            frames are the longest hop of at most 50 ms apart that divides the rows of patches evenly: 40 ms where rows
            are 160 ms apart. Scenes do not depend on it.
    """
    return HearModel(model_file_path, **settings)


@torch.no_grad()
def get_timestamp_embeddings(audio: Tensor, model: HearModel) -> tuple[Tensor, Tensor]:
    """Clips (B, W) at the model's rate -> (B, T, D) float32, and their middles in milliseconds (B, T)."""
    found = model.frames(list(audio), model.sample_rate)
    centres_ms = found.centres_ms.to(found.values.device, torch.float32)
    if len(centres_ms) == 1:  # of a clip that ends before the middle of its only row
        centres_ms = centres_ms.clamp(max=500 * audio.shape[1] / model.sample_rate)
    return found.values, centres_ms.expand(len(audio), -1)


@torch.no_grad()
def get_scene_embeddings(audio: Tensor, model: HearModel) -> Tensor:
    """Clips (B, W) at the model's rate -> (B, D) float32."""
    return model.clip_vectors(list(audio), model.sample_rate)
