"""Two processes (on the CPU, with gloo) do what one does with the same clips per update.

Compared with one process that takes two batches per update (update_freq=[2]) everything is the same bit for bit, what
the network draws included: it depends on a batch's place in its update. Compared with one process that takes all clips
in one batch, sums are made in another order: gradients agree to 1e-5 of a tensor's largest.
"""

import pytest
import torch

from .training_runs import Run, write_clips

pytestmark = pytest.mark.slow
TIMING = {"wps", "ups", "clips_per_s", "wall", "train_wall"}
OF_ALL_ROWS = {"pred_var", "target_var"}  # of two processes at once, of two batches in turn
UPDATES = ("optimization.max_update=5", "optimization.update_freq=[2]")


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Nine clips: five batches of two, the last of one clip; with two processes the other then repeats a batch."""
    return write_clips(tmp_path_factory.mktemp("clips"), train=9)


@pytest.fixture(scope="module")
def two(clips, pretraining, tmp_path_factory):
    options = {"processes": 2, "config": pretraining}
    return Run(tmp_path_factory.mktemp("two"), clips, "optimization.max_update=5", **options).finish()


@pytest.fixture(scope="module")
def one(clips, pretraining, tmp_path_factory):
    return Run(tmp_path_factory.mktemp("one"), clips, *UPDATES, config=pretraining).finish()


def states(run, rank=0):
    keys = ("weights", "teacher", "statistics", "followed_updates", "epoch")
    return [[record[key] for key in keys] for _, record in sorted(run.records(rank).items())]


def test_two_processes__have_the_same_weights_and_teacher_after_every_update(two):
    assert len(states(two)) == 5
    assert states(two, rank=0) == states(two, rank=1)


def test_two_processes__equal_one_that_takes_two_batches_bit_for_bit(one, two):
    assert states(two) == states(one)
    for ours, theirs in zip(two.log(), one.log(), strict=True):
        assert without(ours, TIMING | OF_ALL_ROWS) == without(theirs, TIMING | OF_ALL_ROWS)
        assert {"loss", "gnorm", "masked_pct", "num_updates", "bsz"} < ours.keys()


def test_two_processes__share_the_batches_and_draw_different_masks(one, two):
    for update, alone in one.records().items():
        ranks = [two.records(rank)[update]["batches"] for rank in (0, 1)]
        real = [batch for batches in ranks for batch in batches if not batch["dummy"]]
        assert real == alone["batches"]
    masks = [m for r in (0, 1) for u in (1, 2) for b in two.records(r)[u]["batches"] for m in b["masks"]]
    assert len(set(masks)) == len(masks) > 10


def test_two_processes__draw_different_noise_for_the_network(two):
    for update in (1, 2):
        assert two.records(0)[update]["random"] != two.records(1)[update]["random"]


@pytest.mark.long
def test_last_batch__that_only_one_process_has_is_in_the_statistics_once(pretraining, tmp_path):
    """Two clips are one batch: the second process has nothing in any update, and repeats it to keep step."""
    clips = write_clips(tmp_path / "clips", train=2)
    two = Run(tmp_path / "two", clips, "optimization.max_update=3", processes=2, config=pretraining).finish()
    one = Run(tmp_path / "one", clips, "optimization.max_update=3", config=pretraining).finish()
    assert all(batch["dummy"] for record in two.records(1).values() for batch in record["batches"])
    assert states(two) == states(one)
    for ours, theirs in zip(two.log(), one.log(), strict=True):
        assert without(ours, TIMING) == without(theirs, TIMING)


def without(values: dict, names: set) -> dict:
    return {name: value for name, value in values.items() if name not in names}


@pytest.fixture(scope="module")
def one_large_batch_and_two(tmp_path_factory):
    """Three clips are one update: as a batch of three, or as one of two and one of one."""
    folder = tmp_path_factory.mktemp("large")
    clips = write_clips(folder / "clips", train=3)
    # Masked tokens without noise, which would be drawn in another order; no clipping, so that Adam sees the gradients;
    # the utterance loss is a sum over the clips of a process unless it is told how many clips it stands for.
    options = (
        "checkpoint.no_epoch_checkpoints=false",  # an epoch is an update here
        "optimization.max_update=3",
        "optimization.clip_norm=0",
        "model.modalities.image.mask_noise_std=0",
        "model.cls_loss_clips=2",
    )
    large = Run(folder / "large", clips, *options, "dataset.batch_size=3").finish()
    return large, Run(folder / "two", clips, *options, processes=2).finish()


def first_gradients(run) -> list[torch.Tensor]:
    """The gradients of the first update: a tenth of them is Adam's first moment then."""
    groups = run.checkpoint("checkpoint1.pt")["last_optimizer_state"]
    return [10 * state["exp_avg"] for name in sorted(groups) for state in groups[name]["state"].values()]


@pytest.mark.long
def test_gradients__equal_those_of_one_process_on_the_same_clips(one_large_batch_and_two):
    large, two = map(first_gradients, one_large_batch_and_two)
    assert len(large) == len(two) > 40
    for expected, gradient in zip(large, two, strict=True):
        torch.testing.assert_close(gradient, expected, rtol=0, atol=1e-5 * float(expected.abs().max()) + 1e-12)


@pytest.mark.long
def test_losses_and_statistics__equal_those_of_one_process_on_the_same_clips(one_large_batch_and_two):
    large, two = (run.log() for run in one_large_batch_and_two)
    for ours, theirs in zip(two, large, strict=True):
        for name in ("loss", "loss_cls", "loss_IMAGE_regression", "pred_var", "target_var", "masked_pct", "gnorm"):
            # three decimals are logged
            assert float(ours[name]) == pytest.approx(float(theirs[name]), abs=1.5e-3), name


@pytest.mark.parametrize("train", [5, 13])
@pytest.mark.long
def test_update_freq__last_update_of_an_epoch_weighs_a_missing_batch_as_nothing(tmp_path, train):
    """Three batches are one update (seven are two): with two processes one of them has no second (fourth) batch."""
    clips = write_clips(tmp_path / "clips", train=train)
    options = ("optimization.max_update=2", "optimization.clip_norm=0", "checkpoint.no_epoch_checkpoints=false")
    four = Run(tmp_path / "four", clips, *options, "optimization.update_freq=[4]").finish()
    two = Run(tmp_path / "two", clips, *options, "optimization.update_freq=[2]", processes=2).finish()
    assert [batch["dummy"] for batch in two.records(1)[2]["batches"]] == [False, True]
    for expected, gradient in zip(first_gradients(four), first_gradients(two), strict=True):
        torch.testing.assert_close(gradient, expected, rtol=0, atol=1e-5 * float(expected.abs().max()) + 1e-12)
    assert states(two, rank=0) == states(two, rank=1)
    for ours, theirs in zip(two.log(), four.log(), strict=True):
        for name in ("loss", "loss_cls", "loss_IMAGE_regression", "gnorm", "masked_pct", "bsz"):
            assert float(ours[name]) == pytest.approx(float(theirs[name]), abs=1.5e-3), name


@pytest.mark.long
def test_map__equals_that_of_one_process_with_uneven_last_batches(two, clips, tmp_path):
    """Five clips to validate on: batches of 2, 2 and 1, so that one process runs out before the other."""
    options = (f"model.model_path={two.folder / 'checkpoint_last.pt'}", "optimization.max_update=3", "model.mixup=0")
    options += ("model.prediction_mode=MEAN_POOLING",)
    both = Run(tmp_path / "two", clips, *options, processes=2, config="finetuning").finish()
    alone = Run(tmp_path / "one", clips, *options, "optimization.update_freq=[2]", config="finetuning").finish()
    assert both.records(0)[3]["weights"] == both.records(1)[3]["weights"] == alone.records()[3]["weights"]
    ours, theirs = both.log("eval"), alone.log("eval")
    assert len(ours) == len(theirs) > 0
    for name in ("eval_mAP", "eval_clips", "eval_classes_left_out"):
        assert [line[name] for line in ours] == [line[name] for line in theirs]
    assert ours[-1]["eval_clips"] == "5"
    assert 0 < float(ours[-1]["eval_mAP"]) <= 1
