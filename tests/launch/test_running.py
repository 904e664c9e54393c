"""Runs in turn: they stop at the first that fails or is asked to stop, and hand on signals and exit codes."""

import os
import signal
import sys
import threading
import time

import pytest

from ASDA.launch.command import Run
from ASDA.launch.running import run_in_turn
from ASDA.launch.settings import LaunchError
from ASDA.training.stopping import EXIT_STOPPED

SAVES_WHEN_ASKED = """
import pathlib, signal, sys, time
def save(number, frame):
    pathlib.Path({folder!r}, "saved").write_text(signal.Signals(number).name)
    sys.exit(75)
for number in (signal.SIGTERM, signal.SIGUSR1):
    signal.signal(number, save)
pathlib.Path({folder!r}, "ready").touch()
time.sleep(30)
"""


def python(code: str, folder, fold: str = "1") -> Run:
    return Run((sys.executable, "-c", code), folder, fold)


def test_run_in_turn__runs_all_and_makes_their_folders(tmp_path, monkeypatch):
    code = "import os; assert os.environ['PYTHONSAFEPATH'] == '1'; open('order', 'a').write('{}')"
    runs = tuple(python(code.format(n), tmp_path / f"a/fold{n}", str(n)) for n in (1, 2))
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    before, announced = os.getcwd(), []
    os.chdir(tmp_path)
    try:
        assert run_in_turn(runs, announced.append) == 0
    finally:
        os.chdir(before)
    assert (tmp_path / "order").read_text() == "12" and announced == list(runs)
    assert (tmp_path / "a/fold2").is_dir()
    assert "PYTHONSAFEPATH" not in os.environ  # the run's, not this process's


@pytest.mark.parametrize(("code", "expected"), [("exit(3)", 3), ("import os; os.kill(os.getpid(), 9)", 137)])
def test_run_in_turn__ends_with_the_first_that_fails(code, expected, tmp_path):
    announced = []
    runs = (python(code, tmp_path), python("exit(0)", tmp_path, "2"))
    assert run_in_turn(runs, announced.append) == expected
    assert announced == [runs[0]]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_run_in_turn__hands_a_request_to_stop_to_the_run_and_starts_no_other(number, tmp_path):
    before = signal.getsignal(number)

    def ask() -> None:
        until = time.monotonic() + 20
        while not (tmp_path / "ready").exists() and time.monotonic() < until:
            time.sleep(0.01)
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=ask)
    thread.start()
    runs = (python(SAVES_WHEN_ASKED.format(folder=str(tmp_path)), tmp_path), python("exit(1)", tmp_path, "2"))
    assert run_in_turn(runs, lambda run: None) == EXIT_STOPPED
    thread.join()
    assert (tmp_path / "saved").read_text() == number.name
    assert signal.getsignal(number) == before


def test_run_in_turn__a_request_between_two_runs_is_heard(tmp_path):
    runs = (python("exit(0)", tmp_path), python("exit(1)", tmp_path, "2"))
    asked = lambda run: run.fold == "2" and os.kill(os.getpid(), signal.SIGTERM)  # noqa: E731
    assert run_in_turn(runs, asked) == EXIT_STOPPED


def test_run_in_turn__a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(LaunchError, match=f"^SAVE_DIR: {tmp_path}/file/run cannot be written to"):
        run_in_turn((python("exit(0)", tmp_path / "file/run"),), lambda run: None)
