"""Batch iterators of a run: their workers outlive a signal and end with their epoch; none is ever out of batches."""

from typing import Any, List, Optional, Tuple

import torch
from torch.utils.data import get_worker_info

from ...training.stopping import outlive_first_termination

_STAND_IN = "stand_in"


class BatchIterators:
    """The current batch iterator of each data set."""

    def __init__(self) -> None:
        self._current: dict = {}

    def replace(self, dataset: Any, iterator: Any) -> Any:
        """Puts an iterator in the place of the data set's previous one, whose workers end."""
        previous = self._current.get(dataset)
        if previous not in (None, iterator):
            # An iterator and its loader refer to each other. Left to the garbage collector, the queues go before the
            # workers do, which then wait for ever: each epoch would leave its workers behind.
            previous.dataloader = previous.epoch_batch_sampler = None
            previous._cur_epoch_itr = previous._next_epoch_itr = None
        self._current[dataset] = iterator
        return iterator

    def of(self, dataset: Any) -> Any:
        """The current one of a data set; None if there is none."""
        return self._current.get(dataset)


class SteadyCollater:
    """Collates, and lets the data-loader worker that it runs in survive the signals that stop a run.

    With several processes the last batch of an epoch may be missing on some. fairseq repeats one there, but then gives
    all batches of this process's update the weight 0, not only that one. So a batch of its own stands in
    (:func:`real_batch`), and the task leaves it out of the sums.

    Args:
        dataset: whose samples are joined.
        stand_in: clips of the batch that stands in for a missing one; None: a missing one is passed on as it is.
    """

    def __init__(self, dataset: Any, stand_in: Optional[List[int]] = None):
        self.dataset = dataset
        self.stand_in = stand_in

    def __call__(self, samples: list) -> dict:
        if get_worker_info() is not None:
            outlive_first_termination()
        if samples or self.stand_in is None:
            return self.dataset.collater(samples)
        batch = self.dataset.collater([self.dataset[index] for index in self.stand_in])
        return {"id": torch.empty(0, dtype=torch.int64), "num_unreadable": 0, _STAND_IN: batch}


def real_batch(sample: dict, ignore_grad: bool) -> Tuple[dict, bool]:
    """The batch to compute, and whether it only stands in for a missing one: its gradient and its sums are nothing."""
    return (sample[_STAND_IN], True) if _STAND_IN in sample else (sample, ignore_grad)
