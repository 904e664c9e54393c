"""Processes that decode clips: when they pay, and a pool of them that ends with its program and is deaf to Ctrl-C."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from statistics import median
from typing import Any

from ..audio.errors import AudioError
from .containers import ClipReader

CHUNK_CLIPS = 32
"""Clips that a process gets at a time: sending each by itself would take longer than to decode it."""

MANY_CLIPS = 10_000
"""From here on processes gain more than the seconds that they take to start."""

SHORT_CLIP_S = 4.0
"""Of clips of this length and less threads decode few more in parallel than one does."""

_LOOKED_AT = 32


def many_short_clips_s(path_of: Callable[[int], str], number: int, h5_sample_rate_hz: int = 32_000) -> float | None:
    """The typical length of clips that are so many and so short that processes pay; None: they do not.

    Args:
        path_of: a clip by its number.
        number: of the clips.
        h5_sample_rate_hz: rate of HDF5 data that does not state its own.
    """
    if number < MANY_CLIPS:
        return None
    seconds = _typical_duration_s(map(path_of, range(0, number, number // _LOOKED_AT)), h5_sample_rate_hz)
    return None if seconds is None or seconds > SHORT_CLIP_S else seconds


def _typical_duration_s(paths: Iterator[str], h5_sample_rate_hz: int) -> float | None:
    """The median of the clips' lengths by their headers, of those that can be read."""
    reader = ClipReader(h5_sample_rate_hz=h5_sample_rate_hz)
    lengths = []
    for path in paths:
        with suppress(AudioError):
            lengths.append(reader.probe(path).duration_s)
    reader.close()
    return median(lengths) if lengths else None


def spawned_pool(number: int, initializer: Callable[..., None], *initargs: Any) -> ProcessPoolExecutor:
    """Starts processes and calls `initializer` in each; both travel by pickle. What was killed breaks the pool."""
    context = multiprocessing.get_context("spawn")  # this process has threads, which a fork would leave in any state
    pool = ProcessPoolExecutor(number, context, initializer=_begin, initargs=(initializer, initargs))
    with _deaf_to_interrupts():
        for _ in range(number):  # each starts one, as none is there to take it
            pool.submit(int)
    return pool


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Processes that are started inside never hear Ctrl-C, which reaches all; the program ends them itself."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # which, when it starts, would end what is begun here
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin(initializer: Callable[..., None], initargs: tuple) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    initializer(*initargs)


def _end_with_parent() -> None:
    """Ends this process with the program: where that is killed, nobody else would."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
