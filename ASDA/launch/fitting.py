"""Does a run fit into memory? Fewer clips a step are planned where that helps; else it is refused with what fits.

On a GPU that has room for more, fewer and larger steps are planned: each costs the host the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from .batch_plan import Batch, BatchPlan
from .memory import Machine, Workload, peak_bytes
from .settings import LaunchError

_ROOM = 0.8
"""Share of what is available that more clips a step than the recipe's may take: no GPU has confirmed the estimate."""


@dataclass(frozen=True)
class Budget:
    """The memory of a run: what it takes, and what there is.

    Attributes:
        work: what each process trains.
        machine: how each computes.
        processes: that share the memory: all on this machine on a CPU; 1 on a GPU, which has its own.
        available_bytes: what there is for them; None: not known, or not asked.
    """

    work: Workload
    machine: Machine
    processes: int
    available_bytes: float | None

    def needed_bytes(self, clips: int) -> float:
        """An estimate of what the processes take, with so many clips a step each."""
        return self.processes * peak_bytes(self.work, self.machine, clips)

    def fits(self, clips: int) -> bool:
        return self.available_bytes is None or self.needed_bytes(clips) <= self.available_bytes

    def most_clips(self, up_to: int) -> int:
        """The most clips a step that fit, 0 if not even one does."""
        return next((clips for clips in range(up_to, 0, -1) if self.fits(clips)), 0)

    def describe(self, clips: int) -> str:
        """The estimate beside what there is."""
        there = "" if self.available_bytes is None else f" of {_gigabytes(self.available_bytes)} available"
        each = " on each GPU" if self.machine.device == "cuda" else ""
        return f"about {_gigabytes(self.needed_bytes(clips))}{there}{each}"

    def for_other(self, work: Workload) -> Budget:
        return replace(self, work=work)


def fit_batch(
    batch: Batch, everywhere: int, budget: Budget, sizes: Iterable[tuple[str, Workload]]
) -> tuple[BatchPlan, str]:
    """The plan of a batch that fits into memory, and a line on how much it takes.

    Args:
        batch: what is wanted.
        everywhere: processes on all machines.
        budget: the memory.
        sizes: smaller networks to name if not even one clip fits, the largest first.

    Raises:
        LaunchError: it does not fit, and no other number of clips may be chosen or would do.
    """
    plan = batch.plan(everywhere)
    if budget.fits(plan.clips):
        larger = _larger(batch, everywhere, budget)
        why = f"; {larger.clips} clips a step, as there is room for more than {plan.clips}" if larger != plan else ""
        return larger, f"memory: {budget.describe(larger.clips)}, by estimate{why}"
    too_much = f"{_clips(plan.clips)} a step take {budget.describe(plan.clips)}"
    most = budget.most_clips(plan.clips)
    if most == 0:
        raise LaunchError(f"memory: {too_much}; {_without_a_clip(budget, plan.clips, sizes)}. {_OVERRULED}")
    fitting = batch.freed().plan(everywhere, most)
    if batch.given:
        at_most = "" if most == fitting.clips else f"; at most {most} fit"
        raise LaunchError(
            f"memory: {too_much}; in place of {' and '.join(batch.given)} set BATCH_SIZE={fitting.clips} (with "
            f"update_freq {fitting.update_freq}: {fitting.clips_per_update} clips per update){at_most}. {_OVERRULED}"
        )
    return fitting, f"memory: {budget.describe(fitting.clips)}, by estimate; {plan.clips} clips a step are too many"


def _larger(batch: Batch, everywhere: int, budget: Budget) -> BatchPlan:
    """The plan with as many clips a step as a GPU has room for."""
    if budget.machine.device != "cuda" or budget.available_bytes is None or batch.wanted is None:
        return batch.plan(everywhere)
    roomy = replace(budget, available_bytes=_ROOM * budget.available_bytes)
    return batch.larger(everywhere, roomy.most_clips(-(-batch.wanted // everywhere)))


_OVERRULED = "MEMORY_GB=NUMBER sets what is available"


def _without_a_clip(budget: Budget, clips: int, sizes: Iterable[tuple[str, Workload]]) -> str:
    """What to do if not even one clip fits."""
    one = f"one takes {_gigabytes(budget.needed_bytes(1))}"
    for name, work in sizes:
        most = budget.for_other(work).most_clips(clips)
        if most:
            return f"{one}; +size={name} fits, with BATCH_SIZE up to {most}"
    recomputing = budget.for_other(replace(budget.work, recomputes=True))
    most = recomputing.most_clips(clips)
    if most:
        return f"{one}; model.checkpoint_activations=true fits, with BATCH_SIZE up to {most}"
    fewer = f", fewer processes than {budget.processes}" if budget.processes > 1 else ""
    return f"{one}, and no smaller size fits: it takes shorter clips (task.target_length){fewer} or more memory"


def _clips(number: int) -> str:
    return "1 clip" if number == 1 else f"{number} clips"


def _gigabytes(number: float) -> str:
    return f"{number / 1e9:.3g} GB"
