"""Clips are decoded ahead of their use: as many as a bounded memory holds."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import torch

from ..audio.errors import AudioError
from ..data.containers import ClipReader
from .clips import Clip
from .windows import BadClip, LoadedClip, Windowing, load_clip

AHEAD_BYTES = 128 * 2**20
"""Memory for decoded clips that nobody has asked for yet: 256 of ten seconds."""

MOST_AHEAD = 1024
"""Clips ahead that take next to no memory, as short ones do, and long ones that are decoded when they are cut."""


def load_clips(
    numbered: Iterable[tuple[int, Clip]], windowing: Windowing, *, num_threads: int = 2, h5_sample_rate_hz: int = 32_000
) -> Iterator[LoadedClip | BadClip]:
    """Loads clips ahead of their use on several threads; yields in the order given, an error in a bad clip's place.

    Each of the threads computes on one core: the clips are what is done in parallel.
    """
    local = threading.local()  # a reader for each thread: open containers have no lock

    def attempt(index: int, clip: Clip) -> LoadedClip | BadClip:
        if not hasattr(local, "reader"):
            local.reader = ClipReader(windowing.front_end.sample_rate_hz, h5_sample_rate_hz)
        try:
            return load_clip(index, clip, local.reader, windowing)
        except AudioError as error:
            return BadClip(index, clip, error.reason)

    pending = iter(numbered)
    computing = torch.get_num_threads()
    with ThreadPoolExecutor(num_threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        ahead = _Ahead(2 * num_threads)
        try:
            while True:
                while ahead.has_room and (entry := next(pending, None)) is not None:
                    ahead.add(pool.submit(attempt, *entry))
                if ahead.is_empty:
                    return
                yield ahead.first()
        finally:
            ahead.cancel()
            torch.set_num_threads(computing)  # threads that are yet to come would take over the decoders' number


class _Ahead:
    """The clips that are being decoded, or are and nobody has asked for, in their order.

    Of those that are not decoded yet, each is taken for as large as the largest that was.

    Args:
        least: so many are decoded ahead, however large they are.
    """

    def __init__(self, least: int):
        self._least = least
        self._futures: deque[Future] = deque()
        self._lock = threading.Lock()
        self._num_decoded = 0
        self._num_bytes = 0  # of those that are decoded
        self._largest: int | None = None  # before the first is decoded nobody knows

    @property
    def is_empty(self) -> bool:
        return not self._futures

    @property
    def has_room(self) -> bool:
        """Whether one more fits in."""
        with self._lock:
            number = len(self._futures)
            under_way = number - self._num_decoded + 1
            largest = self._largest
            fits = largest is not None and self._num_bytes + under_way * largest <= AHEAD_BYTES
        return number < self._least or (number < MOST_AHEAD and fits)

    def add(self, future: Future) -> None:
        self._futures.append(future)
        future.add_done_callback(self._count)

    def first(self) -> LoadedClip | BadClip:
        """Waits for the first one, and takes it out."""
        future = self._futures.popleft()
        loaded = future.result()
        with self._lock:
            self._num_decoded -= 1
            self._num_bytes -= _num_bytes(loaded)
        return loaded

    def cancel(self) -> None:
        for future in self._futures:
            future.cancel()

    def _count(self, future: Future) -> None:
        if future.cancelled() or future.exception() is not None:
            return
        num_bytes = _num_bytes(future.result())
        with self._lock:
            self._num_decoded += 1
            self._num_bytes += num_bytes
            self._largest = max(self._largest or 0, num_bytes)


def _num_bytes(loaded: LoadedClip | BadClip) -> int:
    return 0 if isinstance(loaded, BadClip) else loaded.num_bytes
