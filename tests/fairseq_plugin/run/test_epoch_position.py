"""Going on in mid-epoch with other processes, batches or update_freq: each clip once, in the epoch's own order."""

import itertools

import numpy as np
import pytest

pytest.importorskip("fairseq", reason="the iterators are fairseq's")

from fairseq.data import FairseqDataset
from fairseq.data.iterators import EpochBatchIterator, GroupedIterator

from ASDA.fairseq_plugin.run.epoch_position import PositionedEpochs, PositionError


class Clips(FairseqDataset):
    def __init__(self, number, seed=1):
        self.number, self.seed, self.epoch = number, seed, 1

    def __len__(self):
        return self.number

    def __getitem__(self, index):
        return index

    def collater(self, samples):
        return samples

    def ordered_indices(self):
        return np.random.RandomState(self.seed * 100 + self.epoch).permutation(self.number)

    def num_tokens(self, index):
        return 10

    def num_tokens_vec(self, indices):
        return np.full(len(indices), 10, dtype=np.int64)

    def set_epoch(self, epoch):
        self.epoch = epoch


def run_of(processes, clips, freq, **dataset):
    settings = {"batch_size": clips, "max_tokens": None, "required_batch_size_multiple": 1, "grouped_shuffling": False}
    return {
        "dataset": {**settings, **dataset},
        "optimization": {"update_freq": [freq]},
        "distributed_training": {"distributed_world_size": processes},
    }


class Trainer:
    """The loop of fairseq's train(), for all processes of a run in turn."""

    def __init__(self, number, processes, clips, freq, state=None, before=None, seed=1, **dataset):
        self.run = run_of(processes, clips, freq, **dataset)
        self.freq = freq
        self.ranks = []
        for rank in range(processes):
            clips_of_rank = Clips(number, seed)
            clips_of_rank.set_epoch(state["epoch"] if state else 1)
            cut = self.run["dataset"]

            def batches(data, epoch, cut=cut):  # noqa: ARG001 - fairseq passes it
                return data.batch_by_size(
                    data.ordered_indices(),
                    max_tokens=cut["max_tokens"],
                    max_sentences=cut["batch_size"],
                    required_batch_size_multiple=cut["required_batch_size_multiple"],
                )

            iterator = EpochBatchIterator(
                clips_of_rank,
                clips_of_rank.collater,
                batches,
                num_shards=processes,
                shard_id=rank,
                epoch=state["epoch"] if state else 1,
                grouped_shuffling=cut["grouped_shuffling"],
            )
            iterator = PositionedEpochs(iterator, self.run, lambda: before)
            if state:
                iterator.load_state_dict(state)
            self.ranks.append(iterator)

    def train(self, updates):
        """Clips of each update, until so many are done or the epoch ends; and whether it has ended."""
        groups = [GroupedIterator(rank.next_epoch_itr(), self.freq) for rank in self.ranks]
        seen = []
        while groups[0].has_next() and len(seen) < updates:
            chunks = [next(group) for group in groups]
            seen.append([int(clip) for chunk in chunks for batch in chunk for clip in batch])
        ended = not groups[0].has_next()
        assert all(rank.end_of_epoch() == ended for rank in self.ranks)
        return seen, ended

    @property
    def state(self):
        states = [rank.state_dict() for rank in self.ranks]
        assert all(state == states[0] for state in states)
        return states[0]


def flat(updates):
    return list(itertools.chain.from_iterable(updates))


BATCHINGS = [(1, 2, 2), (2, 2, 1), (2, 3, 2), (1, 5, 1), (3, 1, 4), (4, 2, 3), (2, 2, 5)]


@pytest.mark.parametrize("number", [32, 37])
@pytest.mark.parametrize("first", BATCHINGS)
@pytest.mark.parametrize("then", BATCHINGS)
def test_position__each_clip_of_the_epoch_is_seen_once(number, first, then):
    for updates in (1, 2, 3):
        begun = Trainer(number, *first)
        seen, ended = begun.train(updates)
        if ended:
            continue
        gone_on = Trainer(number, *then, state=begun.state)
        rest, ended = gone_on.train(1000)
        assert ended
        assert sorted(flat(seen) + flat(rest)) == list(range(number))
        state = gone_on.state
        assert state["epoch"] == 2 and state["iterations_in_epoch"] == 0
        following, _ = gone_on.train(1000)
        whole, _ = Trainer(number, *then, state=state).train(1000)
        assert following == whole and sorted(flat(whole)) == list(range(number))


def test_position__changes_more_than_once_within_an_epoch():
    number = 75
    seen, state = [], None
    for batching in ((2, 2, 1), (1, 3, 2), (4, 1, 1), (4, 1, 1), (1, 2, 5), (2, 2, 1)):
        trainer = Trainer(number, *batching, state=state)
        seen += flat(trainer.train(2)[0])
        state = trainer.state
        assert state["epoch"] == 1
    rest, ended = Trainer(number, 1, 4, 1, state=state).train(1000)
    assert ended and sorted(seen + flat(rest)) == list(range(number))


@pytest.mark.parametrize(("first", "then"), [((2, 2, 1), (1, 2, 2)), ((1, 2, 4), (4, 2, 1)), ((2, 2, 2), (4, 2, 1))])
def test_position__the_same_clips_per_update_are_the_same_updates(first, then):
    straight, _ = Trainer(33, *then).train(1000)
    begun = Trainer(33, *first)
    seen, _ = begun.train(2)
    rest, _ = Trainer(33, *then, state=begun.state).train(1000)
    assert [sorted(update) for update in seen + rest] == [sorted(update) for update in straight]


def test_position__another_batch_size_keeps_the_epochs_own_order():
    straight, _ = Trainer(24, 1, 2, 1).train(1000)
    begun = Trainer(24, 1, 2, 1)
    begun.train(3)
    rest, _ = Trainer(24, 1, 6, 1, state=begun.state).train(1000)
    assert flat(rest) == flat(straight)[6:] and [len(update) for update in rest] == [6, 6, 6]


def test_position__groups_are_shuffled_as_the_run_before_shuffled_them():
    straight, _ = Trainer(24, 2, 2, 1, grouped_shuffling=True).train(1000)
    begun = Trainer(24, 2, 2, 1, grouped_shuffling=True)
    seen, _ = begun.train(2)
    rest, _ = Trainer(24, 1, 4, 1, state=begun.state, grouped_shuffling=True).train(1000)
    assert [sorted(update) for update in seen + rest] == [sorted(update) for update in straight]


def test_position__of_a_checkpoint_without_its_batching_is_that_of_its_configuration():
    begun = Trainer(32, 2, 2, 1)
    seen, _ = begun.train(3)
    old = {name: value for name, value in begun.state.items() if name not in ("stretches", "order")}
    rest, _ = Trainer(32, 1, 4, 1, state=old, before=begun.run).train(1000)
    assert sorted(flat(seen) + flat(rest)) == list(range(32))


@pytest.mark.parametrize(
    ("change", "told"), [({"number": 31}, "32 clips then, 31 now"), ({"seed": 2}, "another order")]
)
def test_position__in_another_epoch_is_refused(change, told):
    begun = Trainer(32, 2, 2, 1)
    begun.train(3)
    with pytest.raises(PositionError, match=told):
        Trainer(**{"number": 32, "processes": 2, "clips": 2, "freq": 1, **change}, state=begun.state)
