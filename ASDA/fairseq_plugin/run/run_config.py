"""The configuration of a whole run, seen from its task: finding it, and refusing what cannot work before it starts."""

import logging
import os
from typing import Any, Dict, Optional

from fairseq.logging import progress_bar

from ...training.epoch_decay import EPOCH_DECAY
from ...training.file_names import NEWEST
from ...training.updates import updates_per_epoch
from .schedule import COSINES

logger = logging.getLogger(__name__)


def run_config(cfg: Any) -> Optional[Any]:
    """The configuration of the whole run that a task's is part of; None if that stands alone."""
    root = cfg._get_root() if hasattr(cfg, "_get_root") else None
    parts = ("common", "checkpoint", "dataset", "optimization", "distributed_training")
    return root if root is not None and all(part in root for part in parts) else None


def starting_checkpoint(cfg: Any) -> Optional[str]:
    """The file that the run of a task's config goes on from, where fairseq looks for it; None if that stands alone."""
    run = run_config(cfg)
    if run is None:
        return None
    file = run.checkpoint.restore_file
    if file != NEWEST:  # the default, and the one name that is relative to the save folder
        return file
    last = os.path.join(run.checkpoint.save_dir, file)
    return last if os.path.isfile(last) else run.checkpoint.finetune_from_model or last


def check_precision(run: Any) -> None:
    """Refuses modes that do nothing, fail with the optimiser groups of the recipes, or exclude each other.

    Raises:
        ValueError: such a mode is on; the message names one that does the same job.
    """
    common = run.common
    if common.amp:
        raise ValueError("common.amp fails with optimiser groups; use model.autocast=bf16 common.fp16=false")
    for mode in ("memory_efficient_fp16", "memory_efficient_bf16"):
        if common[mode]:
            raise ValueError(
                f"common.{mode} cannot resume with optimiser groups, and does nothing alone; use "
                f"common.{mode[-4:]}=true without it, or model.autocast=bf16 common.fp16=false"
            )
    autocast = value_in(run, "model", "autocast")
    if value_in(run, "common", "fp16") and getattr(autocast, "name", autocast) == "bf16":
        raise ValueError(
            "model.autocast=bf16 computes in bf16 from float32 weights, but common.fp16=true makes them float16; set "
            "common.fp16=false beside it, or model.autocast=none"
        )


def check_trackers(run: Any) -> None:
    """Refuses to log to a service whose package is not there; fairseq would say a line and log nothing.

    TensorBoard, which nobody asked for, is switched off with a warning instead.

    Raises:
        ValueError: a service was asked for that this installation cannot reach.
    """
    wanted = {
        "wandb_project": ("wandb", progress_bar.wandb),
        "aim_repo": ("aim", progress_bar.get_aim_run),
        "azureml_logging": ("azureml-core", progress_bar.Run),
    }
    for key, (package, found) in wanted.items():
        value = value_in(run, "common", key)
        if value and found is None:
            raise ValueError(
                f"common.{key}={str(value).lower() if value is True else value}, but {package} cannot be imported; "
                f"pip install {package}, or leave common.{key} out"
            )
    if value_in(run, "common", "tensorboard_logdir") and progress_bar.SummaryWriter is None:
        logger.warning(
            "no TensorBoard logs: tensorboard cannot be imported; pip install tensorboard, or set "
            "common.tensorboard_logdir=null"
        )
        run.common.tensorboard_logdir = None


def check_best_metric(run: Any, reported: Dict[str, Optional[bool]]) -> None:
    """Refuses a metric to choose checkpoints by that no validation will report, and one that is read upside down.

    Args:
        run: the configuration.
        reported: the names that a validation reports -> whether more is better; None: either may be meant.

    Raises:
        ValueError: the metric is not among them, or its worst value would count as its best.
    """
    name = value_in(run, "checkpoint", "best_checkpoint_metric")
    if value_in(run, "dataset", "disable_validation") or name is None:
        return
    maximise = run.checkpoint.maximize_best_checkpoint_metric
    if name not in reported:
        raise ValueError(
            f"checkpoint.best_checkpoint_metric={name}, but a validation of this task reports {', '.join(reported)}; "
            "name one of these"
        )
    if reported[name] not in (None, maximise):
        raise ValueError(
            f"checkpoint.maximize_best_checkpoint_metric={str(maximise).lower()} would keep the checkpoint with the "
            f"worst {name}; set it to {str(reported[name]).lower()}"
        )


def value_in(run: Any, part: str, key: str) -> Any:
    """A value of a part of the configuration; None if there is none."""
    return run[part][key] if part in run and run[part] is not None and key in run[part] else None


def set_epochs(run: Any, epochs: int, clips: int, processes: int) -> int:
    """Sets the length of a run in passes over its clips, and warm-ups to a tenth of it.

    The warm-up of a schedule by epochs stays: its steps would begin before the warm-up ends.

    Args:
        run: the configuration of the whole run.
        epochs: that many passes.
        clips: in each of them.
        processes: on all machines.

    Returns:
        The number of updates.

    Raises:
        ValueError: batches are not counted in clips, or there is nothing to do.
    """
    batch = run.dataset.batch_size
    if epochs < 1 or batch is None:
        raise ValueError(f"task.epochs={epochs} needs a number of at least 1 and dataset.batch_size, which is {batch}")
    updates = epochs * updates_per_epoch(clips, batch, processes, run.optimization.update_freq[0])
    run.optimization.max_update = updates
    for schedule in _schedules(run).values():
        if "warmup_updates" in schedule and schedule._name != EPOCH_DECAY:
            schedule.warmup_updates = updates // 10
    return updates


def _schedules(run: Any) -> Dict[str, Any]:
    """Those of the run, by their place in its configuration."""
    schedules = {"lr_scheduler": run.lr_scheduler}
    if run.optimizer is not None and "groups" in run.optimizer:
        for name, group in run.optimizer.groups.items():
            schedules[f"optimizer.groups.{name}.lr_scheduler"] = group.lr_scheduler
    return {name: schedule for name, schedule in schedules.items() if schedule is not None}


# Schedules that fall after their warm-up, in words.
_DECAYS = {**dict.fromkeys(COSINES, "cosine"), "polynomial_decay": "decay", EPOCH_DECAY: "decay"}


def check_schedule(run: Any) -> None:
    """Refuses a schedule that ends within its warm-up.

    It would never reach its learning rate. If a cosine ends with its warm-up, fairseq divides by its length, 0, after
    the last update and before it saves.

    Raises:
        ValueError: there is one.
    """
    max_update = run.optimization.max_update
    if max_update <= 0:  # optimization.max_epoch ends the run
        return
    for name, schedule in _schedules(run).items():
        if "warmup_updates" not in schedule or schedule._name not in _DECAYS:
            continue
        if schedule.warmup_updates >= max_update:
            raise ValueError(
                f"{name}.warmup_updates={schedule.warmup_updates} leaves nothing of "
                f"optimization.max_update={max_update} for the {_DECAYS[schedule._name]}; "
                "set fewer warm-up updates or more updates"
            )
