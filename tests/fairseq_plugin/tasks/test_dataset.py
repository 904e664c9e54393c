import itertools
from functools import partial

import numpy as np
import pytest
import torch
from fairseq.tasks import FairseqTask

from ASDA.data.bad_clips import TooManyBadClipsError
from ASDA.data.dataset import Augmentation
from ASDA.fairseq_plugin.tasks.dataset import FairseqSpectrogramDataset
from tests.data.generated_corpora import FRONT_END, break_clips, half_masks, write_corpus


@pytest.fixture
def corpus(tmp_path):
    return partial(write_corpus, tmp_path)


class _Task(FairseqTask):
    """fairseq's own iterators around a data set."""

    def __init__(self):
        super().__init__(cfg=None)


def epoch_ids(dataset, epochs, num_workers=0, start_epoch=1, skip=0, **options):
    """Clip ids and batches of some epochs, drawn as fairseq's trainer draws them."""
    task, result = _Task(), []
    iterator = None
    for epoch in range(start_epoch, start_epoch + epochs):
        if iterator is None or not task.can_reuse_epoch_itr(dataset):
            iterator = task.get_batch_iterator(
                dataset, max_sentences=2, epoch=epoch, num_workers=num_workers, data_buffer_size=0, **options
            )
            if epoch == start_epoch and skip:
                iterator.load_state_dict({"version": 2, "epoch": epoch, "iterations_in_epoch": skip, "shuffle": True})
        result.append([batch for batch in iterator.next_epoch_itr(shuffle=True)])
    return result


def ids(epoch) -> list[int]:
    return list(itertools.chain.from_iterable(batch["id"].tolist() for batch in epoch))


def test_fairseq_iterator__each_epoch_is_a_new_order_of_all_clips(corpus):
    dataset = FairseqSpectrogramDataset(corpus(9, duration_s=0.1), FRONT_END)
    epochs = [ids(epoch) for epoch in epoch_ids(dataset, 3)]
    assert all(sorted(epoch) == list(range(9)) for epoch in epochs)
    batches = [{tuple(sorted(batch["id"].tolist())) for batch in epoch} for epoch in epoch_ids(dataset, 3)]
    assert batches[0] != batches[1] != batches[2]  # not only the batches' order changes, their content does


def test_fairseq_iterator__resumed_run_draws_what_an_uninterrupted_one_would(corpus):
    manifest = corpus(9, duration_s=0.1)
    options = {"mask_sampler": half_masks, "augmentation": Augmentation(roll=True, noise=True)}
    straight = epoch_ids(FairseqSpectrogramDataset(manifest, FRONT_END, **options), 3)
    resumed = epoch_ids(FairseqSpectrogramDataset(manifest, FRONT_END, **options), 2, start_epoch=2, skip=2)
    expected = straight[1][2:] + straight[2]
    got = resumed[0] + resumed[1]
    assert [batch["id"].tolist() for batch in got] == [batch["id"].tolist() for batch in expected]
    for a, b in zip(got, expected, strict=True):
        assert torch.equal(a["net_input"]["source"], b["net_input"]["source"])
        assert torch.equal(a["net_input"]["precomputed_mask"], b["net_input"]["precomputed_mask"])


def test_fairseq_iterator__workers_give_the_same_batches_and_share_the_count(corpus):
    manifest = corpus(8, duration_s=0.1)
    break_clips(manifest, 3, 5)
    options = {"mask_sampler": half_masks, "augmentation": Augmentation(roll=True), "max_bad_fraction": 0.5}
    plain, worked = (FairseqSpectrogramDataset(manifest, FRONT_END, **options) for _ in range(2))
    for a, b in zip(epoch_ids(plain, 2), epoch_ids(worked, 2, num_workers=2), strict=True):
        for x, y in zip(a, b, strict=True):
            assert torch.equal(x["id"], y["id"]) and x["num_unreadable"] == y["num_unreadable"]
            assert torch.equal(x["net_input"]["source"], y["net_input"]["source"])
            assert torch.equal(x["net_input"]["precomputed_mask"], y["net_input"]["precomputed_mask"])
    assert worked.bad_clips.indices() == [3, 5]  # found in the workers, known here


@pytest.mark.slow
def test_fairseq_iterator__too_many_bad_clips_stop_from_a_worker(corpus):
    manifest = corpus(8, duration_s=0.1)
    break_clips(manifest, 3, 5)
    dataset = FairseqSpectrogramDataset(manifest, FRONT_END, max_bad_fraction=0.2)
    with pytest.raises(TooManyBadClipsError, match="clip_3.wav(?s:.*)clip_5.wav"):
        epoch_ids(dataset, 1, num_workers=1)


def test_fairseq_iterator__evaluation_keeps_file_order_and_every_clip(corpus):
    dataset = FairseqSpectrogramDataset(corpus(5, duration_s=0.1), FRONT_END, shuffle=False, replace_bad=False)
    assert dataset.can_reuse_epoch_itr_across_epochs
    iterator = _Task().get_batch_iterator(dataset, max_sentences=2)
    assert ids(iterator.next_epoch_itr(shuffle=False)) == [0, 1, 2, 3, 4]


def test_fairseq_iterator__two_shards_cover_all_clips_once(corpus):
    manifest = corpus(9, duration_s=0.1)
    shards = [
        ids([b for b in epoch_ids(FairseqSpectrogramDataset(manifest, FRONT_END), 1, num_shards=2, shard_id=s)[0] if b])
        for s in range(2)
    ]
    assert sorted(shards[0] + shards[1]) == list(range(9))


def test_fairseq_iterator__weighted_sampling_draws_the_asked_number(corpus):
    dataset = FairseqSpectrogramDataset(
        corpus(6, duration_s=0.1), FRONT_END, sample_weights=np.array([1, 1, 1, 1, 1, 15.0]), num_draws=40
    )
    first, second = (ids(epoch) for epoch in epoch_ids(dataset, 2))
    assert len(first) == len(second) == 40
    assert first.count(5) > 20 and first != second


def test_dataset__answers_fairseqs_questions_about_size(corpus):
    dataset = FairseqSpectrogramDataset(corpus(4, duration_s=0.1), FRONT_END)
    assert len(dataset) == 4
    assert dataset.num_tokens(1) == dataset.size(1) == 32
    assert dataset.num_tokens_vec(np.arange(3)).tolist() == [32] * 3
    kept, ignored = dataset.filter_indices_by_size(np.arange(4), 31)
    assert len(kept) == 0 and ignored == [0, 1, 2, 3]
