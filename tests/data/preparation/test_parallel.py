import os
import signal
import threading
from functools import partial

import pytest
import torch

from ASDA.data.preparation import parallel
from ASDA.data.preparation.parallel import parallel_map


def test_parallel_map__keeps_the_order_across_portions(monkeypatch):
    monkeypatch.setattr(parallel, "_ITEMS_IN_FLIGHT", 7)
    assert list(parallel_map(lambda: lambda i: i * i, range(50), 3, "squares")) == [i * i for i in range(50)]


def test_parallel_map__works_at_the_same_time_with_one_torch_thread_each():
    barrier = threading.Barrier(2, timeout=10)
    before = torch.get_num_threads()

    def meet(_: int) -> int:
        barrier.wait()  # passes only if both run at once
        return torch.get_num_threads()

    assert list(parallel_map(lambda: meet, range(2), 2, "meeting")) == [1, 1]
    assert torch.get_num_threads() == before


def test_parallel_map__lets_errors_through():
    def fail(i: int) -> int:
        raise KeyError(i)

    with pytest.raises(KeyError):
        list(parallel_map(lambda: fail, range(3), 2, "failing"))


def _squares_of_one_worker(first: int):
    """Makes a worker's function, which counts for itself."""
    calls = iter(range(first, 1_000_000))

    def square(number: int) -> tuple[int, int, int, int]:
        if number < 0:
            raise KeyError(number)
        if number == 1_000:
            os.kill(os.getpid(), signal.SIGKILL)
        return number * number, os.getpid(), next(calls), torch.get_num_threads()

    return square


def test_parallel_map__in_processes_is_what_it_is_in_threads(monkeypatch):
    monkeypatch.setattr(parallel, "_ITEMS_IN_FLIGHT", 70)
    before = torch.get_num_threads()
    numbers = range(150)
    found = list(parallel_map(partial(_squares_of_one_worker, 7), numbers, 2, "squares", processes=True))
    squares, processes, calls, threads = zip(*found, strict=True)
    assert squares == tuple(number * number for number in numbers)
    assert os.getpid() not in processes and len(set(processes)) <= 2 and set(threads) == {1}
    assert min(calls) == 7 and len(set(zip(processes, calls, strict=True))) == 150  # each its own function, once
    assert torch.get_num_threads() == before


def test_parallel_map__of_processes_lets_errors_through_and_says_who_has_died():
    make = partial(_squares_of_one_worker, 0)
    with pytest.raises(KeyError):
        list(parallel_map(make, [1, -1, 2], 1, "failing", processes=True))
    with pytest.raises(ChildProcessError, match="^counting: a process that reads has died, killed or out of memory$"):
        list(parallel_map(make, range(2_000), 1, "counting", processes=True))


def test_parallel_map__takes_what_has_no_length():
    assert list(parallel_map(lambda: abs, (-number for number in range(5)), 2, "sizes", total=5)) == [0, 1, 2, 3, 4]
