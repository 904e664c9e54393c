"""How far a run is, by a clock that the test sets."""

import pytest

from ASDA.fairseq_plugin.run.progress_line import ProgressLine, duration


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def test_line__before_the_first_update_says_for_how_long(clock):
    line = ProgressLine(clock)
    clock.now = 65
    assert str(line) == "getting ready for 1 min 5 s"
    line.reads("eval", 40)
    assert str(line) == "getting ready for 1 min 5 s, reads eval"


def test_line__has_rate_and_time_left_of_the_latest_updates(clock):
    line = ProgressLine(clock)
    line.begin(100, total=1000, clips_per_update=48)
    clock.now = 30
    assert str(line) == "update 101 has taken 30 s so far"
    for update in range(101, 301):
        clock.now += 1 if update <= 200 else 2  # slower later on
        line.update(update, loss=0.25)
    assert str(line) == "update 300 of 1000, loss 0.25, 24 clips/s, 23 min 20 s left"


def test_line__of_a_long_update_counts_the_time_that_it_takes(clock):
    line = ProgressLine(clock)
    line.begin(0, total=10, clips_per_update=6)
    clock.now = 10
    line.update(1, loss=1.0)
    clock.now = 60
    assert str(line) == "update 1 of 10, loss 1, 0.1 clips/s, 9 min left"


def test_line__without_a_last_update_or_clips_leaves_them_out(clock):
    line = ProgressLine(clock)
    line.begin(0, total=0, clips_per_update=None)
    clock.now = 1
    line.update(1, loss=2.0)
    assert str(line) == "update 1, loss 2"


def test_line__follows_a_validation(clock):
    line = ProgressLine(clock)
    line.begin(0, total=10, clips_per_update=6)
    clock.now = 1
    line.update(1, loss=2.0)
    line.reads("eval", 40)
    for _ in range(3):
        line.validated_batch()
    assert str(line) == "update 1 of 10: validates on eval, batch 3 of 40"
    line.update(2, loss=2.0)
    assert "validates" not in str(line)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (59.7, "1 min"), (61, "1 min 1 s"), (3600, "1 h"), (7505, "2 h 5 min"), (273_600, "3 d 4 h")],
)
def test_duration__has_two_units(seconds, words):
    assert duration(seconds) == words
