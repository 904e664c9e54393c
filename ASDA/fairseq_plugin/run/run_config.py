"""The configuration of a whole run, seen from its task: finding it, and refusing what cannot work before it starts."""

import os
from typing import Any, Optional


def run_config(cfg: Any) -> Optional[Any]:
    """The configuration of the whole run that a task's is part of; None if that stands alone."""
    root = cfg._get_root() if hasattr(cfg, "_get_root") else None
    parts = ("common", "checkpoint", "dataset", "optimization", "distributed_training")
    return root if root is not None and all(part in root for part in parts) else None


def restore_file(checkpoint: Any) -> str:
    """The checkpoint that a run continues from, if it is there."""
    file = checkpoint.restore_file
    # The default is the one name that is relative to the save folder.
    return os.path.join(checkpoint.save_dir, file) if file == "checkpoint_last.pt" else file


def check_precision(common: Any) -> None:
    """Refuses the modes of fairseq that do nothing, or fail with the optimiser groups of the recipes.

    Raises:
        ValueError: such a mode is on; the message names one that does the same job.
    """
    if common.amp:
        raise ValueError("common.amp fails with optimiser groups; use model.autocast=bf16 common.fp16=false")
    for mode in ("memory_efficient_fp16", "memory_efficient_bf16"):
        if common[mode]:
            raise ValueError(
                f"common.{mode} cannot resume with optimiser groups, and does nothing alone; use "
                f"common.{mode[-4:]}=true without it, or model.autocast=bf16 common.fp16=false"
            )


def check_schedule(run: Any) -> None:
    """Refuses a cosine schedule that ends within its warm-up.

    It would never reach its learning rate. If it ends with its warm-up, fairseq divides by the length of the cosine, 0,
    after the last update and before it saves.

    Raises:
        ValueError: there is one.
    """
    max_update = run.optimization.max_update
    if max_update <= 0:  # optimization.max_epoch ends the run
        return
    schedules = {"lr_scheduler": run.lr_scheduler}
    if run.optimizer is not None and "groups" in run.optimizer:
        for name, group in run.optimizer.groups.items():
            schedules[f"optimizer.groups.{name}.lr_scheduler"] = group.lr_scheduler
    for name, schedule in schedules.items():
        if schedule is None or "warmup_updates" not in schedule or schedule._name != "cosine":
            continue
        if schedule.warmup_updates >= max_update:
            raise ValueError(
                f"{name}.warmup_updates={schedule.warmup_updates} leaves nothing of "
                f"optimization.max_update={max_update} for the cosine; set fewer warm-up updates or more updates"
            )
