"""How many clips a process takes at once, so that an update has the recipe's number of clips on any number of GPUs."""

from __future__ import annotations

from dataclasses import dataclass

MOST_STEPS = 3
"""How many times the fewest steps per update may be taken for an exact number of clips."""


@dataclass(frozen=True)
class BatchPlan:
    """Clips per process and step, and steps per update.

    Attributes:
        clips: of a process in a step (`dataset.batch_size`).
        processes: on all machines.
        update_freq: steps per update (`optimization.update_freq`).
    """

    clips: int
    processes: int
    update_freq: int

    @property
    def clips_per_update(self) -> int:
        return self.clips * self.processes * self.update_freq

    def describe(self, wanted: int | None, unit: str) -> str:
        """The plan in a line, with a warning when it does not keep the recipe's clips per update.

        Args:
            wanted: the recipe's clips per update; None if it does not say.
            unit: what the processes are, "GPUs" or "processes".
        """
        summary = (
            f"{self.clips} clips x {self.processes} {unit} x update_freq {self.update_freq} = "
            f"{self.clips_per_update} clips per update"
        )
        if wanted is None:
            return summary
        if self.clips_per_update == wanted:
            return f"{summary}, as in the recipe"
        times = self.clips_per_update / wanted
        return (
            f"warning: {summary}; the recipe's learning rate and number of updates are for {wanted}. By rule they "
            f"become {times**0.5:.3g} and {1 / times:.3g} times as much (docs/training.md, other numbers of clips)"
        )


@dataclass(frozen=True)
class Batch:
    """What a recipe and its user say about the clips of an update.

    Attributes:
        wanted: the recipe's clips per update; None: it does not say, and clips and steps are as written.
        most_clips: that the recipe gives a process in a step.
        written_freq: steps per update as the recipe has them.
        clips: per process and step, when the user says it.
        update_freq: steps per update, when the user says it.
        given: how the user said these, in words.
        grows: whether an update learns the same from fewer and larger steps than the recipe's.
    """

    wanted: int | None
    most_clips: int
    written_freq: int = 1
    clips: int | None = None
    update_freq: int | None = None
    given: tuple[str, ...] = ()
    grows: bool = False

    def plan(self, processes: int, at_most: int | None = None) -> BatchPlan:
        """Clips and steps for so many processes.

        Args:
            processes: on all machines.
            at_most: clips that a process can take in a step, where that is less than the recipe's.
        """
        most = min(self.most_clips, at_most or self.most_clips)
        if self.wanted is not None:
            return plan_batch(self.wanted, processes, most, self.clips, self.update_freq)
        as_written = BatchPlan(self.clips or self.most_clips, processes, self.update_freq or self.written_freq)
        if at_most is None or as_written.clips <= at_most:
            return as_written
        return plan_batch(as_written.clips_per_update, processes, at_most)

    def larger(self, processes: int, most_clips: int) -> BatchPlan:
        """The plan with steps of up to so many clips, where that takes fewer of them; else that of the recipe."""
        plan = self.plan(processes)
        if not self.grows or self.given or self.wanted is None or most_clips <= plan.clips:
            return plan
        larger = plan_batch(self.wanted, processes, most_clips)
        as_exact = abs(larger.clips_per_update - self.wanted) <= abs(plan.clips_per_update - self.wanted)
        return larger if as_exact and larger.update_freq < plan.update_freq else plan

    def freed(self) -> Batch:
        """The same clips per update, without what the user says about the way to them."""
        wanted = self.wanted
        if wanted is None and self.given:
            wanted = (self.clips or self.most_clips) * (self.update_freq or self.written_freq)
        return Batch(wanted, self.most_clips, self.written_freq)


def plan_batch(
    clips_per_update: int, processes: int, most_clips: int, clips: int | None = None, update_freq: int | None = None
) -> BatchPlan:
    """The plan whose product is the recipe's clips per update, or comes closest to it.

    Args:
        clips_per_update: the recipe's.
        processes: on all machines.
        most_clips: that a process takes in a step, which is what fits into memory. As few steps as this allows are
            planned, or up to `MOST_STEPS` times as many where only they make the product exact.
        clips: per process and step, when that is given.
        update_freq: steps per update, when that is given.
    """
    if update_freq is None and clips is not None:
        update_freq = _rounded(clips_per_update, processes * clips)
    elif update_freq is None:
        fewest = -(-clips_per_update // (processes * most_clips))
        exact = (n for n in range(fewest, MOST_STEPS * fewest + 1) if clips_per_update % (processes * n) == 0)
        update_freq = next(exact, fewest)
    if clips is None:
        clips = _rounded(clips_per_update, processes * update_freq)
    return BatchPlan(clips, processes, update_freq)


def _rounded(number: int, by: int) -> int:
    """number / by, rounded half up, at least 1."""
    return max(1, (number + by // 2) // by)
