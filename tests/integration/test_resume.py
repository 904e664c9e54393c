"""A run that was stopped or killed and resumed leaves no trace: every loss and weight is that of a run without a break.

Bit for bit, on the CPU. Ten clips in batches of two make five updates an epoch; a checkpoint after updates 3 and 6.
"""

import pytest

from .training_runs import Run, difference, resume_from, write_clips

pytestmark = pytest.mark.slow
TO_EIGHT = ("optimization.max_update=8", "checkpoint.save_interval_updates=3")
AUGMENTED = ("task.roll_aug=true", "task.noise=true", "task.random_crop=true")


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    return write_clips(tmp_path_factory.mktemp("clips"))


@pytest.fixture(scope="module")
def straight(clips, pretraining, tmp_path_factory):
    """Eight updates in one go."""
    return Run(tmp_path_factory.mktemp("straight"), clips, *TO_EIGHT, *AUGMENTED, config=pretraining).finish()


def assert_same(resumed, straight, updates, ranks=1):
    for rank in range(ranks):
        expected = {update: straight.records(rank)[update] for update in updates}
        assert {update: resumed.records(rank)[update] for update in updates} == expected
    assert difference(resumed.checkpoint(), straight.checkpoint()) == []


@pytest.mark.long
def test_run__draws_anew_in_every_epoch(straight):
    records = straight.records()
    assert [records[update]["epoch"] for update in sorted(records)] == [1] * 5 + [2] * 3
    masks = [mask for record in records.values() for batch in record["batches"] for mask in batch["masks"]]
    assert len(set(masks)) == len(masks) == 8 * 2 * 2
    assert len({record["random"] for record in records.values()}) == 8
    assert [records[update]["followed_updates"] for update in sorted(records)] == list(range(1, 9))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_resume__within_an_epoch_and_over_its_end(straight, clips, pretraining, tmp_path, num_workers):
    resume_from(straight.folder / "checkpoint_1_3.pt", tmp_path)
    resumed = Run(tmp_path, clips, *TO_EIGHT, *AUGMENTED, f"dataset.num_workers={num_workers}", config=pretraining)
    resumed.finish()
    assert min(resumed.records()) == 4
    assert_same(resumed, straight, range(4, 9))


@pytest.mark.long
def test_resume__after_sigkill_with_two_workers(straight, clips, pretraining, tmp_path):
    options = (*TO_EIGHT, *AUGMENTED, "dataset.num_workers=2")
    run = Run(tmp_path, clips, *options, config=pretraining).start()
    run.wait_until(lambda: (tmp_path / "checkpoint_last.pt").exists())
    run.kill()
    resumed = Run(tmp_path, clips, *options, config=pretraining).finish()
    assert_same(resumed, straight, range(1, 9))


@pytest.mark.long
def test_resume__exactly_between_two_epochs(clips, pretraining, tmp_path):
    options = ("optimization.max_update=7", "checkpoint.no_epoch_checkpoints=false")
    straight = Run(tmp_path / "straight", clips, *options, config=pretraining).finish()
    resume_from(straight.folder / "checkpoint1.pt", tmp_path / "resumed")
    resumed = Run(tmp_path / "resumed", clips, *options, config=pretraining).finish()
    assert sorted(resumed.records()) == [6, 7]
    assert_same(resumed, straight, (6, 7))


@pytest.mark.parametrize(("processes", "train"), [(2, 10), (3, 17)])  # three updates an epoch
@pytest.mark.long
def test_resume__with_several_processes(pretraining, tmp_path, processes, train):
    """Three numbers have more than one sum: torch has to add up gradients in the order of the run without a break."""
    clips = write_clips(tmp_path / "clips", train=train)
    options = ("optimization.max_update=5", "checkpoint.save_interval_updates=2", *AUGMENTED)
    straight = Run(tmp_path / "straight", clips, *options, processes=processes, config=pretraining).finish()
    resume_from(straight.folder / "checkpoint_1_2.pt", tmp_path / "resumed")
    resumed = Run(tmp_path / "resumed", clips, *options, processes=processes, config=pretraining).finish()
    assert_same(resumed, straight, (3, 4, 5), ranks=processes)
    first = [batch for rank in range(processes) for batch in resumed.records(rank)[3]["batches"]]
    assert processes == 2 or not any(batch["dummy"] for batch in first)  # two numbers and 0 have one sum


@pytest.mark.long
def test_resume__of_finetuning_with_all_that_is_random(straight, clips, tmp_path):
    options = (
        *TO_EIGHT,
        *AUGMENTED,
        f"model.model_path={straight.folder / 'checkpoint_last.pt'}",
        "model.prediction_mode=MEAN_POOLING",
        "model.label_smoothing=0.1",
        "model.encoder_dropout=0.1",
        "dataset.num_workers=2",
    )
    whole = Run(tmp_path / "straight", clips, *options, config="finetuning").finish()
    resume_from(whole.folder / "checkpoint_1_3.pt", tmp_path / "resumed")
    resumed = Run(tmp_path / "resumed", clips, *options, config="finetuning").finish()
    assert_same(resumed, whole, range(4, 9))
    assert resumed.log("eval")[-1]["eval_best_mAP"] == whole.log("eval")[-1]["eval_best_mAP"]


@pytest.mark.parametrize("precision", ["common.bf16=true", "model.autocast=bf16"])
@pytest.mark.long
def test_resume__in_half_precision(clips, pretraining, tmp_path, precision):
    options = ("optimization.max_update=4", "checkpoint.save_interval_updates=2", precision)
    straight = Run(tmp_path / "straight", clips, *options, config=pretraining).finish()
    resume_from(straight.folder / "checkpoint_1_2.pt", tmp_path / "resumed")
    resumed = Run(tmp_path / "resumed", clips, *options, config=pretraining).finish()
    assert_same(resumed, straight, (3, 4))
