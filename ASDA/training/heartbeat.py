"""Says that a run is alive when nothing else has been said for a while, for logs that nobody watches as they grow."""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from collections.abc import Callable

PERIOD_S = 25.0
"""Silence that is broken; a line comes at least every 30 s, with time to spare on a busy machine."""
_LOOKS_EVERY_S = 1.0


class Heartbeat:
    """Calls ``say`` after each stretch of silence.

    Args:
        say: prints a line.
        period_s: silence that is broken.
        clock: seconds that only go forward.
    """

    def __init__(
        self, say: Callable[[], None], period_s: float = PERIOD_S, clock: Callable[[], float] = time.monotonic
    ):
        self._say = say
        self._period_s = period_s
        self._clock = clock
        self._heard_at = clock()
        self._end = threading.Event()
        self._thread: threading.Thread | None = None
        self._saying = threading.Lock()

    def heard(self) -> None:
        """Something was printed just now."""
        self._heard_at = self._clock()

    def beat(self) -> bool:
        """Breaks the silence if it has lasted long enough; whether it did."""
        if self._clock() - self._heard_at < self._period_s:
            return False
        self.heard()
        with self._saying:
            self._say()
        return True

    def start(self) -> None:
        """Looks every second from now on, beside the main thread, until `stop` or the end of the program."""
        if self._thread is not None:
            return
        listener = _Listener(self)
        logging.getLogger().addHandler(listener)
        # A data-loader worker that is forked in the middle of a line would inherit the lock of the stream.
        os.register_at_fork(
            before=self._saying.acquire, after_in_parent=self._saying.release, after_in_child=self._saying.release
        )
        self._thread = threading.Thread(target=self._look, name="heartbeat", daemon=True)
        self._thread.start()
        atexit.register(self.stop)  # before the interpreter takes streams away

    def stop(self) -> None:
        """Says nothing any more."""
        self._end.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(2 * _LOOKS_EVERY_S)

    def _look(self) -> None:
        while not self._end.wait(_LOOKS_EVERY_S):
            self.beat()


class _Listener(logging.Handler):
    """Notes that a line was logged."""

    def __init__(self, heartbeat: Heartbeat):
        super().__init__()
        self._heartbeat = heartbeat

    def emit(self, record: logging.LogRecord) -> None:
        self._heartbeat.heard()
