"""A run that goes on in mid-epoch with other processes, another batch size or other data."""

import pytest

from .training_runs import Run, resume_from, updates_done, write_clips

pytestmark = [pytest.mark.slow, pytest.mark.long]
OPTIONS = ("optimization.max_update=10", "checkpoint.save_interval_updates=2", "checkpoint.keep_interval_updates=-1")


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Six batches of two and one of one: with two processes four updates an epoch."""
    return write_clips(tmp_path_factory.mktemp("clips"), train=13)


@pytest.fixture(scope="module")
def two(clips, tmp_path_factory):
    return Run(tmp_path_factory.mktemp("two"), clips, *OPTIONS, processes=2).finish()


def weights(run, rank=0):
    return {update: record["weights"] for update, record in run.records(rank).items()}


def seen(run, epoch, ranks=1):
    records = (record for rank in range(ranks) for record in run.records(rank).values() if record["epoch"] == epoch)
    return [clip for record in records for batch in record["batches"] if not batch["dummy"] for clip in batch["clips"]]


def test_one_process__goes_on_where_two_were_bit_for_bit(two, clips, tmp_path):
    """In epoch 2, which the schedule of two processes reaches after four updates; the rest of it and another one."""
    resume_from(two.folder / "checkpoint_2_6.pt", tmp_path)
    one = Run(tmp_path, clips, *OPTIONS, "optimization.update_freq=[2]").finish()
    assert weights(one) == {update: hashed for update, hashed in weights(two).items() if update > 6}
    assert "so far it was done with 2 clips x 2 process(es) x update_freq 1" in one.text


@pytest.mark.parametrize("workers", [0, 1])
def test_other_batch_size__sees_each_clip_of_the_epoch_once(two, clips, tmp_path, workers):
    resume_from(two.folder / "checkpoint_2_6.pt", tmp_path)
    options = (*OPTIONS, "dataset.batch_size=3", f"dataset.num_workers={workers}")
    other = Run(tmp_path, clips, *options).finish()
    before = [
        clip
        for rank in (0, 1)
        for update in (5, 6)
        for batch in two.records(rank)[update]["batches"]
        for clip in batch["clips"]
    ]
    assert sorted(before + seen(other, epoch=2)) == list(range(13))
    assert {record["epoch"] for record in other.records().values()} == {2, 3}


def test_other_data__is_refused_before_training(two, tmp_path):
    other = write_clips(tmp_path / "clips", train=12)
    resume_from(two.folder / "checkpoint_2_6.pt", tmp_path / "run")
    run = Run(tmp_path / "run", other, *OPTIONS).start()
    assert run.wait() == 1
    assert "13 clips then, 12 now" in run.text and updates_done(run) == 0
