"""What the tasks add to fairseq's trainer so that a run survives what happens in days.

fairseq calls its task at every turn of a run (set-up, batch, step, checkpoint); everything here hangs on those calls.
docs/training.md says what a user sees of it.
"""

import logging
import math
import os
import time
from functools import partial
from typing import Any, Dict, List, Optional

import torch
from fairseq.logging import metrics
from fairseq.tasks import FairseqTask

from ...host_memory import keep_freed_memory, return_freed_memory
from ...training.nonfinite import NonFiniteGuard, Watched, gradient_norm, nothing, read_log
from ...training.save_folder import checkpoint_bytes, remove_partial_checkpoints, require_room, require_whole
from .batch_iterators import BatchIterators, SteadyCollater
from .changed_fairseq import change_fairseq
from .culprits import named
from .data_parallel import has_summed, rehearse
from .device_memory import ends_the_run
from .epoch_position import PositionedEpochs, configuration_in
from .experiment import record, require_same_experiment, snapshot
from .network_seed import NetworkSeed
from .one_read import OneRead
from .processes import agree, end_together, gather, rank_and_size
from .quiet import is_training_program, quieten
from .run_config import check_precision, check_schedule, check_trackers, run_config, starting_checkpoint, value_in
from .run_report import RunReport, report_batch_size
from .stop_and_save import SavedMasters, StopAndSave
from .summary import describe

logger = logging.getLogger(__name__)


class LongRunTask(FairseqTask):
    """Base of the tasks: faults, stopping on request, exact resuming, and what a run says about itself."""

    def __init__(self, cfg: Any):
        super().__init__(cfg)
        self._run: Optional[Any] = None  # the run's configuration, once it has begun
        self._snapshot: Optional[Dict[str, Any]] = None  # the same before anything was built
        self._stop = StopAndSave()
        self._guard = NonFiniteGuard(cfg.max_skipped_updates)
        self._masters = SavedMasters()
        self._network_seed = NetworkSeed(cfg.seed)
        self._report = RunReport()
        self._iterators = BatchIterators()
        self._validated: Any = None  # the data set of the latest validation
        self._saving_since = 0.0
        self._trained: List[torch.nn.Parameter] = []  # listed once: a model sorts its modules for it
        self._reads_once = False
        self._votes: Optional[List[bool]] = None  # of an update, if they were taken before its step

    # -- before the first update

    @classmethod
    def setup_task(cls, cfg: Any, from_checkpoint: bool = False) -> "LongRunTask":
        run = run_config(cfg)
        if run is not None and not from_checkpoint:
            if is_training_program():
                quieten()
            end_together(run.distributed_training)
            check_precision(run)
            change_fairseq()
            check_trackers(run)
            file = starting_checkpoint(cfg)
            if rank_and_size()[0] == 0 and os.path.isfile(file):
                require_whole(file)
            task = cls.for_run(cfg, run)
            check_schedule(run)
            if is_training_program():
                task._report.get_ready()
            return task
        return cls(cfg)

    @classmethod
    def for_run(cls, cfg: Any, run: Any) -> "LongRunTask":
        """A task that a run is about to begin with; it may settle what the configuration leaves open."""
        return cls(cfg)

    def data_identity(self) -> Dict[str, Any]:
        """Split -> what the clips that a run trains on are known by, for `run.experiment`."""
        return {}

    def described(self) -> Dict[str, str]:
        """What the task adds to the summary of a run: a word -> what it is in this run."""
        return {}

    def require_same_experiment(self) -> None:
        """Refuses a save folder that holds another experiment. Once everything is settled but the network."""
        run = run_config(self.cfg)
        self._snapshot = snapshot(run, self.data_identity())
        if rank_and_size()[0] == 0:
            require_same_experiment(run.checkpoint.save_dir, self._snapshot, self.cfg.extend)

    def reported_metrics(self) -> Dict[str, Optional[bool]]:
        """What a validation reports and checkpoints can be chosen by -> whether more is better (None: either)."""
        keys = value_in(run_config(self.cfg), "criterion", "log_keys") or []
        return {"loss": False, **{key: None for key in keys if not key.startswith("_")}}

    def build_model(self, cfg: Any, from_checkpoint: bool = False) -> torch.nn.Module:
        model = super().build_model(cfg, from_checkpoint)
        run = run_config(self.cfg)
        if run is not None and not from_checkpoint and not run.checkpoint.no_save and rank_and_size()[0] == 0:
            for file in remove_partial_checkpoints(run.checkpoint.save_dir):
                logger.warning(f"removed {file}, which a run that was killed had not finished writing")
            # The old checkpoint stays until the new one is complete.
            require_room(run.checkpoint.save_dir, 2 * checkpoint_bytes(model, run.common.fp16 or run.common.bf16))
        return model

    def begin_epoch(self, epoch: int, model: torch.nn.Module) -> None:
        super().begin_epoch(epoch, model)
        self._share_bad_clips(*self.datasets.values())
        if self._run is None:
            self._run = run_config(self.cfg)
            if self._run is not None:
                if self._snapshot is not None and not self._run.checkpoint.no_save and rank_and_size()[0] == 0:
                    record(self._run.checkpoint.save_dir, self._snapshot)
                self._stop.install()
                self._announce(model)
                if next(model.parameters()).device.type == "cpu" and keep_freed_memory():
                    logger.info("freed memory is kept for the next update; ASDA_KEEP_MEMORY=0 returns it to the system")

    def _announce(self, model: torch.nn.Module) -> None:
        """Says what will happen, before the first update."""
        num_updates = getattr(model, "num_updates", 0)
        report_batch_size(self._run, self.cfg.clips_per_update)
        if rank_and_size()[0] == 0:
            logger.info(describe(self, self._run, model, self._iterators.of(self._trained_on), num_updates))
        self._report.begin(self._run, num_updates)

    def get_batch_iterator(self, dataset: Any, *args: Any, num_workers: int = 0, **kwargs: Any) -> Any:
        if num_workers > 0:  # they are forked from here
            return_freed_memory()
        iterator = super().get_batch_iterator(dataset, *args, num_workers=num_workers, **kwargs)
        run = run_config(self.cfg)
        training = run is not None and dataset is self.datasets.get(run.dataset.train_subset)
        if training and not isinstance(iterator, PositionedEpochs):
            iterator = PositionedEpochs(iterator, run, lambda: configuration_in(starting_checkpoint(self.cfg)))
        if not training:
            self._validated = dataset
            self._report.reads(self._name_of(dataset), len(iterator))
        shared = training and iterator.num_shards > 1
        iterator.collate_fn = SteadyCollater(dataset, iterator.frozen_batches[0] if shared else None)
        return self._iterators.replace(dataset, iterator)

    # -- an update: one or more batches, then a step

    def without_counting(self, sample: Any) -> Any:
        """A batch that enters no statistics."""
        return sample

    def train_step(self, sample, model, criterion, optimizer, update_num, ignore_grad=False):
        """One batch forward and backward; one that is not finite counts for nothing, and its update is left out."""
        step = super().train_step

        def one_batch(sample, ignore_grad):
            with ends_the_run(len(sample["id"]), self._trained[0].device):
                return step(sample, model, criterion, optimizer, update_num, ignore_grad)

        if not self._trained:
            self._trained = [p for p in model.parameters() if p.requires_grad]
            rehearse(model, optimizer, lambda: one_batch(self.without_counting(sample), True))
        if all(p.grad is None for p in self._trained):
            self._begin_update(optimizer, model, update_num)
        self._network_seed.seed_batch(update_num)
        loss, sample_size, log = one_batch(sample, ignore_grad)
        self._guard.watch(loss, log, model.statistics, sample)
        inspect = self._inspect_sum if has_summed(model) else self._inspect_batch
        unsound = not self._reads_once and inspect(model, optimizer, update_num)
        if ignore_grad:  # it counts for nothing, beside this process's other batches of the update
            log = nothing(log)
        if ignore_grad or unsound:
            sample_size = sample_size * 0
        return loss, sample_size, log

    def _inspect_batch(self, model: Any, optimizer: Any, update_num: int) -> bool:
        """Reads a batch by itself, before its sums meet those of other processes. Whether it counts for nothing."""
        gradients = [p.grad for p in self._trained if p.grad is not None]
        norm = None if self._overflows_are_scaled(optimizer) or not gradients else gradient_norm(gradients)
        _, batches = self._guard.inspect(norm)
        self._look_at(batches, model, update_num)
        unsound = any(batch.reason for batch in batches)
        if unsound:
            torch._foreach_zero_(gradients)
        return unsound

    def _inspect_sum(self, model: Any, optimizer: Any, update_num: int) -> bool:
        """Reads the last batch of an update, whose backward pass has summed the gradients over all processes.

        All find the same norm. Whether the update is left out is agreed on here: what is the same on all stays so.
        """
        gradients = [p.grad for p in self._trained if p.grad is not None]
        judged = bool(gradients) and not self._overflows_are_scaled(optimizer)
        norm, batches = self._guard.inspect(gradient_norm(gradients) if judged else None, judged=False)
        left_out, *others = self._vote()
        if not left_out and not math.isfinite(norm):  # no loss tells whose batch it is
            self._guard.find_fault(batches, "the gradient, summed over all processes, is not finite")
            left_out = True
        self._votes = [left_out, *others]
        self._look_at(batches, model, update_num)
        if left_out:
            torch._foreach_zero_(gradients)
        return any(batch.reason for batch in batches)

    def _inspect_update(self, model: Any, optimizer: Any, update_num: int, norm: torch.Tensor) -> torch.Tensor:
        """Reads all batches of an update and the norm of its gradients in one wait; the norm on the host.

        It is 0 for an update that is left out: fairseq would end the run over any other that is not finite.
        """
        found, batches = self._guard.inspect(norm, judged=not self._overflows_are_scaled(optimizer))
        self._look_at(batches, model, update_num)
        return torch.tensor(0.0 if self._guard.reason else found)

    def _overflows_are_scaled(self, optimizer: Any) -> bool:
        """Whether overflowing gradients are part of fp16's loss scaling, which fairseq has on a GPU alone."""
        return getattr(optimizer, "scaler", None) is not None and self._trained[0].is_cuda

    def _look_at(self, batches: List[Watched], model: Any, update_num: int) -> None:
        for batch in batches:
            if batch.reason:
                clips = named(batch.sample, model, batch.loss, batch.log, self._trained_on)
                logger.warning(f"update {update_num + 1} is left out: {batch.reason}{clips}")
                batch.void()
            else:
                model.check_floors(batch.statistics)
            self._report.batch(batch.log)

    def _name_of(self, dataset: Any) -> str:
        return next((name for name, known in self.datasets.items() if known is dataset), "clips")

    @property
    def _trained_on(self) -> Any:
        return self.datasets.get(self._run.dataset.train_subset) if self._run is not None else None

    def valid_step(self, sample, model, criterion):
        self._report.validated_batch()
        with ends_the_run(len(sample["id"]), sample["id"].device):
            loss, sample_size, log = super().valid_step(sample, model, criterion)
        read_log(log)
        return loss, sample_size, log

    def _begin_update(self, optimizer: Any, model: torch.nn.Module, update_num: int) -> None:
        if self._stop.has_saved:
            self._report.close()
            self._stop.leave()
        self._masters.start_update(optimizer)
        self._guard.start_update()
        self._votes = None
        self._network_seed.start_update()
        inner = getattr(optimizer, "fp32_optimizer", optimizer)
        self._reads_once = isinstance(inner, OneRead) and rank_and_size()[1] == 1
        if self._reads_once:
            inner.inspect = partial(self._inspect_update, model, optimizer, update_num)

    def optimizer_step(self, optimizer, model, update_num) -> None:
        left_out, stop, bad_clips = self._votes or self._vote()
        if bad_clips:
            self._share_bad_clips(self._trained_on)
        if left_out:
            self.leave_out_update(optimizer, model, update_num)
        else:
            self.apply_update(optimizer, model, update_num)
        metrics.log_scalar_sum("skipped_updates", int(left_out), priority=410)
        self._guard.end_update(update_num + 1, left_out)
        if self._run is not None:
            self._report.update(self._run, self._trained[0].device, update_num + 1)
            if stop:
                self._stop.save_and_stop(self._run, update_num + 1)

    def _vote(self) -> List[bool]:
        """Whether any process leaves this update out, was asked to stop, has come upon unreadable clips. Collective."""
        bad_clips = self._trained_on is not None and self._trained_on.bad_clips.news
        return agree(self._trained[0].device, bool(self._guard.reason), bool(self._stop), bad_clips)

    def apply_update(self, optimizer, model, update_num) -> None:
        """The step of update ``update_num + 1``."""
        super().optimizer_step(optimizer, model, update_num)

    def leave_out_update(self, optimizer, model, update_num) -> None:
        """What happens instead of the step of an update that is left out."""
        scaler = getattr(optimizer, "scaler", None)
        if scaler is not None and not self._trained[0].is_cuda:
            scaler.loss_scale /= scaler.scale_factor  # fairseq does this itself, but only on a GPU

    @staticmethod
    def _share_bad_clips(*datasets: Any) -> None:
        """Has every process count what any of them could not read. A collective call."""
        if rank_and_size()[1] > 1:
            for dataset in datasets:
                dataset.bad_clips.merge(gather(dataset.bad_clips.indices()))

    # -- a validation

    def post_validate(self, model: torch.nn.Module, stats: dict, meters: Any) -> None:
        """Called by fairseq after a validation, before it compares the result with the best one.

        A value that is not finite is no result: it would end the run, or stay the best for ever.
        """
        self._share_bad_clips(self._validated)
        name = run_config(self.cfg).checkpoint.best_checkpoint_metric
        if name in stats and not math.isfinite(stats[name]):
            logger.warning(
                f"the validation after update {stats['num_updates']} has no {name}: it is {stats[name]}. "
                "It enters no choice of a best checkpoint"
            )
            stats[name] = None

    # -- checkpoints

    def get_checkpoint_dict(self) -> dict:
        """Called by fairseq when it saves: what the checkpoint holds of the task beside its ``state_dict``."""
        self._saving_since = time.monotonic()
        if self._run is not None:
            self._stop.restore_settings(self._run)
        masters = self._masters.state()
        return {type(self).__name__: masters} if masters else {}

    def set_checkpoint_dict(self, state: dict) -> None:
        """Called by fairseq after it has loaded a checkpoint, with what :meth:`get_checkpoint_dict` gave it."""
        self._masters.load(state)

    def post_save(self, file: str, num_updates: int) -> None:
        """Called by fairseq when it has saved, by the first process."""
        took_s = time.monotonic() - self._saving_since
        logger.info(f"saved {file} after update {num_updates} (writing took {took_s:.2f} s)")
        self._stop.after_save(file, run_config(self.cfg).checkpoint)
