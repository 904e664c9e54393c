"""A plan that fits into memory, one that is changed so that it does, and what is said where nothing helps."""

import re

import pytest

from ASDA.launch import command
from ASDA.launch.settings import LaunchError

from .conftest import compose, plan

BASE = ("pretraining_AS2M", "model.autocast=none")


def batch(launch) -> tuple[int, int]:
    cfg = compose(launch.runs[0].command)
    return cfg.dataset.batch_size, cfg.optimization.update_freq[0]


def test_fit__the_estimate_is_said_on_every_launch():
    assert re.match(r"memory: about [0-9.]+ GB on each GPU, by estimate$", plan("pretraining_AS2M").notes[-2])
    note = plan(*BASE, NGPU="0", MEMORY_GB="100").notes[-2]
    assert re.match(r"memory: about [0-9.]+ GB of 100 GB available, by estimate$", note)


@pytest.mark.parametrize(("gpus", "memory_gb"), [("0", "24"), ("1", "24"), ("4", "24"), ("8", "8")])
def test_fit__fewer_clips_a_step_keep_the_clips_of_an_update(gpus, memory_gb):
    free, fitted = (plan(*BASE, "common.fp16=false", NGPU=gpus, MEMORY_GB=gb) for gb in (None, memory_gb))
    assert batch(fitted)[0] < batch(free)[0]
    assert batch(fitted)[0] * batch(fitted)[1] == batch(free)[0] * batch(free)[1]
    assert f"by estimate; {batch(free)[0]} clips a step are too many" in fitted.notes[-2]
    # The utterance loss keeps the weight that it has with the recipe's clips.
    assert compose(fitted.runs[0].command).model.cls_loss_clips == 12


def test_fit__without_clips_per_update_the_product_is_kept():
    words = (*BASE, "task.clips_per_update=null", "+size=base")
    assert batch(plan(*words, NGPU="0", MEMORY_GB="24")) == (6, 2)


@pytest.mark.parametrize(
    ("words", "settings", "instead"),
    [
        ([], {"BATCH_SIZE": "12"}, "BATCH_SIZE=12"),
        (["dataset.batch_size=12"], {}, "dataset.batch_size=12"),
        (["optimization.update_freq=[2]"], {}, "optimization.update_freq=[2]"),
        (["dataset.batch_size=12"], {"BATCH_SIZE": "3"}, "dataset.batch_size=12"),
    ],
)
def test_fit__clips_that_somebody_asks_for_are_refused_with_what_fits(words, settings, instead):
    with pytest.raises(LaunchError) as error:
        plan(*BASE, *words, NGPU="0", MEMORY_GB="24", **settings)
    says = str(error.value)
    assert f"in place of {instead} set BATCH_SIZE=6 (with update_freq 8: 48 clips per update)" in says
    assert "of 24 GB available" in says and "MEMORY_GB=NUMBER" in says and "\n" not in says
    assert batch(plan(*BASE, NGPU="0", MEMORY_GB="24", BATCH_SIZE="6")) == (6, 8)


def test_fit__where_not_one_clip_fits_the_size_that_does_is_named():
    with pytest.raises(
        LaunchError, match=r"one takes [0-9.]+ GB; \+size=(\w+) fits, with BATCH_SIZE up to (\d+)"
    ) as error:
        plan(*BASE, NGPU="0", MEMORY_GB="4")
    size, clips = re.findall(r"\+size=(\w+) fits, with BATCH_SIZE up to (\d+)", str(error.value))[0]
    fitting = {"NGPU": "0", "MEMORY_GB": "4"}
    assert plan(*BASE, f"+size={size}", BATCH_SIZE=clips, **fitting).runs
    with pytest.raises(LaunchError):
        plan(*BASE, f"+size={size}", BATCH_SIZE=str(int(clips) + 1), **fitting)


def test_fit__where_no_size_helps_it_says_so():
    with pytest.raises(LaunchError, match="no smaller size fits: it takes shorter clips .*, fewer processes than 2"):
        plan(*BASE, NGPU="0", NPROC="2", MEMORY_GB="1")


def test_fit__processes_on_the_cpu_share_its_memory():
    one, two = (plan(*BASE, "dataset.num_workers=0", NGPU="0", NPROC=n, MEMORY_GB="40") for n in ("1", "2"))
    assert batch(two)[0] < batch(one)[0]


def test_fit__a_dry_run_does_not_look_at_this_machine(monkeypatch):
    monkeypatch.setattr(command, "available_bytes", lambda device, count: pytest.fail("asked"))
    assert batch(plan(*BASE, NGPU="0")) == (12, 4)


@pytest.mark.parametrize(
    ("config", "says"), [("finetuning", "there is no CHECKPOINT yet"), ("./other", "known of other")]
)
def test_fit__what_is_not_known_is_not_estimated(config, says, tmp_path):
    yaml = "defaults: [_self_]\nmodel: {_name: other}\ndataset: {batch_size: 4}\noptimization: {update_freq: [1]}\n"
    yaml += "task: {clips_per_update: 4, dataset: esc50, data: '???'}\ncheckpoint: {save_dir: '???'}\n"
    (tmp_path / "other.yaml").write_text(yaml)
    note = plan(config, MEMORY_GB="1").notes[-2]
    assert note.startswith("memory: not estimated, as ") and note.endswith(says)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"MEMORY_GB": "1000"}, (48, 1)),
        ({"MEMORY_GB": "1000", "NGPU": "2"}, (24, 1)),
        ({"MEMORY_GB": "1000", "NGPU": "3"}, (16, 1)),
        ({"MEMORY_GB": "1000", "NGPU": "4"}, (12, 1)),  # one step as it is
        ({"MEMORY_GB": "1000", "NGPU": "5"}, (10, 1)),
        ({}, (12, 4)),  # nobody says how much there is
        ({"MEMORY_GB": "1000", "NGPU": "0"}, (12, 4)),  # a CPU gains nothing
        ({"MEMORY_GB": "1000", "BATCH_SIZE": "6"}, (6, 8)),  # as somebody asks for
    ],
)
def test_fit__a_gpu_with_room_takes_fewer_and_larger_steps(settings, expected):
    launch = plan(*BASE, **settings)
    assert batch(launch) == expected
    assert compose(launch.runs[0].command).model.cls_loss_clips == 12  # the weight that it has with the recipe's
    larger = expected[0] > 12
    assert (f"; {expected[0]} clips a step, as there is room for more than " in launch.notes[-2]) == larger


def test_fit__larger_steps_take_what_the_gpu_has_and_leave_a_part_of_it():
    launch = plan(*BASE, MEMORY_GB="60")
    clips, update_freq = batch(launch)
    assert 12 < clips < 48 and clips * update_freq == 48
    estimate = float(re.search(r"about ([0-9.]+) GB", launch.notes[-2]).group(1))
    assert estimate <= 0.8 * 60


@pytest.mark.parametrize(
    "words", [("pretraining_MAE_AST",), ("pretraining_AS2M", "+task.mask_type=random_batched")], ids=["norm", "mask"]
)
def test_fit__steps_stay_where_their_clips_depend_on_each_other(words):
    assert batch(plan(*words, MEMORY_GB="1000")) == batch(plan(*words))
