"""What a run says about itself: how large its updates are, how far it is, how much GPU memory it takes."""

import logging
from typing import Any, Optional

import torch

from ...training.progress import UpdateBar
from .processes import rank_and_size

logger = logging.getLogger(__name__)

_GIB = 2**30


def report_batch_size(run: Any, clips_per_update: Optional[int]) -> None:
    """Logs how many clips an update has, and warns if the recipe's schedule is for another number."""
    clips, freq = run.dataset.batch_size, run.optimization.update_freq[0]
    if clips is None:
        return
    size = rank_and_size()[1]
    summary = f"{clips} clips x {size} process(es) x update_freq {freq} = {clips * size * freq} clips per update"
    if clips_per_update in (None, clips * size * freq):
        logger.info(summary)
    else:
        logger.warning(
            f"{summary}, but the learning rate and the number of updates are a recipe for "
            f"{clips_per_update} (task.clips_per_update)"
        )


class RunReport:
    """The progress bar, and the memory of the second update, by the first process."""

    def __init__(self) -> None:
        self._bar: Optional[UpdateBar] = None
        self._loss = float("nan")
        self._num_updates = 0  # of this process

    def batch(self, log: dict, sample_size: Any) -> None:
        """Takes what a batch has logged."""
        if self._bar is not None and sample_size:
            self._loss = float(log["loss"]) / float(sample_size)

    def update(self, run: Any, device: torch.device, num_updates: int) -> None:
        """Shows that the run has done ``num_updates``."""
        self._num_updates += 1
        if rank_and_size()[0] > 0:
            return
        if self._bar is None:
            self._bar = UpdateBar(run.optimization.max_update, num_updates - 1)
        self._bar.advance(loss=self._loss)
        if self._num_updates == 2 and device.type == "cuda":  # the first one allocates the optimiser's state
            peak, total = torch.cuda.max_memory_allocated(device), torch.cuda.mem_get_info(device)[1]
            logger.info(
                f"peak GPU memory of an update: {peak / _GIB:.2f} GiB of {total / _GIB:.2f} GiB on {device} with "
                f"{run.dataset.batch_size} clips per batch"
            )

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
