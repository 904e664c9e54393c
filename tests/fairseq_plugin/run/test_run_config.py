"""What is refused in the configuration of a whole run, before it starts."""

import pytest

pytest.importorskip("fairseq", reason="the tasks are fairseq's")

from omegaconf import OmegaConf

from ASDA.fairseq_plugin.run.run_config import check_schedule


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


@pytest.mark.parametrize("warmup", [100, 101, 6000])
def test_check_schedule__that_ends_within_its_warm_up_is_refused(warmup):
    expected = f"groups.default.lr_scheduler.warmup_updates={warmup} leaves nothing of optimization.max_update=100 "
    with pytest.raises(ValueError, match=expected):
        check_schedule(run_with(100, warmup))


@pytest.mark.parametrize(
    ("max_update", "warmup", "name"),
    [(100, 99, "cosine"), (1, 0, "cosine"), (0, 0, "cosine"), (0, 6000, "cosine"), (100, 6000, "inverse_sqrt")],
)
def test_check_schedule__others_are_accepted(max_update, warmup, name):
    check_schedule(run_with(max_update, warmup, name))
