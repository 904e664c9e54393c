"""A progress bar over all updates of a run, on a terminal; elsewhere lines have to do (heartbeat.py)."""

from __future__ import annotations

import sys
from contextlib import ExitStack

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm


class UpdateBar:
    """Counts updates on standard error if that is a terminal. Log lines pass above the bar.

    Args:
        total: updates of the run; 0: unknown.
        done: updates that were done before.
    """

    def __init__(self, total: int, done: int):
        self._open = ExitStack()
        self._bar = None
        if sys.stderr.isatty():
            self._bar = tqdm(total=total or None, initial=done, unit="update", dynamic_ncols=True, smoothing=0.05)
            self._open.callback(self._bar.close)
            self._open.enter_context(logging_redirect_tqdm())

    def advance(self, **shown: float) -> None:
        """One more update; ``shown`` are numbers to show beside it."""
        if self._bar is not None:
            self._bar.set_postfix({name: f"{value:.4g}" for name, value in shown.items()}, refresh=False)
            self._bar.update()

    def close(self) -> None:
        self._open.close()
