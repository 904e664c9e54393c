"""X-ARES: encoders for `python -m xares.run encoder.py TASKS`, where encoder.py has two lines.

from ASDA.bridges import xares_encoder
Encoder = xares_encoder.from_checkpoint("model.pt")
"""

from __future__ import annotations

import re
from pathlib import Path

import torch
from torch import Tensor

from .clip_encoder import ClipEncoder, absolute, own_lengths
from .hosts import load_with_soundfile_if_needed


def from_checkpoint(checkpoint: str | Path, **settings) -> type[ClipEncoder]:
    """A class of encoders, which X-ARES calls without arguments.

    X-ARES keeps features and scores in folders by the name of the class, and takes what lies there. So the name has
    the weights and the settings in it.

    Args:
        checkpoint: a file, a directory or a name on the Hugging Face hub; a relative path holds from the folder where
            this is called.
        settings: those of :class:`ClipEncoder`; `pooling` does not matter, as X-ARES takes frames.
    """
    load_with_soundfile_if_needed()
    place = absolute(checkpoint)
    if settings.get("adapter"):
        settings["adapter"] = absolute(settings["adapter"])

    def build(self) -> None:
        ClipEncoder.__init__(self, place, **settings)
        self.sampling_rate, self.output_dim = self.sample_rate_hz, self.embed_dim
        self.hop_size_in_ms = self.hop_ms

    stem = re.sub(r"\W", "_", Path(checkpoint).stem, flags=re.ASCII)
    name = f"{stem}_{ClipEncoder(place, **settings).identity}_Encoder"
    return type(name, (ClipEncoder,), {"__init__": build, "forward": _forward, "__module__": __name__})


@torch.no_grad()
def _forward(self: ClipEncoder, audio: Tensor) -> Tensor:
    """Clips (B, W) -> (B, T, D).

    X-ARES fills the clips of a batch up with zeros and does not say how far. Zeros at the end of a clip are taken for
    that: its frames end there, and the values behind them are zero, which neither its MLP (a LayerNorm of their mean)
    nor its nearest neighbours (their mean, normalised) can tell from fewer frames.
    """
    clips = [clip[:length] for clip, length in zip(audio, own_lengths(audio), strict=True)]
    values = self.frames(clips).values
    missing = self.num_frames(audio.shape[1]) - values.shape[1]
    return torch.nn.functional.pad(values, (0, 0, 0, missing))
