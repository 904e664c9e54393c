import threading

import pytest
import torch

from ASDA.data.preparation import parallel
from ASDA.data.preparation.parallel import parallel_map


def test_parallel_map__keeps_the_order_across_portions(monkeypatch):
    monkeypatch.setattr(parallel, "_ITEMS_IN_FLIGHT", 7)
    assert list(parallel_map(lambda i: i * i, range(50), 3, "squares")) == [i * i for i in range(50)]


def test_parallel_map__works_at_the_same_time_with_one_torch_thread_each():
    barrier = threading.Barrier(2, timeout=10)
    before = torch.get_num_threads()

    def meet(_: int) -> int:
        barrier.wait()  # passes only if both run at once
        return torch.get_num_threads()

    assert list(parallel_map(meet, range(2), 2, "meeting")) == [1, 1]
    assert torch.get_num_threads() == before


def test_parallel_map__lets_errors_through():
    def fail(i: int) -> int:
        raise KeyError(i)

    with pytest.raises(KeyError):
        list(parallel_map(fail, range(3), 2, "failing"))
