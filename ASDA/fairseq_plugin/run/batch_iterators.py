"""Batch iterators of a run: their workers outlive a signal, and end with their epoch."""

from typing import Any

from torch.utils.data import get_worker_info

from ...training.stopping import outlive_first_termination


class BatchIterators:
    """The current batch iterator of each data set."""

    def __init__(self) -> None:
        self._current: dict = {}

    def replace(self, dataset: Any, iterator: Any) -> Any:
        """Puts an iterator in the place of the data set's previous one, whose workers end."""
        if not isinstance(iterator.collate_fn, SteadyCollater):
            iterator.collate_fn = SteadyCollater(iterator.collate_fn)
        previous = self._current.get(dataset)
        if previous not in (None, iterator):
            # An iterator and its loader refer to each other. Left to the garbage collector, the queues go before the
            # workers do, which then wait for ever: each epoch would leave its workers behind.
            previous.dataloader = previous.epoch_batch_sampler = None
            previous._cur_epoch_itr = previous._next_epoch_itr = None
        self._current[dataset] = iterator
        return iterator


class SteadyCollater:
    """Collates, and lets the data-loader worker that it runs in survive the signal that stops a run."""

    def __init__(self, collate: Any):
        self.collate = collate

    def __call__(self, samples: list) -> dict:
        if get_worker_info() is not None:
            outlive_first_termination()
        return self.collate(samples)
