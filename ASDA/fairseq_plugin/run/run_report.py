"""What a run says about itself: how large its updates are, how far it is, how much GPU memory it takes."""

import logging
import sys
from typing import Any, Optional

import torch

from ...training.heartbeat import Heartbeat
from ...training.progress import UpdateBar
from .processes import rank_and_size
from .progress_line import ProgressLine
from .quiet import filter_handlers
from .summary import batch

logger = logging.getLogger(__name__)

_GIB = 2**30


def report_batch_size(run: Any, clips_per_update: Optional[int]) -> None:
    """Warns if the recipe's schedule is for another number of clips per update."""
    clips, freq = run.dataset.batch_size, run.optimization.update_freq[0]
    if clips is not None and clips_per_update not in (None, clips * rank_and_size()[1] * freq):
        logger.warning(
            f"{batch(run)}, but the learning rate and the number of updates are a recipe for "
            f"{clips_per_update} (task.clips_per_update)"
        )


class RunReport:
    """How far a run is, by the first process: a bar on a terminal, else a line whenever it was silent for a while."""

    def __init__(self) -> None:
        self._bar: Optional[UpdateBar] = None
        self._loss = float("nan")
        self._num_updates = 0  # of this process
        self._line = ProgressLine()
        self._heartbeat = Heartbeat(lambda: logger.info(self._line))

    def get_ready(self) -> None:
        """The run has begun; its updates have not."""
        if rank_and_size()[0] == 0 and not sys.stderr.isatty():
            self._heartbeat.start()
            filter_handlers()  # what is not shown is not heard either

    def begin(self, run: Any, num_updates: int) -> None:
        """Updates begin, after ``num_updates`` that were done before."""
        if rank_and_size()[0] > 0:
            return
        clips, size = run.dataset.batch_size, rank_and_size()[1]
        per_update = clips * size * run.optimization.update_freq[0] if clips else None
        self._line.begin(num_updates, run.optimization.max_update, per_update)
        self._bar = UpdateBar(run.optimization.max_update, num_updates)
        filter_handlers()  # the bar has put its own in the place of the console's

    def reads(self, split: str, batches: int) -> None:
        """A pass over a split begins that is not for training."""
        self._line.reads(split, batches)

    def validated_batch(self) -> None:
        """One more batch of it."""
        self._line.validated_batch()

    def batch(self, log: dict) -> None:
        """Takes what a batch has logged, read from the device."""
        if self._bar is not None and log.get("sample_size"):
            self._loss = log["loss"] / log["sample_size"]

    def update(self, run: Any, device: torch.device, num_updates: int) -> None:
        """Shows that the run has done ``num_updates``."""
        self._num_updates += 1
        if self._bar is None:
            return
        self._bar.advance(loss=self._loss)
        self._line.update(num_updates, self._loss)
        if self._num_updates == 2 and device.type == "cuda":  # the first one allocates the optimiser's state
            peak, total = torch.cuda.max_memory_allocated(device), torch.cuda.mem_get_info(device)[1]
            logger.info(
                f"peak GPU memory of an update: {peak / _GIB:.2f} GiB of {total / _GIB:.2f} GiB on {device} with "
                f"{run.dataset.batch_size} clips per batch"
            )

    def close(self) -> None:
        self._heartbeat.stop()
        if self._bar is not None:
            self._bar.close()
