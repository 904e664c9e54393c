"""Mapping a function over many clips with threads or processes, and a progress bar."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from concurrent.futures import Executor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import Any, TypeVar

import torch
from tqdm import tqdm

from ..manifest import Manifest
from ..worker_processes import CHUNK_CLIPS, spawned_pool

Item = TypeVar("Item")
Result = TypeVar("Result")

InProcesses = Callable[[Manifest, Sequence[int]], bool]
"""Whether the workers of a pass over these rows are processes, which pays for many short clips."""

_ITEMS_IN_FLIGHT = 4096
"""Bounds the memory of a pass over millions of clips."""


def parallel_map(
    make: Callable[[], Callable[[Item], Result]],
    items: Iterable[Item],
    workers: int,
    description: str,
    unit: str = "clip",
    *,
    total: int | None = None,
    processes: bool = False,
) -> Iterator[Result]:
    """Results in the order of the items.

    Threads are enough where an item takes long: decoding, transforms and file access all release Python's lock. Of
    short clips many threads decode no more than one does; processes decode more.

    Args:
        make: gives a worker its function, with what has no lock and is not shared: open containers.
        items: what the function is called with.
        workers: number of threads or processes; 0 for one per core.
        description: stands beside the progress bar, which is shown on a terminal only.
        unit: what an item is.
        total: how many items there are, if `items` does not know.
        processes: whether the workers are processes: then make, items and results travel by pickle.

    Raises:
        ChildProcessError: a process has died.
    """
    if total is None:
        total = len(items) if isinstance(items, Sized) else None
    number = workers or one_per_core()
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the clips are what is done in parallel
    pool: Executor = (
        spawned_pool(number, _begin, make) if processes else ThreadPoolExecutor(number, "", _begin, (make,))
    )
    pending = iter(items)
    try:
        with pool, tqdm(total=total, desc=description, unit=f" {unit}s", disable=None) as bar:
            while portion := list(islice(pending, _ITEMS_IN_FLIGHT)):
                for result in pool.map(_call, portion, chunksize=CHUNK_CLIPS):  # which threads do not look at
                    bar.update()
                    yield result
    except BrokenProcessPool as error:
        raise ChildProcessError(f"{description}: a process that reads has died, killed or out of memory") from error
    finally:
        torch.set_num_threads(num_threads)


def never(manifest: Manifest, rows: Sequence[int]) -> bool:  # noqa: ARG001
    """Threads, as `InProcesses`."""
    return False


def one_per_core() -> int:
    """How many workers there are where their number is not said."""
    return os.cpu_count() or 1


_of_worker = threading.local()


def _begin(make: Callable[[], Callable]) -> None:
    torch.set_num_threads(1)
    _of_worker.function = make()


def _call(item: Any) -> Any:
    return _of_worker.function(item)
