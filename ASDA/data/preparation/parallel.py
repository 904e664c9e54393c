"""Mapping a function over many clips with threads and a progress bar."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch
from tqdm import tqdm

Item = TypeVar("Item")
Result = TypeVar("Result")

_ITEMS_IN_FLIGHT = 4096
"""Bounds the memory of a pass over millions of clips."""


def parallel_map(
    function: Callable[[Item], Result], items: Sequence[Item], workers: int, description: str, unit: str = "clip"
) -> Iterator[Result]:
    """Results in the order of the items.

    Threads are enough: decoding, transforms and file access all release Python's lock.

    Args:
        workers: number of threads; 0 for one per core.
        description: stands beside the progress bar, which is shown on a terminal only.
        unit: what an item is.
    """
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the clips are what is done in parallel
    try:
        with (
            ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool,
            tqdm(total=len(items), desc=description, unit=f" {unit}s", disable=None) as bar,
        ):
            for start in range(0, len(items), _ITEMS_IN_FLIGHT):
                for result in pool.map(function, items[start : start + _ITEMS_IN_FLIGHT]):
                    bar.update()
                    yield result
    finally:
        torch.set_num_threads(num_threads)
