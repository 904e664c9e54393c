"""EVAR (eval-audio-repr): the encoder as one of its audio representations. From EVAR's folder:

python -m ASDA.bridges evar lineareval.py asda.yaml esc50

The yaml names the class, `audio_repr: ar_asda.AR_ASDA`, and the checkpoint, `weight_file: model.pt`.
"""

from __future__ import annotations

import sys

from torch import Tensor
from torch.nn.functional import pad

from .clip_encoder import ClipEncoder, own_lengths
from .hosts import load_with_soundfile_if_needed, require

_INSTALL = "run this in a checkout of github.com/nttcslab/eval-audio-repr"
SETTINGS = ("layer", "pooling", "padding", "hop_ms", "adapter", "revision")
"""Settings of :class:`ClipEncoder` that the yaml may have."""


class AR_ASDA(require("evar.ar_base", __name__, _INSTALL).BaseAudioRepr):  # type: ignore[misc]
    """An encoder as EVAR calls it: trainable, and in whatever mode it is put in.

    EVAR fills clips up with zeros to the task's length. Zeros at the end of a clip are taken for that, and not heard.

    Args:
        cfg: `weight_file`, `feature_d`, `sample_rate` (other rates than the checkpoint's are resampled) and
            :data:`SETTINGS`.

    Raises:
        ValueError: `feature_d` is not the checkpoint's width.
    """

    def __init__(self, cfg):
        super().__init__(cfg)
        self.encoder = ClipEncoder(cfg["weight_file"], **{name: cfg[name] for name in SETTINGS if name in cfg})
        self.encoder.requires_grad_(True)  # adapters have frozen the rest
        if cfg["feature_d"] != self.encoder.embed_dim:
            raise ValueError(f"feature_d={cfg['feature_d']}, but {cfg['weight_file']} has {self.encoder.embed_dim}")
        self.sample_rate_hz = cfg["sample_rate"]

    def encode_frames(self, batch_audio: Tensor) -> Tensor:
        """Clips (B, W) -> (B, D, T), zeros behind a clip's end."""
        values = self.encoder.frames(self._clips(batch_audio), self.sample_rate_hz).values
        missing = self.encoder.num_frames(batch_audio.shape[1], self.sample_rate_hz) - values.shape[1]
        return pad(values, (0, 0, 0, missing)).transpose(1, 2)

    def forward(self, batch_audio: Tensor) -> Tensor:
        """Clips (B, W) -> (B, D)."""
        return self.encoder.clip_vectors(self._clips(batch_audio), self.sample_rate_hz)

    def _clips(self, audio: Tensor) -> list[Tensor]:
        return [clip[:length] for clip, length in zip(audio, own_lengths(audio), strict=True)]


def register() -> None:
    """Makes it `evar.ar_asda`, where EVAR's programs look."""
    load_with_soundfile_if_needed()
    evar = require("evar", __name__, _INSTALL)
    evar.ar_asda = sys.modules[__name__]  # type: ignore[attr-defined]
