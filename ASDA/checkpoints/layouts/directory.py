"""A trained model as a directory that needs no fairseq.

| file | what it holds |
|---|---|
| `config.json` | architecture, front end, head, label names; how the encoder is adapted, if it is |
| `model.safetensors` | tensors of SpectrogramClassifier: `encoder.*` and, when fine-tuned, `head.*` |
| `training.json` | the fairseq config and the state of the run, for going back to a `.pt` file |
| `pretraining.safetensors` | `decoder.*`, `teacher.*` and the like of a pre-training checkpoint, for the same |

The first two are all that using the model takes. The optimiser's state stays behind. Directories of format version 1,
where the architecture was a flat table, are read too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ...adaptation.adapting import from_dicts, split_added, to_dicts
from ...atomic import atomic_writer
from ...core.config import ConfigError, EncoderConfig, HeadConfig
from ..checkpoint import Checkpoint
from ..consistency import front_end_of
from ..contents import CONFIG, Contents, read_json
from ..files import CheckpointError, load_safetensors, safetensors_sizes, save_safetensors
from ..validation import expect_flag, expect_history, expect_key, expect_mapping, expect_number, expect_texts
from .directory_version_1 import upgrade_config, upgrade_name
from .published_names import TEACHER_UPDATES_KEY
from .trainer import trainer_layout
from .transformers_config import is_model

MODEL_TYPE = "asda"
FORMAT_VERSION = 2
EXPECTED = f"a directory whose {CONFIG} says model_type={MODEL_TYPE}"
ADAPTATION = "adaptation"
RECORDED_RUN = "recorded_run"  # false: of a model that was not trained here, there is no training.json
_NOT_TRAINED = ("teacher", "input_norm", "decoder.positions")
MODEL, TRAINING, PRETRAINING = "model.safetensors", "training.json", "pretraining.safetensors"


def knows(contents: Contents) -> bool:
    """Whether the contents have this layout."""
    return is_model(contents, MODEL_TYPE)


def read(contents: Contents) -> Checkpoint:
    """What such a directory holds.

    Raises:
        CheckpointError: a file is missing, damaged or not of this layout.
    """
    folder, config = contents.path, _checked_config(contents)
    tensors = {upgrade_name(name): tensor for name, tensor in load_safetensors(folder / MODEL).items()}
    parts = {part: part_of(tensors, f"{part}.") for part in ("encoder", "head")}
    encoder, adapters = split_added(parts["encoder"])
    described = config["head"]
    if bool(parts["head"]) != bool(described) or len(tensors) != sum(map(len, parts.values())):
        raise CheckpointError(
            f"{folder}: {CONFIG} describes {'a' if described else 'no'} head, {MODEL} holds, beside encoder.*, "
            f"{', '.join(name for name in tensors if not name.startswith('encoder.')) or 'nothing'}"
        )
    training = folder / TRAINING
    record = expect_mapping(training, "the contents", read_json(training) if training.is_file() else {})
    history = expect_history(training, record.get("optimizer_history"))
    try:
        return Checkpoint(
            path=folder,
            layout="directory",
            encoder_config=EncoderConfig.from_dict(config["encoder"]),
            encoder=encoder,
            front_end=front_end_of(folder / CONFIG, "front_end", config["front_end"]),
            head=parts["head"],
            **read_head(folder / CONFIG, described),
            training_config=record.get("cfg"),
            training_parts=_training_parts(folder / PRETRAINING),
            num_updates=history[-1].get("num_updates"),
            adaptation=from_dicts(config.get(ADAPTATION, [])),
            adapters=adapters,
        )
    except CheckpointError:
        raise
    except (ConfigError, TypeError, ValueError) as error:
        raise CheckpointError(f"{folder / CONFIG}: {error}") from error


def training_state(contents: Contents) -> dict[str, Any] | None:
    """The checkpoint of fairseq's trainer that a directory was made from, without optimiser state; None if of no run.

    Raises:
        CheckpointError: see :func:`read`; or the directory does not hold what fairseq needs.
    """
    folder, checkpoint = contents.path, read(contents)
    if not expect_flag(folder / CONFIG, RECORDED_RUN, contents.config.get(RECORDED_RUN, True)):
        return None
    record = read_json(folder / TRAINING)
    for table in ("cfg", "task_state"):
        expect_mapping(folder / TRAINING, table, expect_key(folder / TRAINING, "", record, table))
    if record.get("extra_state") is not None:
        expect_mapping(folder / TRAINING, "extra_state", record["extra_state"])
    updates = record.get(TEACHER_UPDATES_KEY)
    expect_number(folder / TRAINING, TEACHER_UPDATES_KEY, updates, low=0, high=10**15, whole=True, optional=True)
    expect_mapping(folder / TRAINING, "cfg.model", expect_key(folder / TRAINING, "cfg", record["cfg"], "model"))
    outside = load_safetensors(folder / PRETRAINING) if (folder / PRETRAINING).exists() else {}
    outside = {_upgraded(name): tensor for name, tensor in outside.items()}
    layout = trainer_layout(record["cfg"])
    cfg_model = {**record["cfg"]["model"], "encoder": checkpoint.encoder_config.to_dict()}
    state = {name: value for name, value in record.items() if name != TEACHER_UPDATES_KEY}
    state |= {"cfg": {**record["cfg"], "model": cfg_model}, "model": layout.join(checkpoint, outside, record)}
    if checkpoint.head:
        labels = {"label_names": checkpoint.label_names, "multi_label": checkpoint.multi_label}
        state["task_state"] = {**state["task_state"], **labels}
    # config.json is what people read and edit: it has the last word.
    return layout.with_front_end(folder, state, checkpoint.front_end)


def write(
    folder: Path, checkpoint: Checkpoint, state: dict[str, Any] | None, extra_config: dict[str, Any] | None = None
) -> None:
    """Writes a checkpoint as a directory.

    Args:
        folder: made if it does not exist.
        checkpoint: the model.
        state: the checkpoint of fairseq's trainer that it is part of, in this project's spelling; or None.
        extra_config: more entries for `config.json`.
    """
    training = trainer_layout(state["cfg"]).outside_encoder(state) if state else {}
    # What an earlier model has left here must not stay beside this one.
    if training:
        save_safetensors(training, folder / PRETRAINING)
    else:
        (folder / PRETRAINING).unlink(missing_ok=True)
    if state:
        write_json(folder / TRAINING, _training_record(state))
    else:
        (folder / TRAINING).unlink(missing_ok=True)
    encoder = {**checkpoint.encoder, **checkpoint.adapters}
    tensors = {f"encoder.{name}": tensor for name, tensor in encoder.items()}
    tensors |= {f"head.{name}": tensor for name, tensor in checkpoint.head.items()}
    save_safetensors(tensors, folder / MODEL)
    # Last, as it is what makes the folder a checkpoint.
    write_json(folder / CONFIG, describe(checkpoint) | {RECORDED_RUN: state is not None} | (extra_config or {}))


def describe(checkpoint: Checkpoint) -> dict[str, Any]:
    """The contents of `config.json`."""
    return {
        "model_type": MODEL_TYPE,
        "format_version": FORMAT_VERSION,
        "encoder": checkpoint.encoder_config.to_dict(),
        "front_end": checkpoint.front_end.to_dict(),
        "head": describe_head(checkpoint),
    } | ({ADAPTATION: to_dicts(checkpoint.adaptation)} if checkpoint.adaptation else {})


def describe_head(model: Any) -> dict[str, Any] | None:
    """The head in `config.json`, of a Checkpoint or an Adapter; None without one."""
    if model.head_config is None:
        return None
    return model.head_config.to_dict() | {
        "independent_scores": model.independent_scores,
        "multi_label": model.multi_label,
        "label_names": model.label_names,
    }


def read_head(file: Path, described: Mapping[str, Any] | None) -> dict[str, Any]:
    """Inverse of :func:`describe_head`: the head's fields of a Checkpoint or an Adapter.

    Raises:
        CheckpointError, ConfigError: a setting is missing, unknown or of another kind.
    """
    settings = dict(described or {})
    multi_label, names = settings.pop("multi_label", None), settings.pop("label_names", [])
    independent_scores = settings.pop("independent_scores", True)
    return {
        "head_config": HeadConfig.from_dict(settings) if described else None,
        "label_names": expect_texts(file, "head.label_names", names),
        "multi_label": multi_label,
        "independent_scores": independent_scores,
    }


def _checked_config(contents: Contents) -> dict[str, Any]:
    file, config = contents.path / CONFIG, contents.config
    expected = ("model_type", "format_version", "encoder", "front_end", "head")
    missing = [key for key in expected if key not in config]
    if missing:
        raise CheckpointError(
            f"{file}: {missing[0]} is missing; expected {', '.join(expected)}, found {', '.join(config)}"
        )
    version = config["format_version"]
    if not isinstance(version, int) or not 1 <= version <= FORMAT_VERSION:
        raise CheckpointError(
            f"{file}: format_version is {version!r}, this program knows 1 to {FORMAT_VERSION}; update it"
        )
    if not isinstance(config["front_end"], dict) or not isinstance(config["head"], (dict, type(None))):
        raise CheckpointError(f"{file}: front_end and head: expected tables of settings (or no head: null)")
    try:
        return upgrade_config(config) if version == 1 else config
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{file}: {error}") from error


def _training_parts(file: Path) -> dict[str, int]:
    """Parameters of what is used in training alone, by part: neither a teacher's, nor what is no parameter."""
    parts: dict[str, int] = {}
    for name, size in (safetensors_sizes(file) if file.is_file() else {}).items():
        part = name.split(".")[0]
        if part not in _NOT_TRAINED and name not in _NOT_TRAINED:
            parts[part] = parts.get(part, 0) + size
    return parts


def part_of(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _upgraded(name: str) -> str:
    """The name of a teacher's tensor today; other names stay."""
    part, _, inside = name.partition(".")
    return f"{part}.{upgrade_name(inside)}" if part == "teacher" else name


def _training_record(state: dict[str, Any]) -> dict[str, Any]:
    """Everything of a checkpoint but its tensors and the running averages of the log."""
    record = {k: v for k, v in state.items() if k not in ("model", "last_optimizer_state")}
    record["extra_state"] = {k: v for k, v in (state.get("extra_state") or {}).items() if k != "metrics"}
    record["last_optimizer_state"] = None
    if TEACHER_UPDATES_KEY in state["model"]:
        record[TEACHER_UPDATES_KEY] = int(state["model"][TEACHER_UPDATES_KEY])
    return record


def write_json(path: Path, value: Any) -> None:
    try:
        text = json.dumps(value, indent=2, ensure_ascii=False)
    except TypeError as error:  # what a trusted file may hold
        raise CheckpointError(f"{path}: {error}; only plain values can be written to a directory") from error
    with atomic_writer(path) as file:
        file.write(f"{text}\n")
