"""Small models of every architecture that is exported, and inputs for them."""

from __future__ import annotations

import torch

from ASDA.audio.front_end import FrontEnd
from ASDA.core.classifier import SpectrogramClassifier
from ASDA.core.config import HeadConfig
from ASDA.inference.model import TrainedClassifier, TrainedEncoder
from tests.architectures import make_encoder

FRAMES = 64
LABELS = ["bark", "meow", "rain"]
_PRE_NORM = {"norm": "pre", "norm_first": False, "norm_last": True, "attention": "plain"}
ARCHITECTURES = {
    "differential": {},
    "plain": {"attention": "plain"},
    "lambda of each token": {"attention": "differential_v2"},
    "learned lambda": {"lambda_mode": "learned", "out_scale": None},
    "no prefix token": {"attention": "plain", "positions": "interleaved_1d", "num_prefix_tokens": 0},
    "prefix in the middle": {"positions": "sincos_1d", "num_prefix_tokens": 2, "prefix_place": "middle"},
    "learned, overlapping": {**_PRE_NORM, "positions": "learned", "num_prefix_tokens": 2, "stride": (10, 10)},
    "learned, frames": {
        **_PRE_NORM,
        "positions": "learned",
        "num_prefix_tokens": 2,
        "patches": (2, 128),
        "max_rows": 32,
    },
}

WITH_PADDING = [
    *((name, ("constant", "mask")[number % 2]) for number, name in enumerate(ARCHITECTURES)),
    ("differential", "mask"),
]
"""Architectures and paddings: each of both in every way that touches the other; exporting one takes seconds."""


def trained(architecture: str = "differential", *, head: str | None = None, softmax: bool = False, **front_end):
    """A model with random weights: an encoder, or a classifier that pools by `head`."""
    torch.manual_seed(0)
    sizes = {"embed_dim": 32, "depth": 2, "num_heads": 4, "max_rows": 6}
    encoder = make_encoder(**sizes | ARCHITECTURES[architecture])
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    hearing = FrontEnd(**{"target_length_frames": FRAMES, "norm_mean": -4.0, "norm_std": 4.5} | front_end)
    if head is None:
        return TrainedEncoder(encoder, hearing).eval()
    classifier = SpectrogramClassifier(encoder, HeadConfig(3, head))
    return TrainedClassifier(classifier, hearing, LABELS, independent_scores=not softmax).eval()


def sounds(num_clips: int, num_samples: int) -> torch.Tensor:
    """Tones that decay, on an offset, in faint noise: loud and silent bins side by side. (B, W)"""
    time_s = torch.arange(num_samples) / 16_000
    pitches_hz = torch.linspace(200, 3000, num_clips)[:, None]
    tones = 0.5 * torch.sin(2 * torch.pi * pitches_hz * time_s) * torch.exp(-3 * time_s)
    noise = torch.randn(num_clips, num_samples, generator=torch.Generator().manual_seed(num_samples))
    return tones + 0.002 * noise + 0.05
