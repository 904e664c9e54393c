"""The same network at random weights."""

from __future__ import annotations

import torch

from ..core.encoder import SpectrogramEncoder
from ..inference import TrainedEncoder


def random_twin(encoder: TrainedEncoder, seed: int) -> TrainedEncoder:
    """The same architecture and front end at newly drawn weights; without adapters, if the encoder has some."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        twin = TrainedEncoder(SpectrogramEncoder(encoder.encoder.config), encoder.front_end).eval()
    return twin.to(encoder.encoder.device)
