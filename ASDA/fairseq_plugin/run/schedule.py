"""The recipes' learning rates: fairseq's cosine, which stays at its end, and one that falls from epoch to epoch.

No postponed annotations here: omegaconf 2.0 reads the types of the fields.
"""

from dataclasses import dataclass, field
from typing import Any, List

from fairseq.dataclass import FairseqDataclass
from fairseq.optim.lr_scheduler import FairseqLRScheduler, register_lr_scheduler
from fairseq.optim.lr_scheduler.cosine_lr_scheduler import CosineLRSchedule, CosineLRScheduleConfig
from omegaconf import II

from ...training.epoch_decay import EPOCH_DECAY, EpochDecay

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


@dataclass
class EpochDecayConfig(FairseqDataclass):
    warmup_updates: int = field(default=0, metadata={"help": "updates in which the rate rises linearly"})
    lr: List[float] = field(default=II("optimization.lr"), metadata={"help": "the rate before the first step"})
    min_lr: float = field(default=0.0, metadata={"help": "below which no step takes it"})
    decay: float = field(default=EpochDecay.decay, metadata={"help": "factor of each step"})
    decay_from_epoch: int = field(
        default=EpochDecay.from_epoch, metadata={"help": "first epoch with a lower rate; they count from 1"}
    )
    decay_every_epochs: int = field(
        default=EpochDecay.every_epochs, metadata={"help": "epochs from one step to the next"}
    )


def epoch_decay_of(schedule: Any) -> EpochDecay:
    """The steps that the configuration of a schedule asks for."""
    return EpochDecay(schedule.decay, schedule.decay_from_epoch, schedule.decay_every_epochs)


@register_lr_scheduler(EPOCH_DECAY, dataclass=EpochDecayConfig)
class EpochDecaySchedule(FairseqLRScheduler):
    """Warm-up, then a constant rate, which falls at the beginning of some epochs (MAE-AST's and AST's fine-tuning).

    The epoch is the one that the run is in, not one that follows from its updates: so it holds whatever an epoch's
    batches are, and for a run that goes on with others.
    """

    def __init__(self, cfg: EpochDecayConfig, optimizer: Any):
        super().__init__(cfg, optimizer)
        if len(cfg.lr) != 1:
            raise ValueError(f"lr={list(cfg.lr)}: {EPOCH_DECAY} takes one learning rate, and lowers it by itself")
        self._steps = epoch_decay_of(cfg)
        self._epoch = 1

    def state_dict(self) -> dict:
        return {**super().state_dict(), "epoch": self._epoch}

    def load_state_dict(self, state_dict: dict) -> None:
        super().load_state_dict(state_dict)
        self._epoch = state_dict.get("epoch", self._epoch)

    def step_begin_epoch(self, epoch: int) -> None:
        """Called at the beginning of an epoch, and when a run goes on in one."""
        self._epoch = epoch

    def step_update(self, num_updates: int) -> float:
        """Sets the learning rate of update ``num_updates + 1``, if that is of this epoch, and returns it."""
        highest, warmup = self.cfg.lr[0], self.cfg.warmup_updates
        rate = max(highest * self._steps.factor(self._epoch), min(self.cfg.min_lr, highest))
        if num_updates < warmup:
            rate *= (num_updates + 1) / warmup
        self.optimizer.set_lr(rate)
        return rate
