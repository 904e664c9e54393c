"""What is refused in the configuration of a whole run, before it starts."""

import pytest

pytest.importorskip("fairseq", reason="the tasks are fairseq's")

from omegaconf import OmegaConf

from ASDA.fairseq_plugin.models.encoder_keys import Autocast
from ASDA.fairseq_plugin.run import run_config
from ASDA.fairseq_plugin.run.run_config import check_best_metric, check_precision, check_schedule, check_trackers


def run_with(max_update: int, warmup_updates: int, name: str = "cosine"):
    schedule = {"_name": name, "warmup_updates": warmup_updates}
    groups = {"default": {"lr_scheduler": schedule}, "no_decay": {"lr_scheduler": {"_name": "fixed"}}}
    return OmegaConf.create(
        {
            "optimization": {"max_update": max_update, "max_epoch": 2},
            "lr_scheduler": {"_name": "pass_through"},
            "optimizer": {"_name": "composite", "groups": groups},
        }
    )


@pytest.mark.parametrize("name", ["cosine", "asda_cosine"])
@pytest.mark.parametrize("warmup", [100, 101, 6000])
def test_check_schedule__that_ends_within_its_warm_up_is_refused(warmup, name):
    expected = f"groups.default.lr_scheduler.warmup_updates={warmup} leaves nothing of optimization.max_update=100 "
    with pytest.raises(ValueError, match=expected):
        check_schedule(run_with(100, warmup, name))


@pytest.mark.parametrize(
    ("max_update", "warmup", "name"),
    [(100, 99, "cosine"), (1, 0, "cosine"), (0, 0, "cosine"), (0, 6000, "cosine"), (100, 6000, "inverse_sqrt")],
)
def test_check_schedule__others_are_accepted(max_update, warmup, name):
    check_schedule(run_with(max_update, warmup, name))


def precision(model=None, **common):
    off = dict.fromkeys(("amp", "fp16", "bf16", "memory_efficient_fp16", "memory_efficient_bf16"), False)
    return OmegaConf.create({"common": {**off, **common}, "model": model})


@pytest.mark.parametrize("autocast", ["bf16", Autocast.bf16])
def test_check_precision__fp16_with_autocast_is_refused(autocast):
    with pytest.raises(ValueError, match="model.autocast=bf16 .* set common.fp16=false beside it"):
        check_precision(precision({"autocast": autocast}, fp16=True))


@pytest.mark.parametrize(
    ("model", "common"),
    [
        ({"autocast": "bf16"}, {}),
        ({"autocast": Autocast.bf16}, {"bf16": True}),
        ({"autocast": "none"}, {"fp16": True}),
        ({"autocast": Autocast.none}, {"fp16": True}),
        ({}, {"fp16": True}),
        (None, {"fp16": True}),
    ],
)
def test_check_precision__others_are_accepted(model, common):
    check_precision(precision(model, **common))


@pytest.mark.parametrize("mode", ["amp", "memory_efficient_fp16", "memory_efficient_bf16"])
def test_check_precision__modes_that_fail_are_refused(mode):
    with pytest.raises(ValueError, match=f"common.{mode} "):
        check_precision(precision({}, **{mode: True}))


def choosing(metric, maximise, validates=True):
    checkpoint = {"best_checkpoint_metric": metric, "maximize_best_checkpoint_metric": maximise}
    return OmegaConf.create({"checkpoint": checkpoint, "dataset": {"disable_validation": not validates}})


REPORTED = {"accuracy": True, "loss": False, "pred_var": None}


@pytest.mark.parametrize("metric", ["mAP", "F1", "Accuracy", ""])
def test_check_best_metric__that_no_validation_reports_is_refused(metric):
    with pytest.raises(ValueError, match=f"best_checkpoint_metric={metric}, but .* reports accuracy, loss, pred_var;"):
        check_best_metric(choosing(metric, True), REPORTED)
    check_best_metric(choosing(metric, True, validates=False), REPORTED)


@pytest.mark.parametrize(("metric", "maximise"), [("accuracy", False), ("loss", True)])
def test_check_best_metric__upside_down_is_refused(metric, maximise):
    with pytest.raises(ValueError, match=f"keep the checkpoint with the worst {metric}"):
        check_best_metric(choosing(metric, maximise), REPORTED)
    for right in ((metric, not maximise), ("pred_var", maximise), (None, maximise)):
        check_best_metric(choosing(*right), REPORTED)


def tracking(**common):
    common = {"wandb_project": None, "aim_repo": None, "azureml_logging": False, "tensorboard_logdir": None, **common}
    return OmegaConf.create({"common": common})


@pytest.mark.parametrize(
    ("key", "value", "package", "module"),
    [
        ("wandb_project", "mine", "wandb", "wandb"),
        ("aim_repo", "/runs/aim", "aim", "get_aim_run"),
        ("azureml_logging", True, "azureml-core", "Run"),
    ],
)
def test_check_trackers__that_is_not_installed_is_refused(monkeypatch, key, value, package, module):
    monkeypatch.setattr(run_config.progress_bar, module, None)
    shown = str(value).lower() if value is True else value
    with pytest.raises(ValueError, match=f"common.{key}={shown}, but {package} cannot be imported; pip install "):
        check_trackers(tracking(**{key: value}))
    check_trackers(tracking())
    monkeypatch.setattr(run_config.progress_bar, module, object())
    check_trackers(tracking(**{key: value}))


def test_check_trackers__without_tensorboard_is_warned_of_once(monkeypatch, caplog):
    monkeypatch.setattr(run_config.progress_bar, "SummaryWriter", None)
    run = tracking(tensorboard_logdir="run/tensorboard")
    check_trackers(run)
    check_trackers(run)
    assert run.common.tensorboard_logdir is None
    (warning,) = caplog.records
    assert warning.levelname == "WARNING" and "pip install tensorboard" in warning.message
