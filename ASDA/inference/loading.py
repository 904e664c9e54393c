"""Clips are decoded ahead of their use, by threads or by processes: as many as a bounded memory holds."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from itertools import islice
from typing import NamedTuple

import numpy as np
import torch

from ..audio.errors import AudioError
from ..data.containers import ClipReader
from ..data.worker_processes import CHUNK_CLIPS, spawned_pool
from .clips import Clip
from .windows import BadClip, LoadedClip, Windowing, load_clip

AHEAD_BYTES = 128 * 2**20
"""Memory for decoded clips that nobody has asked for yet: 256 of ten seconds."""

MOST_AHEAD = 1024
"""Clips ahead that take next to no memory, as short ones do, and long ones that are decoded when they are cut."""

CHUNK_BYTES = 16 * 2**20
"""A process sends what it has once it holds so much."""

Chunk = tuple[tuple[int, Clip], ...]
Loaded = LoadedClip | BadClip


def load_clips(
    numbered: Iterable[tuple[int, Clip]],
    windowing: Windowing,
    *,
    num_workers: int = 2,
    processes: bool = False,
    h5_sample_rate_hz: int = 32_000,
) -> Iterator[Loaded]:
    """Loads clips ahead of their use; yields in the order given, an error in a bad clip's place.

    Each of the workers computes on one core: the clips are what is done in parallel. Threads share Python's lock, so
    that many decode short clips no faster than one. Processes do not, but each takes a second or two to start.

    Args:
        numbered: clips with their numbers.
        windowing: how they are cut and padded.
        num_workers: threads or processes that decode.
        processes: whether they are processes.
        h5_sample_rate_hz: rate of HDF5 data that does not state its own.

    Raises:
        ChildProcessError: a process has died.
    """
    computing = torch.get_num_threads()
    pool = (_processes if processes else _threads)(num_workers, (windowing, h5_sample_rate_hz))
    decode: Callable[[Chunk], Sequence[Loaded | _Sent]] = _decode_apart if processes else _decode
    chunk_clips = CHUNK_CLIPS if processes else 1
    pending = iter(numbered)
    ahead = _Ahead(2 * num_workers, MOST_AHEAD // chunk_clips)
    with pool:
        try:
            while True:
                while ahead.has_room and (chunk := tuple(islice(pending, chunk_clips))):
                    ahead.add(chunk, pool.submit(decode, chunk))
                if ahead.is_empty:
                    return
                chunk, loaded = ahead.first()
                yield from (clip.unpacked() if isinstance(clip, _Sent) else clip for clip in loaded)
                if rest := chunk[len(loaded) :]:  # it was too large, and the next ones may be
                    chunk_clips = len(loaded)
                    ahead.add_first(rest, pool.submit(decode, rest))
        except BrokenProcessPool as error:  # where a chunk is waited for, or the next one is given
            raise ChildProcessError(f"a process that decoded has died, killed or out of memory, {ahead}") from error
        finally:
            ahead.cancel()
            torch.set_num_threads(computing)  # threads that are yet to come would take over the decoders' number


_of_worker = threading.local()  # what a thread that decodes has for itself: open containers have no lock


def _begin(windowing: Windowing, h5_sample_rate_hz: int) -> None:
    torch.set_num_threads(1)
    _of_worker.windowing = windowing
    _of_worker.reader = ClipReader(windowing.front_end.sample_rate_hz, h5_sample_rate_hz)


def _decode(chunk: Chunk) -> list[Loaded]:
    """The first clips of the chunk, as many as `CHUNK_BYTES` take, at least one."""
    loaded: list[Loaded] = []
    num_bytes = 0
    for index, clip in chunk:
        try:
            loaded.append(load_clip(index, clip, _of_worker.reader, _of_worker.windowing))
        except AudioError as error:
            loaded.append(BadClip(index, clip, error.reason))
        num_bytes += loaded[-1].num_bytes
        if num_bytes >= CHUNK_BYTES:
            break
    return loaded


def _threads(number: int, settings: tuple) -> Executor:
    return ThreadPoolExecutor(number, initializer=_begin, initargs=settings)


def _processes(number: int, settings: tuple) -> Executor:
    return spawned_pool(number, _begin, *settings)


class _Sent(NamedTuple):
    """A clip on its way from a process; its frames are an array, as torch opens a shared file for each tensor."""

    clip: Loaded
    frames: np.ndarray | None

    @property
    def num_bytes(self) -> int:
        return 0 if self.frames is None else self.frames.nbytes

    def unpacked(self) -> Loaded:
        if self.frames is None or isinstance(self.clip, BadClip):
            return self.clip
        return replace(self.clip, frames=torch.from_numpy(self.frames))


def _decode_apart(chunk: Chunk) -> list[_Sent]:
    """`_decode` in a process."""
    return [
        _Sent(clip, None)
        if isinstance(clip, BadClip) or clip.frames is None
        else _Sent(replace(clip, frames=None), clip.frames.numpy())
        for clip in _decode(chunk)
    ]


class _Ahead:
    """The chunks of clips that are being decoded, or are and nobody has asked for, in their order.

    Of those that are not decoded yet, each is taken for as large as the largest that was.

    Args:
        least: so many are decoded ahead, however large they are.
        most: and no more than so many, however small.
    """

    def __init__(self, least: int, most: int):
        self._least, self._most = least, most
        self._chunks: deque[tuple[Chunk, Future]] = deque()
        self._lock = threading.Lock()
        self._num_decoded = 0
        self._num_bytes = 0  # of those that are decoded
        self._largest: int | None = None  # before the first is decoded nobody knows

    @property
    def is_empty(self) -> bool:
        return not self._chunks

    @property
    def has_room(self) -> bool:
        """Whether one more fits in."""
        with self._lock:
            number = len(self._chunks)
            under_way = number - self._num_decoded + 1
            largest = self._largest
            fits = largest is not None and self._num_bytes + under_way * largest <= AHEAD_BYTES
        return number < self._least or (number < self._most and fits)

    def add(self, chunk: Chunk, future: Future) -> None:
        self._chunks.append((chunk, future))
        future.add_done_callback(self._count)

    def add_first(self, chunk: Chunk, future: Future) -> None:
        self._chunks.appendleft((chunk, future))
        future.add_done_callback(self._count)

    def first(self) -> tuple[Chunk, Sequence[Loaded | _Sent]]:
        """Waits for the first one, and takes it out."""
        chunk, future = self._chunks[0]
        loaded = future.result()
        self._chunks.popleft()
        with self._lock:
            self._num_decoded -= 1
            self._num_bytes -= _num_bytes(loaded)
        return chunk, loaded

    def __str__(self) -> str:
        """Where it is, for an error."""
        if not self._chunks:
            return "with no clip under way"
        first, _ = self._chunks[0]
        return f"at one of the {sum(len(chunk) for chunk, _ in self._chunks)} clips from {first[0][1].path} on"

    def cancel(self) -> None:
        for _, future in self._chunks:
            future.cancel()

    def _count(self, future: Future) -> None:
        if future.cancelled() or future.exception() is not None:
            return
        num_bytes = _num_bytes(future.result())
        with self._lock:
            self._num_decoded += 1
            self._num_bytes += num_bytes
            self._largest = max(self._largest or 0, num_bytes)


def _num_bytes(loaded: Sequence[Loaded | _Sent]) -> int:
    return sum(clip.num_bytes for clip in loaded)
