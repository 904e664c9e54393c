"""What a checkpoint holds, whatever its layout: the network, its input and its classes. Needs no fairseq."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...audio.front_end import FrontEnd
from ...data.corpora.corpus import get_corpus
from ..checkpoint import Checkpoint
from ..files import CheckpointError, load_torch_file
from .published_architecture import UnknownLayoutError, recorded_architecture
from .published_names import PUBLISHED_FLAGS, split_published

_POOLINGS = {None: "cls", "CLS_TOKEN": "cls", "MEAN_POOLING": "mean"}


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
        multi_label = _published_corpus(task).multi_label
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


def _published_corpus(task: dict[str, Any]):
    return get_corpus(next((name for flag, name in PUBLISHED_FLAGS.items() if task.get(flag)), "audioset"))


def _front_end(task: dict[str, Any], task_state: dict[str, Any]) -> FrontEnd:
    """As recorded; published files do not, but say which data set they were trained on."""
    if task_state.get("front_end"):
        return FrontEnd.from_dict(task_state["front_end"])
    corpus = _published_corpus(task)
    return FrontEnd(task.get("target_length") or corpus.target_length_frames, corpus.norm_mean, corpus.norm_std)


def _trained_with_softmax(model: dict[str, Any], multi_label: bool | None) -> bool:
    loss = model.get("loss", "auto")
    return loss == "cross_entropy" or (loss == "auto" and multi_label is False and not model.get("mixup"))
