"""Stopping on request, and what a checkpoint records beside fairseq's own."""

import logging
import os
import re
from typing import Any

import torch.distributed as dist
from fairseq.distributed import utils as distributed_utils

from ...training.master_weights import master_state, restore_master_state
from ...training.stopping import EXIT_STOPPED, StopRequest
from .processes import rank_and_size

logger = logging.getLogger(__name__)

_INTERVAL_CHECKPOINT = re.compile(r"checkpoint_\d+_\d+")


class StopAndSave:
    """Has fairseq save at the end of the update in which a signal comes, and ends the run before the next."""

    def __init__(self) -> None:
        self._request = StopRequest()
        self._stopping = False
        self._own_settings: tuple = ()

    def __bool__(self) -> bool:
        """Whether this process was asked to stop."""
        return bool(self._request)

    def install(self) -> None:
        """From now on signals are requests."""
        self._request.install()

    def save_and_stop(self, run: Any, num_updates: int) -> None:
        """Has fairseq save at the end of this update, as it does at each interval; the next update leaves."""
        if self._stopping or num_updates >= (run.optimization.max_update or float("inf")):
            return  # the last update is saved in any case, and its run is complete
        self._stopping = True
        logger.warning(f"{self._request.signal_name or 'a signal'}: stopping after update {num_updates}")
        checkpoint, dataset = run.checkpoint, run.dataset
        self._own_settings = (
            checkpoint.save_interval_updates,
            dataset.validate_after_updates,
            dataset.disable_validation,
        )
        checkpoint.save_interval_updates = 1
        dataset.validate_after_updates = 0
        dataset.disable_validation = True  # there may be little time

    def restore_settings(self, run: Any) -> None:
        """Gives the run its own settings back, for its checkpoint to record them."""
        if self._stopping:
            checkpoint, dataset = run.checkpoint, run.dataset
            checkpoint.save_interval_updates, dataset.validate_after_updates, dataset.disable_validation = (
                self._own_settings
            )

    def after_save(self, file: str, checkpoint: Any) -> None:
        """A run without checkpoints at intervals gets none by being stopped.

        Args:
            file: that fairseq has written.
            checkpoint: the run's settings of checkpoints, its own again.
        """
        at_interval = _INTERVAL_CHECKPOINT.match(os.path.basename(file))
        if self._stopping and at_interval and not checkpoint.no_last_checkpoints:
            if checkpoint.save_interval_updates == 0:
                os.remove(file)  # checkpoint_last.pt is its copy

    @property
    def has_saved(self) -> bool:
        """Whether the run is to end before the next update."""
        return self._stopping

    def leave(self) -> None:
        """Ends a run that has saved, all processes together.

        Raises:
            SystemExit: with the exit code that says so.
        """
        if rank_and_size()[1] > 1:
            dist.barrier(distributed_utils.get_data_parallel_group())  # the first process may still be writing
        logger.info(f"stopped, exit code {EXIT_STOPPED}; the same command continues from the checkpoint")
        raise SystemExit(EXIT_STOPPED)


class SavedMasters:
    """The float32 weights beside a half-precision model, in the task's part of a checkpoint."""

    def __init__(self) -> None:
        self._optimizer: Any = None
        self._loaded: dict = {}

    def state(self) -> dict:
        """What a checkpoint has to hold; nothing before the first update, or in float32."""
        return master_state(self._optimizer)

    def load(self, state: dict) -> None:
        """Takes what :meth:`state` gave; it is put in place before the next update."""
        self._loaded = state

    def start_update(self, optimizer: Any) -> None:
        self._optimizer = optimizer
        if self._loaded:
            restore_master_state(optimizer, self._loaded)
            self._loaded = {}
