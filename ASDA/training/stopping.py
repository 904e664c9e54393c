"""Stopping on request: a signal asks, the run saves at the end of its update and leaves with a known exit code."""

from __future__ import annotations

import os
import signal

EXIT_STOPPED = 75
"""Exit code of a run that was stopped by a signal and has saved: sysexits.h's "temporary failure, try again"."""

SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGUSR1") if hasattr(signal, name))


class StopRequest:
    """Remembers the signal that asked this process to stop."""

    def __init__(self) -> None:
        self.signal_name = ""

    def __bool__(self) -> bool:
        return bool(self.signal_name)

    def install(self) -> None:
        """From now on SIGTERM (pre-emption, shutdown) and SIGUSR1 (a batch system's warning) are requests."""
        for number in SIGNALS:
            signal.signal(number, self._receive)

    def _receive(self, number: int, frame: object) -> None:
        self.signal_name = signal.Signals(number).name


def outlive_first_termination() -> None:
    """Lets a data-loader worker survive one SIGTERM; the second ends it as usual.

    Batch systems and torchrun signal a whole process group. A worker that died of it would take the run down before
    the run has saved; at the end of a run PyTorch and multiprocessing end a worker that hangs with two more.
    """
    if _tolerant.get("pid") == os.getpid():
        return
    _tolerant["pid"] = os.getpid()
    signal.signal(signal.SIGTERM, lambda number, frame: signal.signal(signal.SIGTERM, signal.SIG_DFL))


_tolerant: dict[str, int] = {}  # the process that has done so: workers are forked and inherit this variable
