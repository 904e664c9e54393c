"""MAEB, the audio benchmark of mteb: a model that `mteb.evaluate` takes.

import mteb
from ASDA.bridges import maeb
mteb.evaluate(maeb.model_meta("model.pt"), mteb.get_tasks(tasks=["BeijingOpera"]))
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ..inference.audio_input import read_waveform
from .clip_encoder import ClipEncoder, absolute
from .hosts import require

_INSTALL = 'pip install "asda[bridges]"' + ("" if sys.version_info >= (3, 11) else ", on Python 3.11 or newer")
_models = require("mteb.models", __name__, _INSTALL)
_abs_encoder = require("mteb.models.abs_encoder", __name__, _INSTALL)

_OF_RESULTS = ("layer", "pooling", "padding")
"""Settings that mteb shows beside a model's name."""


class MaebEncoder(_abs_encoder.AbsEncoder):  # type: ignore[misc,name-defined]
    """An encoder as mteb calls it.

    Args:
        model_name: what mteb calls it.
        revision: of its weights and settings, as :func:`model_meta` states it.
        device: None: a GPU where there is one.
        checkpoint: a file, a directory or a name on the Hugging Face hub.
        settings: of :class:`ClipEncoder`.

    Raises:
        ValueError: the checkpoint or the settings are no longer those of the revision.
    """

    def __init__(
        self, model_name: str, revision: str | None = None, device: str | None = None, *, checkpoint: str, **settings
    ):
        self.model_name = model_name
        self.model = ClipEncoder(checkpoint, **settings)
        if revision is not None and self.model.identity != revision:
            raise ValueError(f"{checkpoint}: now {self.model.identity}, {model_name} was described as {revision}")
        self.model.to(device or ("cuda" if torch.cuda.is_available() else "cpu"))

    @torch.no_grad()
    def encode(
        self, inputs: Any, *, precision: str | None = None, show_progress_bar: bool = True, **task: Any
    ) -> np.ndarray:
        """The vectors of a DataLoader's clips, (n, D) float32; what `task` they are for makes no difference.

        Raises:
            AudioError: a clip cannot be used.
            ValueError: the task is not about audio, or the vectors are wanted in another precision.
        """
        if precision not in (None, "float32"):
            raise ValueError(f"precision={precision}: vectors are float32")
        if "audio" not in inputs.dataset.features:
            raise ValueError(f"{self.model_name} hears audio alone; this task has {', '.join(inputs.dataset.features)}")
        inputs.collate_fn = partial(_waveforms, rate_hz=self.model.sample_rate_hz)
        batches = tqdm(inputs, disable=not show_progress_bar)
        return np.concatenate([self.model.clip_vectors(clips).cpu().numpy() for clips in batches])


def model_meta(checkpoint: str | Path, name: str | None = None, *, facts: dict[str, Any] | None = None, **settings):
    """What mteb has to know of a model before it loads it.

    mteb keeps results by name and revision, and takes what lies there. So the revision has the weights and the
    settings in it.

    Args:
        checkpoint: a file, a directory or a name on the Hugging Face hub.
        name: `organisation/name`; None: that on the hub, or `local/` and the file's.
        facts: fields of `ModelMeta` that no checkpoint states: `license`, `release_date`, `training_datasets` (in
            mteb's names), `public_training_data`, `reference`, `citation`.
        settings: of :class:`ClipEncoder`: `layer`, `pooling`, `padding`, ...

    Returns:
        An `mteb.models.ModelMeta`.
    """
    encoder = ClipEncoder(checkpoint, **settings)
    here = Path(checkpoint).exists()
    num_parameters = sum(parameter.numel() for parameter in encoder.trained.encoder.parameters())
    stated = {
        "loader": MaebEncoder,
        "name": name or (f"local/{Path(checkpoint).stem}" if here else str(checkpoint).partition("@")[0]),
        "revision": encoder.identity,
        "experiment_kwargs": {key: settings.pop(key) for key in _OF_RESULTS if key in settings} or None,
        "n_parameters": num_parameters,
        "memory_usage_mb": round(4 * num_parameters / 2**20),
        "embed_dim": encoder.embed_dim,
        "open_weights": None if here else True,
        "modalities": ["audio"],
        "similarity_fn_name": "cosine",
        "framework": ["PyTorch"],
        "use_instructions": False,
        "n_embedding_parameters": 0,
    }
    places = {"checkpoint": checkpoint} | {key: settings.pop(key) for key in ("adapter",) if settings.get(key)}
    stated["loader_kwargs"] = {key: absolute(path) for key, path in places.items()} | settings
    unknown = ("languages", "license", "max_tokens", "public_training_code", "public_training_data", "release_date")
    return _models.ModelMeta(**dict.fromkeys((*unknown, "training_datasets")) | stated | (facts or {}))


def _waveforms(rows: Iterable[dict[str, Any]], rate_hz: int) -> list[Tensor]:
    """Mono waveforms at a rate; the rows have them at any rate, with any number of channels, decoded or as decoders."""
    clips = ((np.asarray(row["audio"]["array"]), int(row["audio"]["sampling_rate"])) for row in rows)
    return [
        read_waveform({"array": array, "sampling_rate": own_hz}, rate_hz) if array.size else torch.zeros(0)
        for array, own_hz in clips
    ]
