"""A save folder belongs to one experiment: what began in it is kept there, and nothing else goes on in it.

A run that is started again goes on from the newest checkpoint of its save folder. With another network, other data or
another schedule it would do so without a word, or, past its last update, "finish" at once with the old weights.
"""

import logging
import os
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional

import yaml
from omegaconf import OmegaConf

from ...atomic import atomic_writer
from ...training.file_names import MADE_WITH, NEWEST, RECORD_SECTIONS, RUN_RECORD
from ...training.run_record import RecordError, read_record
from ...training.versions import versions

logger = logging.getLogger(__name__)

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


class ExperimentError(ValueError):
    """The save folder holds another experiment."""


class Difference(NamedTuple):
    """A key that two runs have other values of."""

    key: str
    then: Any
    now: Any

    def __str__(self) -> str:
        return f"{self.key}: {_shown(self.then)} then, {_shown(self.now)} now"


def snapshot(run: Any, data: Dict[str, Any]) -> Dict[str, Any]:
    """A run's configuration as plain values, with the identity of its data.

    Args:
        run: the configuration of the whole run.
        data: split -> what its clips are known by.
    """
    plain = OmegaConf.to_container(run, resolve=True, enum_to_str=True)
    return {"data": data, **{name: value for name, value in plain.items() if isinstance(value, dict)}}


def require_same_experiment(save_dir: str, now: Dict[str, Any], extend: bool) -> None:
    """Refuses to go on in a save folder that holds another experiment.

    Args:
        save_dir: the folder; one without a checkpoint or without a record belongs to nobody.
        now: of this run, as `snapshot` gives it.
        extend: whether the keys that a run can be extended by may differ.

    Raises:
        ExperimentError: it is another one; the message names the keys and both values.
    """
    then = _read(Path(save_dir))
    if then is None:
        return
    found = differences(then, now)
    free = [difference for difference in found if _is_free(difference.key, then, now)]
    extendable = [difference for difference in found if difference not in free and _is_extendable(difference.key)]
    held = [difference for difference in found if difference not in free and difference not in extendable]
    if held or (extendable and not extend):
        raise ExperimentError(_refusal(save_dir, held, extendable, free, extend))
    if found:
        logger.info(f"goes on in {save_dir} with {'; '.join(map(str, extendable + free))}")


def record(save_dir: str, now: Dict[str, Any]) -> None:
    """Writes what a run is into its save folder."""
    os.makedirs(save_dir, exist_ok=True)
    with atomic_writer(Path(save_dir) / RUN_RECORD) as handle:
        handle.write("# What runs in this folder, resolved. A run is only continued here with the same.\n")
        yaml.safe_dump({**now, MADE_WITH: versions()}, handle, sort_keys=False, allow_unicode=True)


def differences(then: Dict[str, Any], now: Dict[str, Any]) -> List[Difference]:
    """What differs between two snapshots. A key that the earlier one does not know was added since: no difference."""
    found: List[Difference] = []
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


def _compared(key: str, then: Any, now: Any) -> List[Difference]:
    if isinstance(then, dict) and isinstance(now, dict):
        parts = {**then, **now}
        return [d for name in parts for d in _compared(f"{key}.{name}", then.get(name), now.get(name))]
    if key.startswith("optimizer.") and key.endswith("_name"):
        then, now = _SAME_OPTIMISERS.get(then, then), _SAME_OPTIMISERS.get(now, now)
    if key in _PATHS and then and now:
        then, now = os.path.realpath(then), os.path.realpath(now)
    return [] if then == now else [Difference(key, then, now)]


def _is_free(key: str, then: Dict[str, Any], now: Dict[str, Any]) -> bool:
    if key in _BATCH:
        return _clips_per_update(then) == _clips_per_update(now)
    return key not in _HELD and any(key == free or (free[-1] in "._" and key.startswith(free)) for free in _FREE)


def _is_extendable(key: str) -> bool:
    return key in _EXTENDABLE or key in _BATCH or key.endswith(_EXTENDABLE_ENDS)


def _clips_per_update(snapshot: Dict[str, Any]) -> Optional[List[int]]:
    """For each epoch that has an update_freq of its own; None where batches are not counted in clips."""
    clips = snapshot["dataset"].get("batch_size")
    return clips and [clips * _processes(snapshot) * freq for freq in snapshot["optimization"]["update_freq"]]


def _processes(snapshot: Dict[str, Any]) -> int:
    return snapshot.get("distributed_training", {}).get("distributed_world_size") or 1


def _read(folder: Path) -> Optional[Dict[str, Any]]:
    if not (folder / NEWEST).exists():
        return None
    try:
        return read_record(folder)
    except RecordError as error:
        raise ExperimentError(str(error)) from error


def _refusal(
    save_dir: str, held: List[Difference], extendable: List[Difference], free: List[Difference], extend: bool
) -> str:
    parts = [f"{save_dir} holds the checkpoints of another experiment ({RUN_RECORD} there): "]
    parts.append("; ".join(map(str, held or extendable)))
    if held:
        parts.append(". Give this run a checkpoint.save_dir (SAVE_DIR) of its own")
        if extendable and not extend:
            parts.append(f". {'; '.join(map(str, extendable))}: that alone would be allowed by EXTEND=1")
    else:
        parts.append(
            ". EXTEND=1 (task.extend=true) goes on there with the new values; for a run of its own set SAVE_DIR"
        )
    if free:
        parts.append(f". Also other, and no obstacle: {'; '.join(map(str, free))}")
    return "".join(parts)


def _shown(value: Any) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
