"""s3prl and SUPERB: the encoder as an upstream, `asda`. From a checkout's folder s3prl/:

python -m ASDA.bridges s3prl run_downstream.py -m train -n NAME -u asda -k model.pt -d emotion
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .clip_encoder import ClipEncoder
from .hosts import load_with_soundfile_if_needed, require

SAMPLE_RATE_HZ = 16_000
"""What s3prl hands over; a checkpoint of another rate gets it resampled."""


class UpstreamExpert(ClipEncoder):
    """An encoder as s3prl calls it: trainable, as s3prl decides with `-f`, and in whatever mode it is put in.

    Args:
        ckpt: a file, a directory or a name on the Hugging Face hub (`-k`).
        model_config: a json file (`-g`) with settings of :class:`ClipEncoder`; `layer` and `pooling` do not matter, as
            s3prl weighs all layers' frames.
        refresh: s3prl's wish for a new download: a name on the hub without a revision is the newest in any case.
        settings: of :class:`ClipEncoder`, beside or instead of those in the file.
    """

    def __init__(
        self,
        ckpt: str | None = None,
        model_config: str | Mapping[str, Any] | None = None,
        refresh: bool = False,
        **settings,
    ):
        super().__init__(ckpt or "", **_read(model_config) | settings)
        self.requires_grad_(True)  # adapters have frozen the rest
        self._downsample_rate = round(self.hop_ms * SAMPLE_RATE_HZ / 1000)

    def get_downsample_rates(self, key: str | None = None) -> int:
        """Samples of 16 kHz from frame to frame."""
        return self._downsample_rate

    def forward(self, wavs: list[Tensor]) -> dict[str, Any]:
        """Clips of 16 kHz (W,) -> features (B, T, D) of all layers, and of the last.

        Each clip's last frame is repeated to the end, so that s3prl, which rounds lengths in two ways and repeats what
        is missing itself, gives the same for a clip alone and in a batch.
        """
        rate = self._downsample_rate
        if min(len(wav) for wav in wavs) <= rate // 2:
            warnings.warn(
                f"clips of up to half a frame ({self.hop_ms / 2:g} ms) have no frames in s3prl's Featurizer; "
                "a smaller hop_ms gives them some",
                stacklevel=2,
            )
        found = self.frames(wavs, SAMPLE_RATE_HZ, all_layers=True)
        T = max(-(-len(wav) // rate) for wav in wavs) or 1
        frame = torch.arange(T, device=found.values.device)
        last = torch.tensor(found.counts, device=found.values.device)[:, None] - 1
        clip = torch.arange(len(wavs), device=found.values.device)[:, None]
        states = found.values[clip, torch.minimum(frame, last)].unbind(dim=2)  # of (B, T, L, D)
        return {"hidden_states": list(states), "last_hidden_state": states[-1]}


def asda(*arguments, **settings) -> UpstreamExpert:
    """The entry of s3prl's hub."""
    return UpstreamExpert(*arguments, **settings)


def register() -> None:
    """Puts `asda` into s3prl's hub, where its programs and `S3PRLUpstream("asda", path_or_url="model.pt")` look."""
    load_with_soundfile_if_needed()
    try:
        hub = require("s3prl.hub", __name__, 'pip install "asda[bridges]"')
    except AttributeError as error:
        raise ImportError(
            f"s3prl's hub does not load beside this torchaudio ({error}); s3prl 0.4.18 takes torchaudio before 2.9"
        ) from error
    hub.asda = asda  # type: ignore[attr-defined]


def _read(model_config: str | Mapping[str, Any] | None) -> dict[str, Any]:
    if model_config is None or isinstance(model_config, Mapping):
        return dict(model_config or {})
    try:
        settings = json.loads(Path(model_config).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{model_config}: expected json with settings such as hop_ms ({error})") from None
    if not isinstance(settings, dict):
        raise ValueError(f"{model_config}: expected an object with settings such as hop_ms, got {settings!r}"[:200])
    return settings
