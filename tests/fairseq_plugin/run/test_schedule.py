"""The recipes' learning rate: fairseq's cosine up to its end, where it stays."""

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
    plan = {"_name": name, "lr": [0.1], "min_lr": 0.001, "warmup_updates": 2, "max_update": 10, **settings}
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
