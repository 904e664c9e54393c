"""What differs between two runs, and which of it is an obstacle to going on: by what their records hold."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

from .file_names import RECORD_SECTIONS

_PATHS = ("model.model_path", "task.weights_file")
# What changes nothing of what is learnt: a run goes on with other values of these. With a dot at the end: all below.
_FREE = (
    *("checkpoint.", "task.data", "task.extend", "criterion.log_keys"),
    *(f"common.{name}" for name in ("user_dir", "no_progress_bar", "cpu", "profile", "empty_cache_freq")),
    *(f"common.{name}" for name in ("log_", "tensorboard_", "wandb_", "azureml_", "aim_", "plasma_")),
    *(f"dataset.{name}" for name in ("num_workers", "data_buffer_size", "batch_size_valid", "max_tokens_valid")),
    *(f"dataset.{name}" for name in ("validate_", "disable_validation", "max_valid_steps", "ignore_unused_valid")),
    *("task.max_bad_fraction", "task.max_skipped_updates", "task.fbank_on_device", "task.h5_format"),
    *("model.compile", "model.compile_mode", "model.checkpoint_activations", "model.decoder_backend"),
)
_SAME_OPTIMISERS = {"asda_composite": "composite", "asda_adamw": "adam"}  # either goes on from the other's state
_HELD = ("checkpoint.best_checkpoint_metric", "checkpoint.maximize_best_checkpoint_metric")
# What a run may be extended by, if it is said.
_EXTENDABLE = (
    *(f"optimization.{name}" for name in ("max_update", "max_epoch", "stop_time_hours", "stop_min_lr")),
    *("task.clips_per_update", "task.epochs", "common.fp16", "common.bf16", "model.autocast", "model.tf32"),
)
_EXTENDABLE_ENDS = (".lr_scheduler.max_update", ".lr_scheduler.total_num_update", ".lr_scheduler.warmup_updates")
# Free as long as their product, the clips per update, is kept.
_PROCESSES = "distributed_training.distributed_world_size"
_BATCH = ("dataset.batch_size", "optimization.update_freq", _PROCESSES)


class Difference(NamedTuple):
    """A key that two runs have other values of."""

    key: str
    then: Any
    now: Any

    def __str__(self) -> str:
        return f"{self.key}: {_shown(self.then)} then, {_shown(self.now)} now"


def differences(then: dict[str, Any], now: dict[str, Any]) -> list[Difference]:
    """What differs between two records. A key that the earlier one does not know was added since: no difference."""
    found: list[Difference] = []
    if _processes(then) != _processes(now):
        found.append(Difference(_PROCESSES, _processes(then), _processes(now)))
    for section in RECORD_SECTIONS:
        before, values = then.get(section), now.get(section)
        if not isinstance(values, dict) or not isinstance(before, dict):
            continue
        for name, value in values.items():
            if name in before:
                found += _compared(f"{section}.{name}", before[name], value)
    return found


def is_free(key: str, then: dict[str, Any], now: dict[str, Any]) -> bool:
    """Whether a run may go on with another value of the key without being told to."""
    if key in _BATCH:
        return _clips_per_update(then) == _clips_per_update(now)
    return key not in _HELD and any(key == free or (free[-1] in "._" and key.startswith(free)) for free in _FREE)


def is_extendable(key: str) -> bool:
    """Whether a run may go on with another value of the key if that is asked for."""
    return key in _EXTENDABLE or key in _BATCH or key.endswith(_EXTENDABLE_ENDS)


def _compared(key: str, then: Any, now: Any) -> list[Difference]:
    if isinstance(then, dict) and isinstance(now, dict):
        parts = {**then, **now}
        return [d for name in parts for d in _compared(f"{key}.{name}", then.get(name), now.get(name))]
    if key.startswith("optimizer.") and key.endswith("_name"):
        then, now = _SAME_OPTIMISERS.get(then, then), _SAME_OPTIMISERS.get(now, now)
    if key in _PATHS and then and now:
        then, now = os.path.realpath(then), os.path.realpath(now)
    return [] if then == now else [Difference(key, then, now)]


def _clips_per_update(record: dict[str, Any]) -> list[int] | None:
    """For each epoch that has an update_freq of its own; None where batches are not counted in clips."""
    clips = record["dataset"].get("batch_size")
    return clips and [clips * _processes(record) * freq for freq in record["optimization"]["update_freq"]]


def _processes(record: dict[str, Any]) -> int:
    return record.get("distributed_training", {}).get("distributed_world_size") or 1


def _shown(value: Any) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
