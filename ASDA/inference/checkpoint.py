"""What a checkpoint holds, whatever its layout: the network, its input and its classes. Needs no fairseq."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from ..audio.fbank import FrontEnd
from ..audio.presets import PUBLISHED_FLAGS, get_preset
from ..models._architecture import UnknownLayoutError, recorded_architecture
from ..models._published_names import split_published
from .files import CheckpointError, load_torch_file

_POOLINGS = {None: "cls", "CLS_TOKEN": "cls", "MEAN_POOLING": "mean"}


@dataclass
class Checkpoint:
    """A trained encoder, perhaps with a head, and what was recorded with it.

    Attributes:
        path: where it came from.
        encoder_config: arguments of SpectrogramEncoder.
        encoder: tensors of the encoder under native names.
        front_end: what turns a waveform into the encoder's input.
        head: ``fc_norm.*`` and ``head.*``; empty for a pre-trained encoder.
        pooling: ``cls`` or ``mean``, for the head.
        label_names: of the classes, in the order of the head; empty if the file does not record them.
        multi_label: whether a clip may have several labels; None if the file does not say.
        independent_scores: True if the head was trained with one sigmoid per class, False if with a softmax.
    """

    path: Path
    encoder_config: dict[str, Any]
    encoder: dict[str, Tensor]
    front_end: FrontEnd
    head: dict[str, Tensor] = field(default_factory=dict)
    pooling: str = "cls"
    label_names: list[str] = field(default_factory=list)
    multi_label: bool | None = None
    independent_scores: bool = True

    @property
    def num_classes(self) -> int:
        """Classes of the head; 0 without one."""
        return len(self.head["head.bias"]) if self.head else 0


def read_checkpoint(path: str | Path, *, trust: bool = False) -> Checkpoint:
    """Reads a checkpoint of any layout this project knows, file or directory.

    Args:
        path: a `.pt` file of ASDA, EAT or this project, or a directory with `config.json` and `model.safetensors`.
        trust: see :func:`ASDA.inference.files.load_torch_file`.

    Raises:
        CheckpointError: it cannot be read, or its layout is not known; then with what was expected and found.
    """
    path = Path(path)
    if path.is_dir():
        from .directory import read_directory  # which builds on this module

        return read_directory(path)
    return describe_state(path, read_state(path, trust=trust))


def read_state(path: Path, *, trust: bool = False) -> dict[str, Any]:
    """The contents of a fairseq checkpoint, with a plain config.

    Raises:
        CheckpointError: see :func:`read_checkpoint`.
    """
    state = load_torch_file(path, trust=trust)
    if isinstance(state, dict) and type(state.get("cfg")).__module__.startswith("omegaconf"):
        from omegaconf import OmegaConf  # only reached with trust=True

        state["cfg"] = OmegaConf.to_container(state["cfg"], resolve=True, enum_to_str=True)
    expected = ("cfg", "model")
    if not isinstance(state, dict) or any(not isinstance(state.get(key), dict) for key in expected):
        found = f"the keys {', '.join(map(str, state))}" if isinstance(state, dict) else f"a {type(state).__name__}"
        raise CheckpointError(
            f"{path}: unknown checkpoint layout: expected a dictionary with {' and '.join(expected)}, found {found}"
        )
    if not isinstance(state["cfg"].get("model"), dict):
        raise CheckpointError(
            f"{path}: unknown checkpoint layout: expected the model's config under cfg.model, found the keys "
            f"{', '.join(map(str, state['cfg']))}"
        )
    return state


def pretraining_model_config(cfg: dict[str, Any]) -> dict[str, Any]:
    """``cfg.model`` of the pre-trained encoder; in a fine-tuned checkpoint it is nested.

    Raises:
        UnknownLayoutError: a fine-tuned checkpoint that does not hold it.
    """
    model = cfg["model"]
    if "num_heads" in model:
        return model
    nested = (model.get("pretrained_model_args") or {}).get("model")
    if not nested:
        raise UnknownLayoutError(
            "unknown checkpoint layout: expected the config of the pre-trained encoder in cfg.model or in "
            f"cfg.model.pretrained_model_args.model, found the keys {', '.join(model)}"
        )
    return nested


def describe_state(path: Path, state: dict[str, Any]) -> Checkpoint:
    """What a fairseq checkpoint (published or of this project) holds.

    Raises:
        CheckpointError: its layout is not known.
    """
    model = state["cfg"]["model"]
    parts = split_published(state["model"])
    try:
        if parts["other"]:
            names = list(parts["other"])
            raise UnknownLayoutError(
                "unknown checkpoint layout: expected the tensors of an ASDA or EAT model (modality_encoders.IMAGE.*, "
                "blocks.N.*; when fine-tuned with `model.` before them, and fc_norm.*, head.*), found "
                f"{len(names)} others: {', '.join(names[:8])}{' ...' if len(names) > 8 else ''}"
            )
        config = recorded_architecture(pretraining_model_config(state["cfg"]), parts["student"])
    except UnknownLayoutError as error:
        raise CheckpointError(f"{path}: {error}") from error
    if parts["head"] and model.get("norm_eps") is not None:
        config["norm_eps"] = model["norm_eps"]
    task_state = state.get("task_state") or {}
    task = state["cfg"].get("task") or {}
    multi_label = task_state.get("multi_label")
    if multi_label is None and parts["head"]:
        multi_label = _published_preset(task).multi_label
    return Checkpoint(
        path=path,
        encoder_config=config,
        encoder=parts["student"],
        front_end=_front_end(task, task_state),
        head=parts["head"],
        pooling=_pooling(path, model) if parts["head"] else "cls",
        label_names=list(task_state.get("label_names") or []),
        multi_label=multi_label,
        independent_scores=not _trained_with_softmax(model, multi_label),
    )


def _pooling(path: Path, model: dict[str, Any]) -> str:
    """Which token the head sees; published files spell it `MEAN_POOLING` or `PredictionMode.MEAN_POOLING`."""
    mode = model.get("prediction_mode")
    mode = mode if mode is None else str(mode).rpartition(".")[2]
    if mode not in _POOLINGS:
        raise CheckpointError(
            f"{path}: prediction_mode is {model['prediction_mode']}, expected CLS_TOKEN or MEAN_POOLING"
        )
    return _POOLINGS[mode]


def _published_preset(task: dict[str, Any]):
    return get_preset(next((name for flag, name in PUBLISHED_FLAGS.items() if task.get(flag)), "audioset"))


def _front_end(task: dict[str, Any], task_state: dict[str, Any]) -> FrontEnd:
    """As recorded; published files do not, but say which data set they were trained on."""
    if task_state.get("front_end"):
        return FrontEnd.from_dict(task_state["front_end"])
    preset = _published_preset(task)
    return FrontEnd(task.get("target_length") or preset.target_length_frames, preset.norm_mean, preset.norm_std)


def _trained_with_softmax(model: dict[str, Any], multi_label: bool | None) -> bool:
    loss = model.get("loss", "auto")
    return loss == "cross_entropy" or (loss == "auto" and multi_label is False and not model.get("mixup"))
