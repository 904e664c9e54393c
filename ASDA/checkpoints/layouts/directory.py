"""A trained model as a directory that needs no fairseq.

| file | what it holds |
|---|---|
| `config.json` | architecture (lambda and out_scale included), normalisation statistics, label names |
| `model.safetensors` | `encoder.*` and, when fine-tuned, `fc_norm.*` and `head.*` |
| `training.json` | the fairseq config and the state of the run, for going back to a `.pt` file |
| `pretraining.safetensors` | `decoder.*` and `teacher.*` of a pre-training checkpoint, for the same |

The first two are all that using the model takes. The optimiser's state stays behind.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...atomic import atomic_writer
from ...audio.front_end import FrontEnd
from ..checkpoint import Checkpoint
from ..files import CheckpointError, load_safetensors, save_safetensors
from .project import describe_state
from .published_names import TEACHER_KEY, TEACHER_UPDATES_KEY, split_published, to_published

MODEL_TYPE = "asda"
FORMAT_VERSION = 1
CONFIG, MODEL, TRAINING, PRETRAINING = (
    "config.json",
    "model.safetensors",
    "training.json",
    "pretraining.safetensors",
)


def write_directory(
    folder: Path, state: dict[str, Any], source: Path, extra_config: dict[str, Any] | None = None
) -> None:
    """Writes a checkpoint of this project's layout as a directory.

    Args:
        folder: made if it does not exist.
        state: a fairseq checkpoint in this project's layout.
        source: its name, for errors.
        extra_config: more entries for `config.json`.

    Raises:
        CheckpointError: the layout is not known.
    """
    checkpoint = describe_state(source, state)
    parts = split_published(state["model"])
    training_tensors = {f"decoder.{n}": t for n, t in parts["decoder"].items()}
    training_tensors |= {f"teacher.{n}": t for n, t in parts["teacher"].items()}
    if training_tensors:
        save_safetensors(training_tensors, folder / PRETRAINING)
    else:  # a pre-training checkpoint may have been here before
        (folder / PRETRAINING).unlink(missing_ok=True)
    _write_json(folder / TRAINING, _training_record(state))
    write_model(folder, checkpoint, extra_config)


def write_model(folder: Path, checkpoint: Checkpoint, extra_config: dict[str, Any] | None = None) -> None:
    """Writes `config.json` and `model.safetensors`, which is all that using a model takes.

    Args:
        folder: made if it does not exist.
        checkpoint: the model.
        extra_config: more entries for `config.json`.
    """
    tensors = {f"encoder.{name}": tensor for name, tensor in checkpoint.encoder.items()}
    save_safetensors(tensors | checkpoint.head, folder / MODEL)
    # Last, as it is what makes the folder a checkpoint.
    _write_json(folder / CONFIG, describe(checkpoint) | (extra_config or {}))


def describe(checkpoint: Checkpoint) -> dict[str, Any]:
    """The contents of `config.json`."""
    head = None
    if checkpoint.head:
        head = {
            "num_classes": checkpoint.num_classes,
            "pooling": checkpoint.pooling,
            "use_fc_norm": "fc_norm.weight" in checkpoint.head,
            "independent_scores": checkpoint.independent_scores,
            "multi_label": checkpoint.multi_label,
            "label_names": checkpoint.label_names,
        }
    return {
        "model_type": MODEL_TYPE,
        "format_version": FORMAT_VERSION,
        "encoder": checkpoint.encoder_config,
        "front_end": checkpoint.front_end.to_dict(),
        "head": head,
    }


def read_directory(folder: Path) -> Checkpoint:
    """What a directory written by :func:`write_directory` holds.

    Raises:
        CheckpointError: a file is missing, damaged or not of this layout.
    """
    config = read_config(folder)
    tensors = load_safetensors(folder / MODEL)
    encoder = {n.removeprefix("encoder."): t for n, t in tensors.items() if n.startswith("encoder.")}
    head = {n: t for n, t in tensors.items() if not n.startswith("encoder.")}
    described = config["head"] or {}
    if bool(head) != bool(described):
        raise CheckpointError(
            f"{folder}: {CONFIG} describes {'a' if described else 'no'} head, {MODEL} holds {', '.join(head) or 'none'}"
        )
    return Checkpoint(
        path=folder,
        encoder_config=config["encoder"],
        encoder=encoder,
        front_end=FrontEnd.from_dict(config["front_end"]),
        head=head,
        pooling=described.get("pooling", "cls"),
        label_names=list(described.get("label_names", [])),
        multi_label=described.get("multi_label"),
        independent_scores=described.get("independent_scores", True),
    )


def read_config(folder: Path) -> dict[str, Any]:
    """`config.json` of a directory.

    Raises:
        CheckpointError: it is missing, not json, or not of this layout; with what was expected and found.
    """
    config = _read_json(folder / CONFIG)
    if isinstance(config, dict) and config.get("model_type") not in (None, MODEL_TYPE):
        raise CheckpointError(
            f"{folder}: a model of another kind (model_type={config['model_type']}), expected {MODEL_TYPE}; EAT's own "
            "export brings code of its own along: use the .pt file it was made from"
        )
    expected = ("model_type", "format_version", "encoder", "front_end", "head")
    if not isinstance(config, dict) or config.get("model_type") != MODEL_TYPE or any(k not in config for k in expected):
        found = f"the keys {', '.join(config)}" if isinstance(config, dict) else f"a {type(config).__name__}"
        raise CheckpointError(
            f"{folder / CONFIG}: unknown layout: expected {', '.join(expected)} and model_type={MODEL_TYPE}, "
            f"found {found}"
        )
    if config["format_version"] > FORMAT_VERSION:
        raise CheckpointError(
            f"{folder / CONFIG}: format_version is {config['format_version']}, this program knows up to "
            f"{FORMAT_VERSION}; update it"
        )
    return config


def read_directory_state(folder: Path) -> dict[str, Any]:
    """The fairseq checkpoint, in this project's layout, that a directory was made from; without optimiser state.

    Raises:
        CheckpointError: see :func:`read_directory`; or the directory does not hold what fairseq needs.
    """
    checkpoint = read_directory(folder)
    record = _read_json(folder / TRAINING)
    outer = "model." if checkpoint.head else ""
    model: dict[str, Any] = {outer + to_published(f"student.{n}"): t for n, t in checkpoint.encoder.items()}
    model |= checkpoint.head
    if (folder / PRETRAINING).exists():
        model |= _pretraining_tensors(load_safetensors(folder / PRETRAINING), record.get(TEACHER_UPDATES_KEY))
    state = {name: value for name, value in record.items() if name != TEACHER_UPDATES_KEY}
    # config.json is what people read and edit: it has the last word.
    task_state = {**state["task_state"], "front_end": checkpoint.front_end.to_dict()}
    if checkpoint.head:
        task_state |= {"label_names": checkpoint.label_names, "multi_label": checkpoint.multi_label}
    return {**state, "model": model, "task_state": task_state}


def _pretraining_tensors(tensors: dict[str, Tensor], teacher_updates: int | None) -> dict[str, Any]:
    model: dict[str, Any] = {to_published(n): t for n, t in tensors.items() if n.startswith("decoder.")}
    teacher = {
        to_published(f"student.{n.removeprefix('teacher.')}"): t for n, t in tensors.items() if n.startswith("teacher.")
    }
    if teacher:
        model[TEACHER_KEY] = teacher
    if teacher_updates is not None:
        model[TEACHER_UPDATES_KEY] = torch.tensor(teacher_updates)
    return model


def _training_record(state: dict[str, Any]) -> dict[str, Any]:
    """Everything of a checkpoint but its tensors and the running averages of the log."""
    record = {k: v for k, v in state.items() if k not in ("model", "last_optimizer_state")}
    record["extra_state"] = {k: v for k, v in (state.get("extra_state") or {}).items() if k != "metrics"}
    record["last_optimizer_state"] = None
    if TEACHER_UPDATES_KEY in state["model"]:
        record[TEACHER_UPDATES_KEY] = int(state["model"][TEACHER_UPDATES_KEY])
    return record


def _read_json(path: Path) -> Any:
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path}: truncated, corrupt or not json ({error})") from error


def _write_json(path: Path, value: Any) -> None:
    try:
        text = json.dumps(value, indent=2, ensure_ascii=False)
    except TypeError as error:  # what a trusted file may hold
        raise CheckpointError(f"{path}: {error}; only plain values can be written to a directory") from error
    with atomic_writer(path) as file:
        file.write(f"{text}\n")
