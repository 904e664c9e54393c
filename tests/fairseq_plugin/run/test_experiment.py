"""A save folder belongs to one experiment."""

import copy

import pytest

pytest.importorskip("fairseq", reason="the tasks are fairseq's")

from omegaconf import OmegaConf

from ASDA.fairseq_plugin.models.encoder_keys import Autocast
from ASDA.fairseq_plugin.run.experiment import (
    ExperimentError,
    record,
    require_same_experiment,
    snapshot,
)
from ASDA.training.file_names import RUN_RECORD
from ASDA.training.run_differences import differences

DATA = {"train": {"clips": 8, "train.tsv": 1234}}
RUN = {
    "common": {"seed": 1, "log_interval": 200, "fp16": False, "user_dir": "ASDA"},
    "checkpoint": {"save_dir": "run", "save_interval": 1, "best_checkpoint_metric": "mAP"},
    "dataset": {"batch_size": 4, "num_workers": 6},
    "distributed_training": {"distributed_world_size": 2},
    "optimization": {"max_update": 100, "update_freq": [1], "lr": [0.1]},
    "task": {"data": "data", "norm_mean": -4.268, "extend": False},
    "model": {"diff_lambda": 0.3, "autocast": Autocast.bf16, "encoder": None, "model_path": "a/../b.pt"},
    "optimizer": {"groups": {"default": {"lr_scheduler": {"max_update": "${optimization.max_update}"}}}},
    "job_logging_cfg": None,
}


def run_of(**values):
    """The snapshot of a run with other values, by key with __ for its dots."""
    run = copy.deepcopy(RUN)
    data = values.pop("data", DATA)
    for key, value in values.items():
        section, name = key.split("__")
        run[section][name] = value
    return snapshot(OmegaConf.create(run), data)


@pytest.fixture
def used(tmp_path):
    """A save folder with a checkpoint of the run."""
    record(str(tmp_path), run_of())
    (tmp_path / "checkpoint_last.pt").touch()
    return tmp_path


def test_snapshot__is_resolved_and_plain():
    found = run_of()
    assert found["model"]["autocast"] == "bf16"
    assert found["optimizer"]["groups"]["default"]["lr_scheduler"]["max_update"] == 100
    assert found["data"] == DATA


def test_require_same_experiment__the_same_goes_on(used):
    require_same_experiment(str(used), run_of(), extend=False)
    require_same_experiment(str(used), run_of(model__model_path="b.pt"), extend=False)


HELD = {
    "lambda": ({"model__diff_lambda": 0.7}, "model.diff_lambda: 0.3 then, 0.7 now"),
    "data": ({"data": {"train": {"clips": 9, "train.tsv": 5}}}, "data.train.clips: 8 then, 9 now"),
    "same clips, other rows": ({"data": {"train": {"clips": 8, "train.tsv": 5}}}, "data.train.train.tsv: 1234 then"),
    "learning rate": ({"optimization__lr": [0.2]}, r"optimization.lr: \[0.1\] then, \[0.2\] now"),
    "seed": ({"common__seed": 2}, "common.seed: 1 then, 2 now"),
    "normalisation": ({"task__norm_mean": -7.0}, "task.norm_mean: -4.268 then, -7.0 now"),
    "a setting that was open": ({"model__encoder": {"depth": 3}}, "model.encoder: null then, {'depth': 3} now"),
    "metric": ({"checkpoint__best_checkpoint_metric": "loss"}, "best_checkpoint_metric: mAP then, loss now"),
}


@pytest.mark.parametrize("extend", [False, True])
@pytest.mark.parametrize("case", HELD)
def test_require_same_experiment__another_one_is_refused_with_the_keys(used, case, extend):
    values, expected = HELD[case]
    with pytest.raises(ExperimentError, match=expected) as caught:
        require_same_experiment(str(used), run_of(**values), extend)
    assert "\n" not in str(caught.value)


EXTENDED = {
    "longer": {"optimization__max_update": 200},
    "another number of clips per update": {"dataset__batch_size": 8},
    "processes that change it": {"distributed_training__distributed_world_size": 1},
    "precision": {"common__fp16": True},
}


@pytest.mark.parametrize("case", EXTENDED)
def test_require_same_experiment__what_may_be_extended_has_to_be_said(used, case, caplog):
    now = run_of(**EXTENDED[case])
    with pytest.raises(ExperimentError, match="EXTEND=1"):
        require_same_experiment(str(used), now, extend=False)
    with caplog.at_level("INFO"):
        require_same_experiment(str(used), now, extend=True)
    assert " then, " in caplog.text


def test_require_same_experiment__what_changes_nothing_learnt_is_free(used):
    now = run_of(
        common__log_interval=1, dataset__num_workers=0, checkpoint__save_dir="elsewhere", task__data="/moved/data",
        dataset__batch_size=2, optimization__update_freq=[4], distributed_training__distributed_world_size=1,
    )  # fmt: skip
    require_same_experiment(str(used), now, extend=False)


def test_require_same_experiment__a_refusal_tells_of_all_that_differs(used):
    now = run_of(model__diff_lambda=0.7, optimization__max_update=200, dataset__num_workers=0)
    with pytest.raises(ExperimentError, match="diff_lambda.*max_update: 100 then, 200 now.*num_workers: 6 then, 0 now"):
        require_same_experiment(str(used), now, extend=False)


def test_require_same_experiment__a_folder_without_checkpoint_is_free(tmp_path):
    record(str(tmp_path), run_of())
    require_same_experiment(str(tmp_path), run_of(model__diff_lambda=0.7), extend=False)


def test_require_same_experiment__keys_that_were_added_since_are_no_difference(used):
    now = run_of()
    now["task"]["added_later"] = "default"
    require_same_experiment(str(used), now, extend=False)
    assert differences(run_of(), now) == []


@pytest.mark.parametrize("content", ["- a list", "{unclosed", ""])
def test_require_same_experiment__a_damaged_record_is_refused(used, content):
    (used / RUN_RECORD).write_text(content)
    with pytest.raises(ExperimentError, match=RUN_RECORD):
        require_same_experiment(str(used), run_of(), extend=False)


def test_optimiser__of_the_recipes_and_fairseqs_are_the_same_experiment():
    def run(composite, adam):
        groups = {"default": {"optimizer": {"_name": adam}, "lr_scheduler": {"max_update": 100}}}
        return run_of(optimizer___name=composite, optimizer__groups=groups)

    assert differences(run("composite", "adam"), run("asda_composite", "asda_adamw")) == []
    [found] = differences(run("composite", "adam"), run("composite", "nag"))
    assert found.key == "optimizer.groups.default.optimizer._name"
