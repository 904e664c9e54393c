"""The recipes' learning rates: fairseq's cosine up to its end, where it stays, and steps by epochs."""

import pytest

pytest.importorskip("fairseq", reason="the schedule is fairseq's")

import torch
from fairseq.optim import FairseqOptimizer
from fairseq.optim.lr_scheduler import build_lr_scheduler
from omegaconf import OmegaConf

import ASDA  # noqa: F401 # registers


def schedule(name: str, **settings):
    """A schedule of 10 updates, 2 of them warm-up, from 0.1 to 0.001."""
    optimizer = FairseqOptimizer(None)
    optimizer._optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    plan = {"_name": name, "lr": [0.1], "min_lr": 0.001, "warmup_updates": 2, **settings}
    if name != "asda_epoch_decay":
        plan = {"max_update": 10, **plan}
    return build_lr_scheduler(OmegaConf.create(plan), optimizer)


def test_schedule__is_fairseqs_for_every_update_of_the_run():
    ours, theirs = schedule("asda_cosine"), schedule("cosine")
    rates = [ours.step_update(update) for update in range(10)]
    assert rates == [theirs.step_update(update) for update in range(10)]
    assert ours.optimizer.get_lr() == rates[-1]


def test_schedule__ends_at_min_lr_and_stays_there():
    ours = schedule("asda_cosine")
    assert [ours.step_update(update) for update in (10, 11, 17, 18, 100)] == [0.001] * 5
    assert ours.optimizer.get_lr() == 0.001


def test_schedule__periods_that_are_asked_for_begin_anew():
    ours, theirs = (schedule(name, lr_period_updates=4) for name in ("asda_cosine", "cosine"))
    rates = [ours.step_update(update) for update in range(20)]
    assert rates == [theirs.step_update(update) for update in range(20)]
    assert rates[6] == pytest.approx(0.01), "a tenth of the first"


def by_epoch(**settings):
    plan = {"min_lr": 0.0, "warmup_updates": 0, "decay": 0.5, "decay_from_epoch": 3, **settings}
    return schedule("asda_epoch_decay", **plan)


def test_epoch_decay__follows_the_epoch_whatever_the_updates():
    ours, rates = by_epoch(decay_every_epochs=2), []
    for epoch, updates in ((1, 7), (2, 9), (3, 10), (4, 11), (5, 40), (6, 41), (7, 42)):
        ours.step_begin_epoch(epoch)
        rates.append(ours.step_update(updates))
        assert ours.optimizer.get_lr() == rates[-1] == ours.step_update(updates + 1)
    assert rates == pytest.approx([0.1, 0.1, 0.05, 0.05, 0.025, 0.025, 0.0125])


def test_epoch_decay__warms_up_linearly_and_has_a_floor():
    ours = by_epoch(warmup_updates=4, min_lr=0.03, decay_from_epoch=2)
    assert [ours.step_update(n) for n in range(6)] == pytest.approx([0.025, 0.05, 0.075, 0.1, 0.1, 0.1])
    ours.step_begin_epoch(9)
    assert ours.step_update(100) == 0.03


def test_epoch_decay__goes_on_from_its_state():
    ours, other = by_epoch(), by_epoch()
    ours.step_begin_epoch(4)
    other.load_state_dict(ours.state_dict())
    assert other.step_update(50) == ours.step_update(50) == 0.025
    other.load_state_dict({"best": None})  # of another schedule: the beginning of the epoch tells
    other.step_begin_epoch(3)
    assert other.step_update(50) == 0.05


def test_epoch_decay__of_several_rates_or_senseless_steps_is_refused():
    with pytest.raises(ValueError, match="asda_epoch_decay takes one learning rate"):
        by_epoch(lr=[0.1, 0.01])
    with pytest.raises(ValueError, match="decay=2 decay_from_epoch=3"):
        by_epoch(decay=2.0)
