import math

import pytest

from ASDA.training.epoch_decay import EpochDecay


@pytest.mark.parametrize("steps", [(0.85, 6, 1), (0.5, 10, 5), (0.5, 1, 1), (0.3, 2, 3), (1.0, 4, 2)])
def test_factor__is_the_decay_once_more_at_each_step(steps):
    decay, first, every = steps
    factor, schedule = 1.0, EpochDecay(*steps)
    for epoch in range(1, 40):  # the definition, epoch by epoch
        if epoch >= first and (epoch - first) % every == 0:
            factor *= decay
        assert schedule.factor(epoch) == pytest.approx(factor, rel=1e-12)


def test_factor__of_the_published_recipes():
    assert [EpochDecay(0.85, 6).factor(epoch) for epoch in (1, 5, 6, 7)] == pytest.approx([1, 1, 0.85, 0.7225])
    audioset = EpochDecay(0.5, 10, 5)
    assert [audioset.factor(epoch) for epoch in (9, 10, 14, 15, 20, 25)] == [1, 0.5, 0.5, 0.25, 0.125, 0.0625]


@pytest.mark.parametrize("decay", [0.0, -0.5, 1.1, math.nan])
def test_steps__with_a_decay_that_is_none_are_refused(decay):
    with pytest.raises(ValueError, match="expected a decay above 0 and at most 1, and epochs of at least 1"):
        EpochDecay(decay, 2)


@pytest.mark.parametrize("steps", [(0.5, 0, 1), (0.5, 2, 0)])
def test_steps__at_no_epoch_are_refused(steps):
    with pytest.raises(ValueError, match="expected a decay above 0 and at most 1, and epochs of at least 1"):
        EpochDecay(*steps)


def test_description__is_in_the_words_of_the_keys():
    assert EpochDecay(0.85, 6).describe() == "x0.85 each epoch from epoch 6 on"
    assert EpochDecay(0.5, 10, 5).describe(25) == "x0.5 every 5 epochs from epoch 10 on (x0.0625 in epoch 25)"
