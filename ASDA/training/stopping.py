"""Stopping on request: a signal asks, the run saves at the end of its update and leaves with a known exit code."""

from __future__ import annotations

import atexit
import multiprocessing
import multiprocessing.util  # whose exit function has to be registered before ours, to run after it
import os
import signal

EXIT_STOPPED = 75
"""Exit code of a run that was stopped by a signal and has saved: sysexits.h's "temporary failure, try again"."""

SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGUSR1") if hasattr(signal, name))
"""SIGTERM (pre-emption, shutdown) and SIGUSR1 (a batch system's warning): requests, however often they come."""

INTERRUPT = signal.SIGINT
"""Ctrl-C: the first is a request, the second ends the process at once."""


class StopRequest:
    """Remembers the signal that asked this process to stop."""

    def __init__(self) -> None:
        self.signal_name = ""

    def __bool__(self) -> bool:
        return bool(self.signal_name)

    def install(self) -> None:
        """From now on SIGNALS and the first INTERRUPT are requests."""
        for number in (*SIGNALS, INTERRUPT):
            signal.signal(number, self._receive)
        atexit.register(_end_workers)

    def _receive(self, number: int, frame: object) -> None:
        self.signal_name = signal.Signals(number).name
        if number == INTERRUPT:
            # The system's own handler, as Python's would wait for the end of a collective operation.
            signal.signal(INTERRUPT, signal.SIG_DFL)
            os.write(2, b"\nstopping after this update, and saving; Ctrl-C again ends at once, without saving\n")


def _end_workers() -> None:
    # Without pinned memory nothing else ends them: multiprocessing signals once, which they outlive, and waits.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # PyTorch's handler takes a killed worker for a crash
    for worker in multiprocessing.active_children():
        worker.kill()


def outlive_first_termination() -> None:
    """Lets a data-loader worker survive one SIGTERM, the second ends it as usual, and any Ctrl-C.

    Batch systems and torchrun signal a whole process group, and so does a terminal. A worker that died of it would take
    the run down before the run has saved. The end of the run ends it.
    """
    if _tolerant.get("pid") == os.getpid():
        return
    _tolerant["pid"] = os.getpid()
    signal.signal(signal.SIGTERM, lambda number, frame: signal.signal(signal.SIGTERM, signal.SIG_DFL))
    signal.signal(INTERRUPT, signal.SIG_IGN)


_tolerant: dict[str, int] = {}  # the process that has done so: workers are forked and inherit this variable
