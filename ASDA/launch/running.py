"""Starts planned runs: one in place of this process, or several in turn, so that signals reach the training."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable

from ..training.stopping import EXIT_STOPPED, SIGNALS
from .command import Run
from .settings import LaunchError

INTERRUPTED = 130
"""Exit code after Ctrl-C, as a shell has it."""


def become(run: Run) -> None:
    """Runs the command in place of this process, which then has its exit code and gets its signals. Does not return."""
    _prepare(run)
    os.execve(run.command[0], run.command, _environment())


def run_in_turn(runs: tuple[Run, ...], announce: Callable[[Run], None]) -> int:
    """Starts one run after the other, as long as they end well.

    A request to stop (SIGTERM, SIGUSR1) goes to the run in progress, which saves and leaves; none follows.

    Returns:
        0, or the exit code of the run that was the last.
    """
    turn = _Turn()
    previous = {number: signal.signal(number, turn.stop) for number in SIGNALS}
    try:
        for run in runs:
            announce(run)
            code = turn.take(run)
            if code:
                return code
            if turn.stopped:
                return EXIT_STOPPED
        return 0
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


class _Turn:
    def __init__(self) -> None:
        self.child: subprocess.Popen | None = None
        self.stopped = False

    def stop(self, number: int, frame: object) -> None:
        self.stopped = True
        if self.child is not None:
            self.child.send_signal(number)

    def take(self, run: Run) -> int:
        """Runs to the end; the exit code, 128 + the number of a signal that ended it."""
        if self.stopped:
            return EXIT_STOPPED
        _prepare(run)
        self.child = subprocess.Popen(run.command, env=_environment())
        try:
            code = self.child.wait()
        except KeyboardInterrupt:  # the terminal has sent it to the run as well, which saves and leaves
            return EXIT_STOPPED if self.child.wait() == EXIT_STOPPED else INTERRUPTED
        finally:
            self.child = None
        return code if code >= 0 else 128 - code


def _prepare(run: Run) -> None:
    try:
        run.save_dir.mkdir(parents=True, exist_ok=True)
        writable = os.access(run.save_dir, os.W_OK)
    except OSError:
        writable = False
    if not writable:
        raise LaunchError(f"SAVE_DIR: {run.save_dir} cannot be written to")
    sys.stdout.flush()
    sys.stderr.flush()


def _environment() -> dict[str, str]:
    """That of a run: python -m must not import from the current directory, which may hold another ASDA."""
    return {**os.environ, "PYTHONSAFEPATH": "1"}
