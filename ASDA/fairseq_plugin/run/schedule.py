"""The recipes' learning rate: fairseq's cosine, which stays at its end."""

from fairseq.optim.lr_scheduler import register_lr_scheduler
from fairseq.optim.lr_scheduler.cosine_lr_scheduler import CosineLRSchedule, CosineLRScheduleConfig

COSINES = ("cosine", "asda_cosine")
"""The names of cosine schedules: fairseq's own, and the recipes'."""


@register_lr_scheduler("asda_cosine", dataclass=CosineLRScheduleConfig)
class CosineToTheEnd(CosineLRSchedule):
    """Warm-up, then a cosine that ends at ``min_lr`` with the run.

    After an update fairseq sets, logs and saves the learning rate of the next one. Its own schedule begins another
    cosine there, ``lr_shrink`` times as high: the log of a finished run would end with a jump to a tenth of the highest
    learning rate, which no update had. Schedules of several periods (``lr_period_updates``, ``t_mult``) are fairseq's.
    """

    def step_update(self, num_updates: int) -> float:
        """Sets the learning rate of update ``num_updates + 1`` and returns it."""
        periods = self.cfg.lr_period_updates > 0 or self.t_mult != 1
        if periods or num_updates < self.warmup_updates + self.period:
            return super().step_update(num_updates)
        self.lr = self.cfg.min_lr
        self.optimizer.set_lr(self.lr)
        return self.lr
