"""Adapters through the real entry points: small checkpoints, exact resume, the programs."""

import json
import sys

import pytest

pytest.importorskip("peft", reason="LoRA is peft's")

from ASDA.checkpoints.adapters import BASE_KEY

from .conftest import TINY, assert_ok, run
from .training_runs import Run, difference, resume_from, write_clips

pytestmark = pytest.mark.slow


@pytest.mark.long
def test_adaptation__resumes_exactly_and_its_checkpoints_are_used_by_the_programs(tmp_path, pretrained):
    data = write_clips(tmp_path / "data")
    base = pretrained / "checkpoint_last.pt"
    settings = (f"model.model_path={base}", "model.adaptation=[aat,lora]", "model.attention_dropout=0.5")
    settings = (*settings, "optimization.max_update=4", "checkpoint.save_interval_updates=2")
    settings = (*settings, "checkpoint.keep_interval_updates=-1", *TINY["finetuning"])
    whole = Run(tmp_path / "whole", data, *settings, config="finetuning").finish()
    final = whole.checkpoint()
    assert BASE_KEY in final["model"] and not any("patch" in name for name in final["model"])
    moments = final["last_optimizer_state"]
    assert "frozen" in whole.text and moments
    middle = next(whole.folder.glob("checkpoint_*_2.pt"))
    resume_from(middle, tmp_path / "resumed")
    resumed = Run(tmp_path / "resumed", data, *settings, config="finetuning").finish()
    assert difference(final, resumed.checkpoint()) == []
    info = run([sys.executable, "-m", "ASDA.cli.info", "--json", whole.folder / "checkpoint_last.pt"])
    assert_ok(info)
    described = json.loads(info.stdout)
    trained = sum(t.numel() for name, t in final["model"].items() if name != BASE_KEY)
    assert described["parameters"]["trained"] == trained and described["parameters"]["frozen"] > 0
    assert described["origin"]["base"] == str(base.resolve())
    evaluated = run(
        [sys.executable, "-m", "ASDA.cli.evaluate", "--checkpoint_dir", base, "--eval_dir", data, "--bootstrap", "0"]
        + ["--adapter", whole.folder / "checkpoint_last.pt", "--json"]
    )
    assert_ok(evaluated)
    assert 0 < json.loads(evaluated.stdout)["mAP"]["value"] <= 1
