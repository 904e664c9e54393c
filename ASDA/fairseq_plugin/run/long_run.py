"""What the tasks add to fairseq's trainer so that a run survives what happens in days.

fairseq calls its task at every turn of a run (set-up, batch, step, checkpoint); everything here hangs on those calls.
docs/training.md says what a user sees of it.
"""

import logging
import os
import re
from typing import Any, List, Optional, Tuple

import torch
import torch.distributed as dist
from fairseq.distributed import utils as distributed_utils
from fairseq.logging import metrics
from fairseq.tasks import FairseqTask
from torch.utils.data import get_worker_info

from ...host_memory import keep_freed_memory, return_freed_memory
from ...randomness import clip_generator
from ...training.master_weights import master_state, restore_master_state
from ...training.nonfinite import NonFiniteGuard
from ...training.progress import UpdateBar
from ...training.save_folder import checkpoint_bytes, remove_partial_checkpoints, require_room, require_whole
from ...training.stopping import EXIT_STOPPED, StopRequest, outlive_first_termination
from .atomic_copies import make_copies_atomic
from .run_config import check_precision, check_schedule, run_config

logger = logging.getLogger(__name__)

_GIB = 2**30
_NETWORK_STREAM = 16  # apart from the data set's streams: what the network draws while training (noise, drop path)
_INTERVAL_CHECKPOINT = re.compile(r"checkpoint_\d+_\d+")


def _rank_and_size() -> Tuple[int, int]:
    return (dist.get_rank(), dist.get_world_size()) if dist.is_available() and dist.is_initialized() else (0, 1)


class LongRunTask(FairseqTask):
    """Base of the tasks: faults, stopping on request, exact resuming, and what a run says about itself."""

    def __init__(self, cfg: Any):
        super().__init__(cfg)
        self._run: Optional[Any] = None  # the run's configuration, once it has begun
        self._stop = StopRequest()
        self._stopping = False
        self._own_settings: tuple = ()
        self._guard = NonFiniteGuard(cfg.max_skipped_updates)
        self._optimizer: Any = None
        self._saved_masters: dict = {}
        self._num_batches = 0  # of the current update
        self._num_updates = 0  # of this process
        self._bar: Optional[UpdateBar] = None
        self._iterators: dict = {}  # data set -> its current batch iterator
        self._shown_loss = float("nan")

    # -- before the first update

    @classmethod
    def setup_task(cls, cfg: Any, from_checkpoint: bool = False) -> "LongRunTask":
        run = run_config(cfg)
        if run is not None and not from_checkpoint:
            check_precision(run.common)
            check_schedule(run)
            file = run.checkpoint.restore_file
            if file == "checkpoint_last.pt":  # the default, and the one name that is relative to the save folder
                file = os.path.join(run.checkpoint.save_dir, file)
            if _rank_and_size()[0] == 0 and os.path.isfile(file):
                require_whole(file)
        return cls(cfg)

    def build_model(self, cfg: Any, from_checkpoint: bool = False) -> torch.nn.Module:
        model = super().build_model(cfg, from_checkpoint)
        run = run_config(self.cfg)
        if run is not None and not from_checkpoint and not run.checkpoint.no_save and _rank_and_size()[0] == 0:
            for file in remove_partial_checkpoints(run.checkpoint.save_dir):
                logger.warning(f"removed {file}, which a run that was killed had not finished writing")
            # The old checkpoint stays until the new one is complete.
            require_room(run.checkpoint.save_dir, 2 * checkpoint_bytes(model, run.common.fp16 or run.common.bf16))
        return model

    def begin_epoch(self, epoch: int, model: torch.nn.Module) -> None:
        super().begin_epoch(epoch, model)
        if self._run is None:
            self._run = run_config(self.cfg)
            if self._run is not None:
                make_copies_atomic()
                self._stop.install()
                self._report_batch_size(self._run)
                if next(model.parameters()).device.type == "cpu" and keep_freed_memory():
                    logger.info("freed memory is kept for the next update; ASDA_KEEP_MEMORY=0 returns it to the system")

    def _report_batch_size(self, run: Any) -> None:
        clips, freq = run.dataset.batch_size, run.optimization.update_freq[0]
        if clips is None:
            return
        size = _rank_and_size()[1]
        summary = f"{clips} clips x {size} process(es) x update_freq {freq} = {clips * size * freq} clips per update"
        if self.cfg.clips_per_update in (None, clips * size * freq):
            logger.info(summary)
        else:
            logger.warning(
                f"{summary}, but the learning rate and the number of updates are a recipe for "
                f"{self.cfg.clips_per_update} (task.clips_per_update)"
            )

    def get_batch_iterator(self, dataset: Any, *args: Any, num_workers: int = 0, **kwargs: Any) -> Any:
        if num_workers > 0:  # they are forked from here
            return_freed_memory()
        iterator = super().get_batch_iterator(dataset, *args, num_workers=num_workers, **kwargs)
        iterator.collate_fn = _SteadyCollater(iterator.collate_fn)
        previous = self._iterators.get(dataset)
        if previous not in (None, iterator):
            # An iterator and its loader refer to each other. Left to the garbage collector, the queues go before the
            # workers do, which then wait for ever: each epoch would leave its workers behind.
            previous.dataloader = previous.epoch_batch_sampler = previous._cur_epoch_itr = previous._next_epoch_itr = (
                None
            )
        self._iterators[dataset] = iterator
        return iterator

    # -- an update: one or more batches, then a step

    def train_step(self, sample, model, criterion, optimizer, update_num, ignore_grad=False):
        """One batch forward and backward; one that is not finite counts for nothing, and its update is left out."""
        parameters = [p for p in model.parameters() if p.requires_grad]
        if all(p.grad is None for p in parameters):
            self._begin_update(optimizer)
        self._seed_network(update_num)
        loss, sample_size, log = super().train_step(sample, model, criterion, optimizer, update_num, ignore_grad)
        # Overflowing gradients are part of fp16's loss scaling, which needs a GPU.
        scaled = getattr(optimizer, "scaler", None) is not None and parameters[0].is_cuda
        if not self._guard.inspect(loss, log, None if scaled else parameters):
            for parameter in parameters:
                if parameter.grad is not None:
                    parameter.grad.zero_()
            logger.warning(f"update {update_num + 1} is left out: {self._guard.reason} ({self._places(sample)})")
            sample_size *= 0
            log = {name: torch.zeros_like(value) if torch.is_tensor(value) else 0 for name, value in log.items()}
        if self._bar is not None and sample_size:
            self._shown_loss = float(log["loss"]) / float(sample_size)
        return loss, sample_size, log

    def _begin_update(self, optimizer: Any) -> None:
        if self._stopping:
            self._leave()
        self._optimizer = optimizer
        if self._saved_masters:
            restore_master_state(optimizer, self._saved_masters)
            self._saved_masters = {}
        self._guard.start_update()
        self._num_batches = 0

    def _seed_network(self, update_num: int) -> None:
        """Lets what the network draws depend on (seed, update, place of the batch in the update) alone.

        fairseq gives all processes the same seed. This way they differ, and 1, 2, 4 or 8 of them draw the same.
        """
        rank, size = _rank_and_size()
        place = self._num_batches * size + rank
        torch.manual_seed(clip_generator(self.cfg.seed, update_num, place, _NETWORK_STREAM).initial_seed())
        self._num_batches += 1

    def _places(self, sample: dict) -> str:
        if self._run is None:
            return f"clips {sample['id'].tolist()}"
        manifest = self.datasets[self._run.dataset.train_subset].manifest
        return ", ".join(manifest.where(row) for row in sample["id"].tolist())

    def optimizer_step(self, optimizer, model, update_num) -> None:
        left_out, stop = self._agree(model, bool(self._guard.reason), bool(self._stop))
        if left_out:
            self.leave_out_update(optimizer, model, update_num)
        else:
            self.apply_update(optimizer, model, update_num)
        metrics.log_scalar_sum("skipped_updates", int(left_out), priority=410)
        self._guard.end_update(update_num + 1, left_out)
        self._num_updates += 1
        if self._run is not None:
            self._report_update(model, update_num + 1)
            # The last update is saved in any case, and its run is complete.
            if stop and not self._stopping and update_num + 1 < (self._run.optimization.max_update or float("inf")):
                self._save_and_stop(update_num + 1)

    def apply_update(self, optimizer, model, update_num) -> None:
        """The step of update ``update_num + 1``."""
        super().optimizer_step(optimizer, model, update_num)

    def leave_out_update(self, optimizer, model, update_num) -> None:
        """What happens instead of the step of an update that is left out."""
        scaler = getattr(optimizer, "scaler", None)
        if scaler is not None and not next(model.parameters()).is_cuda:
            scaler.loss_scale /= scaler.scale_factor  # fairseq does this itself, but only on a GPU

    @staticmethod
    def _agree(model: torch.nn.Module, *flags: bool) -> List[bool]:
        """Each flag, true everywhere if it is true on any process. A collective call."""
        if _rank_and_size()[1] == 1:
            return list(flags)
        votes = torch.tensor(flags, dtype=torch.int32, device=next(model.parameters()).device)
        dist.all_reduce(votes, op=dist.ReduceOp.MAX, group=distributed_utils.get_data_parallel_group())
        return [bool(vote) for vote in votes.tolist()]

    def _report_update(self, model: torch.nn.Module, num_updates: int) -> None:
        if _rank_and_size()[0] > 0:
            return
        if self._bar is None:
            self._bar = UpdateBar(self._run.optimization.max_update, num_updates - 1)
        self._bar.advance(loss=self._shown_loss)
        device = next(model.parameters()).device
        if self._num_updates == 2 and device.type == "cuda":  # the first one allocates the optimiser's state
            peak, total = torch.cuda.max_memory_allocated(device), torch.cuda.mem_get_info(device)[1]
            logger.info(
                f"peak GPU memory of an update: {peak / _GIB:.2f} GiB of {total / _GIB:.2f} GiB on {device} with "
                f"{self._run.dataset.batch_size} clips per batch"
            )

    # -- stopping on request

    def _save_and_stop(self, num_updates: int) -> None:
        """Has fairseq save at the end of this update, as it does at each interval; the next update leaves."""
        self._stopping = True
        logger.warning(f"{self._stop.signal_name or 'a signal'}: stopping after update {num_updates}")
        checkpoint, dataset = self._run.checkpoint, self._run.dataset
        self._own_settings = (
            checkpoint.save_interval_updates,
            dataset.validate_after_updates,
            dataset.disable_validation,
        )
        checkpoint.save_interval_updates = 1
        dataset.validate_after_updates = 0
        dataset.disable_validation = True  # there may be little time

    def _leave(self) -> None:
        if _rank_and_size()[1] > 1:
            dist.barrier(distributed_utils.get_data_parallel_group())  # the first process may still be writing
        if self._bar is not None:
            self._bar.close()
        logger.info(f"stopped, exit code {EXIT_STOPPED}; the same command continues from the checkpoint")
        raise SystemExit(EXIT_STOPPED)

    # -- checkpoints

    def get_checkpoint_dict(self) -> dict:
        """Called by fairseq when it saves: what the checkpoint holds of the task beside its ``state_dict``."""
        if self._stopping:  # the checkpoint records the run's own settings
            checkpoint, dataset = self._run.checkpoint, self._run.dataset
            checkpoint.save_interval_updates, dataset.validate_after_updates, dataset.disable_validation = (
                self._own_settings
            )
        masters = master_state(self._optimizer)
        return {type(self).__name__: masters} if masters else {}

    def set_checkpoint_dict(self, state: dict) -> None:
        """Called by fairseq after it has loaded a checkpoint, with what :meth:`get_checkpoint_dict` gave it."""
        self._saved_masters = state

    def post_save(self, file: str, num_updates: int) -> None:
        """Called by fairseq when it has saved. A run without checkpoints at intervals gets none by being stopped."""
        name = os.path.basename(file)
        checkpoint = run_config(self.cfg).checkpoint
        if self._stopping and _INTERVAL_CHECKPOINT.match(name) and not checkpoint.no_last_checkpoints:
            if checkpoint.save_interval_updates == 0:
                os.remove(file)  # checkpoint_last.pt is its copy


class _SteadyCollater:
    """Collates, and lets the data-loader worker that it runs in survive the signal that stops a run."""

    def __init__(self, collate: Any):
        self.collate = collate

    def __call__(self, samples: list) -> dict:
        if get_worker_info() is not None:
            outlive_first_termination()
        return self.collate(samples)
