"""The configuration of a whole run, seen from its task: finding it, and refusing what cannot work before it starts."""

from typing import Any, Optional


def run_config(cfg: Any) -> Optional[Any]:
    """The configuration of the whole run that a task's is part of; None if that stands alone."""
    root = cfg._get_root() if hasattr(cfg, "_get_root") else None
    parts = ("common", "checkpoint", "dataset", "optimization", "distributed_training")
    return root if root is not None and all(part in root for part in parts) else None


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
    """Refuses a cosine schedule without a cosine, which fairseq divides by, at the end of the run, before it saves.

    Raises:
        ValueError: there is one.
    """
    groups = (run.get("optimizer") or {}).get("groups") or {}
    schedules = {f"optimizer.groups.{name}.lr_scheduler": group.get("lr_scheduler") for name, group in groups.items()}
    for name, schedule in {"lr_scheduler": run.get("lr_scheduler"), **schedules}.items():
        warmup = (schedule or {}).get("warmup_updates")
        if warmup == run.optimization.max_update and schedule["_name"] == "cosine":
            raise ValueError(
                f"{name}.warmup_updates={warmup} leaves nothing of optimization.max_update={warmup} for the cosine; "
                "set fewer warm-up updates or more updates"
            )
