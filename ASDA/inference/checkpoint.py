"""Reading checkpoints without fairseq: what is in the file, and what it says about the network and its input."""

from __future__ import annotations

import pickle
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..audio.fbank import FrontEnd
from ..audio.presets import PUBLISHED_FLAGS, get_preset
from ..models._architecture import UnknownLayoutError, recorded_architecture
from ..models._published_names import split_published
from ..safe_globals import allow_numpy_scalars

EXPECTED_KEYS = ("cfg", "model")


class CheckpointError(ValueError):
    """A file that cannot be used as a checkpoint; the message names it and says why."""


@dataclass
class Checkpoint:
    """A trained encoder, perhaps with a head, and what was recorded with it.

    Attributes:
        path: where it came from.
        encoder_config: arguments of SpectrogramEncoder.
        encoder: tensors of the encoder under native names.
        head: ``fc_norm.*`` and ``head.*``; empty for a pre-trained encoder.
        pooling: ``cls`` or ``mean``, for the head.
        front_end: what turns a waveform into the encoder's input.
        label_names: of the classes, in the order of the head; empty if the file does not record them.
        multi_label: whether a clip may have several labels; None if the file does not say.
        independent_scores: True if the head was trained with one sigmoid per class, False if with a softmax.
    """

    path: Path
    encoder_config: dict[str, Any]
    encoder: dict[str, Tensor]
    head: dict[str, Tensor] = field(default_factory=dict)
    pooling: str = "cls"
    front_end: FrontEnd = FrontEnd()
    label_names: list[str] = field(default_factory=list)
    multi_label: bool | None = None
    independent_scores: bool = True

    @property
    def num_classes(self) -> int:
        """Classes of the head; 0 without one."""
        return len(self.head["head.bias"]) if self.head else 0


def load_file(path: str | Path, *, trust: bool = False) -> Any:
    """`torch.load` with weights_only, and with one clear line for everything that can go wrong.

    Args:
        path: the file.
        trust: allow arbitrary pickled objects. Such a file can run any code: only for files whose origin is known.

    Raises:
        CheckpointError: missing, truncated, corrupt, or in need of more than tensors, plain values and NumPy numbers.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint file")
    if path.stat().st_size == 0:
        raise CheckpointError(f"{path}: the file has 0 bytes")
    allow_numpy_scalars()
    try:
        return torch.load(path, map_location="cpu", weights_only=not trust)
    except pickle.UnpicklingError as error:
        if "Weights only load failed" in str(error) and "Unsupported" in str(error) or "GLOBAL" in str(error):
            raise CheckpointError(
                f"{path}: holds more than tensors and plain values ({_offender(error)}); loading it could run code of "
                "whoever made it. If you trust its origin, add --trust-checkpoint (in Python: trust=True)"
            ) from error
        raise CheckpointError(f"{path}: not a checkpoint, or corrupt ({_first_line(error)})") from error
    except (RuntimeError, EOFError, OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise CheckpointError(f"{path}: truncated, corrupt or not a checkpoint ({_first_line(error)})") from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _offender(error: Exception) -> str:
    for line in str(error).splitlines():
        if "GLOBAL" in line or "Unsupported" in line:
            return line.strip().removeprefix("WeightsUnpickler error: ")
    return _first_line(error)


def read_checkpoint(path: str | Path, *, trust: bool = False) -> Checkpoint:
    """Reads a checkpoint of any layout this project knows.

    Raises:
        CheckpointError: see :func:`load_file`; or the layout is not known, with what was expected and found.
    """
    path = Path(path)
    state = load_file(path, trust=trust)
    if not isinstance(state, dict) or any(not isinstance(state.get(key), dict) for key in EXPECTED_KEYS):
        found = f"the keys {', '.join(map(str, state))}" if isinstance(state, dict) else f"a {type(state).__name__}"
        raise CheckpointError(
            f"{path}: unknown checkpoint layout: expected a dictionary with {' and '.join(EXPECTED_KEYS)}, "
            f"found {found}"
        )
    try:
        return describe_state(path, state)
    except UnknownLayoutError as error:
        raise CheckpointError(f"{path}: {error}") from error


def describe_state(path: Path, state: dict) -> Checkpoint:
    """What a fairseq checkpoint (published or of this project) holds."""
    model = state["cfg"]["model"]
    task = state["cfg"].get("task") or {}
    task_state = state.get("task_state") or {}
    parts = split_published(state["model"])
    pretraining = (model.get("pretrained_model_args") or {}).get("model") if parts["head"] else model
    if not pretraining:
        raise UnknownLayoutError(
            "unknown checkpoint layout: expected cfg.model.pretrained_model_args.model, the config of the pre-trained "
            f"encoder, found the keys {', '.join(model)}"
        )
    config = recorded_architecture(pretraining, parts["student"])
    if parts["head"] and model.get("norm_eps") is not None:
        config["norm_eps"] = model["norm_eps"]
    preset = get_preset(next((name for flag, name in PUBLISHED_FLAGS.items() if task.get(flag)), "audioset"))
    if "front_end" in task_state:
        front_end = FrontEnd.from_dict(task_state["front_end"])
    else:
        front_end = FrontEnd(
            task.get("target_length") or preset.target_length_frames, preset.norm_mean, preset.norm_std
        )
    multi_label = task_state.get("multi_label", preset.multi_label if parts["head"] else None)
    return Checkpoint(
        path=path,
        encoder_config=config,
        encoder=parts["student"],
        head=parts["head"],
        pooling="mean" if model.get("prediction_mode") == "MEAN_POOLING" else "cls",
        front_end=front_end,
        label_names=list(task_state.get("label_names") or []),
        multi_label=multi_label,
        independent_scores=not _trained_with_softmax(model, multi_label),
    )


def _trained_with_softmax(model: dict, multi_label: bool | None) -> bool:
    loss = model.get("loss", "auto")
    return loss == "cross_entropy" or (loss == "auto" and multi_label is False and not model.get("mixup"))
