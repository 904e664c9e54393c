"""A line comes after each stretch of silence, and only then."""

import logging
import os
import subprocess
import sys
import threading

import pytest

from ASDA.training.heartbeat import PERIOD_S, Heartbeat


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def test_beat__breaks_a_silence_of_the_period_once(clock):
    said = []
    heart = Heartbeat(lambda: said.append(clock.now), 25.0, clock)
    for clock.now in range(100, 200):
        heart.beat()
    assert said == [125, 150, 175]


def test_beat__counts_from_what_was_heard_last(clock):
    said = []
    heart = Heartbeat(lambda: said.append(clock.now), 25.0, clock)
    for clock.now in range(100, 200):
        if clock.now in (110, 140):
            heart.heard()
        heart.beat()
    assert said == [135, 165, 190]


def test_period__leaves_time_before_30_s():
    assert PERIOD_S <= 28


def test_start__hears_log_lines_and_speaks_without_the_main_thread(monkeypatch):
    monkeypatch.setattr("ASDA.training.heartbeat._LOOKS_EVERY_S", 0.01)
    clock, spoken = Clock(), threading.Event()
    heart = Heartbeat(spoken.set, 25.0, clock)
    handlers = list(logging.getLogger().handlers)
    heart.start()
    try:
        clock.now += 24
        logging.getLogger("anything").warning("heard")
        clock.now += 24
        assert not spoken.wait(0.1)
        clock.now += 1
        assert spoken.wait(5)
    finally:
        heart.stop()
        logging.getLogger().handlers = handlers


@pytest.mark.skipif(not hasattr(os, "fork"), reason="workers are not forked here")
def test_program__ends_at_once_and_its_forked_children_do_not_speak():
    code = """
import os, time
from ASDA.training import heartbeat
heartbeat._LOOKS_EVERY_S = 0.01
heart = heartbeat.Heartbeat(lambda: print(os.getpid() == parent, flush=True), 0.05)
parent = os.getpid()
heart.start()
time.sleep(0.3)
child = os.fork()
if child == 0:
    time.sleep(0.3)
    os._exit(0)
os.waitpid(child, 0)
"""
    command = [sys.executable, "-W", "ignore", "-c", code]  # Python warns of forks beside threads
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert set(done.stdout.split()) == {"True"} and not done.stderr
