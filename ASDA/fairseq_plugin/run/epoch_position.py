"""How far an epoch is, in clips: what a checkpoint keeps for a run that goes on with other processes or batches.

fairseq counts batches of each process. That is no place in an epoch once a run continues with another number of
processes, another batch size or another update_freq: clips would be repeated or left out. Here a checkpoint also holds
by what batching the epoch was done so far, so that the rest of it can be cut anew.
"""

import logging
import math
import zlib
from dataclasses import asdict, dataclass
from typing import Any, List, Optional

import numpy as np
import torch
from fairseq.data import data_utils
from fairseq.data.iterators import EpochBatchIterator, ShardedIterator

logger = logging.getLogger(__name__)


class PositionError(RuntimeError):
    """A checkpoint stands in the middle of an epoch that this run does not have."""


@dataclass(frozen=True)
class Batching:
    """What decides which clips make a batch, and which batches an update."""

    processes: int
    update_freq: int
    max_sentences: Optional[int]
    max_tokens: Optional[int]
    multiple: int
    grouped: bool

    def cuts_like(self, other: "Batching") -> bool:
        """Whether batches hold the same clips."""
        same = ("max_sentences", "max_tokens", "multiple", "grouped")
        return all(getattr(self, name) == getattr(other, name) for name in same) and (
            not self.grouped or self.processes == other.processes  # groups are shuffled as wholes
        )

    def __str__(self) -> str:
        clips = self.max_sentences if self.max_sentences is not None else f"{self.max_tokens} tokens of"
        return f"{clips} clips x {self.processes} process(es) x update_freq {self.update_freq}"


@dataclass(frozen=True)
class Stretch:
    """A part of an epoch that was done by one batching: ``batches`` of it, over all processes."""

    batching: Batching
    batches: int

    def to_dict(self) -> dict:
        return {**asdict(self.batching), "batches": self.batches}

    @classmethod
    def from_dict(cls, values: dict) -> "Stretch":
        values = dict(values)
        return cls(batches=values.pop("batches"), batching=Batching(**values))


class PositionedEpochs(EpochBatchIterator):
    """fairseq's iterator over the training clips, whose state can be loaded by another batching.

    Args:
        iterator: that fairseq has made; its parts are taken over.
        run: the configuration of the whole run.
        before: of the run that wrote the checkpoint; called only for a checkpoint that does not say its batching.
    """

    def __init__(self, iterator: EpochBatchIterator, run: Any, before: Any):
        vars(self).update(vars(iterator))
        self._run = run
        self._before = before
        self._stretches: List[Stretch] = []  # of the current epoch, by earlier runs
        self._start = 0  # count of batches, per process, at which this run began in it
        self._rest: Optional[list] = None  # batches of this epoch that this run cut anew
        self._rest_epoch = 0
        self._order_sum: Optional[tuple] = None

    def batching(self, epoch: int) -> Batching:
        """That of this run."""
        return batching_of(self._run, epoch, self.num_shards)

    # -- saving

    def state_dict(self) -> dict:
        state = super().state_dict()
        if state["iterations_in_epoch"] == 0:  # between epochs: any batching may go on
            return state
        done = Stretch(self.batching(self.epoch), (state["iterations_in_epoch"] - self._start) * self.num_shards)
        stretches = [stretch.to_dict() for stretch in (*self._stretches, done)]
        return {**state, "stretches": stretches, "order": self._order_checksum()}

    def _order_checksum(self) -> list:
        if self._order_sum is None or self._order_sum[0] != self.epoch:
            order = np.concatenate([np.asarray(batch, dtype=np.int64) for batch in self.frozen_batches])
            self._order_sum = (self.epoch, [len(order), zlib.crc32(order.tobytes())])
        return self._order_sum[1]

    # -- loading

    def load_state_dict(self, state_dict: dict) -> None:
        """Goes on where the state was saved.

        Raises:
            PositionError: this run's epoch has other clips, or another order of them.
        """
        self.epoch = epoch = state_dict["epoch"]
        position = state_dict.get("iterations_in_epoch", 0)
        self._stretches, self._start, self._rest = [], 0, None
        if position == 0:
            self._next_epoch_itr = None
            return
        now = self.batching(epoch)
        if "stretches" in state_dict:
            stretches = [Stretch.from_dict(values) for values in state_dict["stretches"]]
            self._require_order(state_dict["order"])
        else:
            recorded = self._before()
            if missing := _BATCHING_SECTIONS - set(recorded):
                logger.warning(
                    f"the checkpoint does not record {', '.join(sorted(missing))}: its epoch is taken to have been cut "
                    "into batches as this run does"
                )
            before = now if missing else batching_of(recorded, epoch)
            stretches = [Stretch(before, position * before.processes)]
        if [stretch.batching for stretch in stretches] == [now]:
            super().load_state_dict(state_dict)
            return
        self._go_on(stretches, now, state_dict.get("shuffle", True))

    def _require_order(self, saved: list) -> None:
        own = self._order_checksum()
        if list(saved) != own:
            same_number = f"{own[0]} clips in another order"
            told = same_number if saved[0] == own[0] else f"{saved[0]} clips then, {own[0]} now"
            raise PositionError(
                f"the checkpoint stands in the middle of epoch {self.epoch}, and this run's is not the same one: "
                f"{told} (other manifests, seed or weights). Give it back what it was begun with, or set "
                "checkpoint.reset_dataloader=true to begin an epoch anew; weights and schedule go on"
            )

    def _go_on(self, stretches: List[Stretch], now: Batching, shuffle: bool) -> None:
        batches, cut = self._whole_epoch(stretches[0].batching, shuffle), stretches[0].batching
        total = sum(map(len, batches))
        for stretch in stretches:
            batches = self._cut(batches, cut, stretch.batching)[stretch.batches :]
            cut = stretch.batching
        self._rest, self._rest_epoch = self._cut(batches, cut, now), self.epoch
        self._stretches = stretches
        left = sum(map(len, self._rest))
        logger.info(
            f"epoch {self.epoch} goes on with {now}; so far it was done with {stretches[-1].batching}: "
            f"{total - left} of its {total} clips are done, the other {left} follow, each once"
        )
        if not self._rest:
            self.epoch += 1
            self._next_epoch_itr, self._stretches = None, []
            return
        # The count goes on at a whole number of updates, which is what fairseq takes it for.
        an_update = len(self._rest[0]) * now.processes * now.update_freq
        self._start = now.update_freq * math.ceil((total - left) / an_update)
        self._next_epoch_itr = self._get_iterator_for_epoch(self.epoch, shuffle, offset=self._start)

    def _whole_epoch(self, batching: Batching, shuffle: bool) -> list:
        """All batches of the epoch as a run with this batching orders them."""
        batches = list(self._batches(np.concatenate(list(self.frozen_batches)), batching))
        if shuffle:
            size = batching.processes if batching.grouped else 1
            groups = [batches[first : first + size] for first in range(0, len(batches), size)]
            if batching.grouped:  # fairseq leaves out a last group that is not whole
                groups = [group for group in groups if len(group) == size]
            with data_utils.numpy_seed(self.seed + self.epoch):
                np.random.shuffle(groups) if batching.grouped else np.random.shuffle(batches)
            batches = [batch for group in groups for batch in group] if batching.grouped else batches
        return batches

    def _cut(self, batches: list, before: Batching, now: Batching) -> list:
        if not batches or before.cuts_like(now):
            return batches
        return list(self._batches(np.concatenate(batches), now))

    def _batches(self, clips: np.ndarray, batching: Batching) -> list:
        return self.dataset.batch_by_size(
            clips.astype(np.int64),
            max_tokens=batching.max_tokens,
            max_sentences=batching.max_sentences,
            required_batch_size_multiple=batching.multiple,
        )

    def ordered_batches(self, epoch: int, fix_batches_to_gpus: bool, shuffle: bool) -> list:
        """The batches of this process, in order; in an epoch that goes on, with nothing in the place of those done."""
        if self._rest is None or epoch != self._rest_epoch:
            return super().ordered_batches(epoch, fix_batches_to_gpus, shuffle)
        own = ShardedIterator(self._rest, self.num_shards, self.shard_id, fill_value=[])
        return [[]] * self._start + list(own)


_BATCHING_SECTIONS = {"dataset", "optimization", "distributed_training"}


def batching_of(run: Any, epoch: int, processes: Optional[int] = None) -> Batching:
    """That of a run's configuration.

    Args:
        run: the configuration.
        epoch: from 1; update_freq may differ between them.
        processes: None: as many as the configuration says.
    """
    dataset, freqs = run["dataset"], run["optimization"]["update_freq"]
    return Batching(
        processes=processes or int(run["distributed_training"]["distributed_world_size"]),
        update_freq=int(freqs[min(epoch, len(freqs)) - 1]),
        max_sentences=dataset["batch_size"],
        max_tokens=dataset["max_tokens"],
        multiple=int(dataset["required_batch_size_multiple"]),
        grouped=bool(dataset["grouped_shuffling"]),
    )


def configuration_in(checkpoint: str) -> dict:
    """The configuration that a checkpoint was written with."""
    return torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)["cfg"]
