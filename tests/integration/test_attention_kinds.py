"""Kinds of attention beside those of the papers, through the real entry points: trained, resumed, fine-tuned, used."""

import json
import sys

import pytest

from ASDA.inference import load_encoder

from .conftest import TINY, assert_ok, run
from .training_runs import Run, difference, resume_from, write_clips

pytestmark = [pytest.mark.slow, pytest.mark.long]
KINDS = {
    "lambda of each token": ("+recipe=differential_v2",),
    "lambda of each layer": ("model.diff_lambda=[0.1,0.6]",),
}
UPDATES = ("optimization.max_update=4", "checkpoint.save_interval_updates=2", "checkpoint.keep_interval_updates=-1")


@pytest.mark.parametrize("kind", KINDS)
def test_attention__is_pretrained_resumed_finetuned_and_looked_at(kind, tmp_path):
    data = write_clips(tmp_path / "data")
    whole = Run(tmp_path / "whole", data, *KINDS[kind], *UPDATES).finish()
    middle = next(whole.folder.glob("checkpoint_*_2.pt"))
    resume_from(middle, tmp_path / "resumed")
    resumed = Run(tmp_path / "resumed", data, *KINDS[kind], *UPDATES).finish()
    assert difference(whole.checkpoint(), resumed.checkpoint()) == []

    checkpoint = whole.folder / "checkpoint_last.pt"
    attention = load_encoder(checkpoint).encoder.config.stack.attention
    assert (attention.kind, getattr(attention, "diff_lambda", None)) == (
        ("differential_v2", None) if "token" in kind else ("differential", (0.1, 0.6))
    )
    start = (f"model.model_path={checkpoint}", "optimization.max_update=2", *TINY["finetuning"])
    finetuned = Run(tmp_path / "finetuned", data, *start, config="finetuning").finish()
    for program, words in (
        ("info", ["--json", finetuned.folder / "checkpoint_last.pt"]),
        ("evaluate", ["--checkpoint_dir", finetuned.folder / "checkpoint_last.pt", "--eval_dir", data, "--json"]),
        ("look", [checkpoint, data / "eval0.wav", "--output", tmp_path / "look"]),
    ):
        done = assert_ok(run([sys.executable, "-m", f"ASDA.cli.{program}", *words]))
        if program == "info":
            stack = json.loads(done.stdout)["encoder"]["stack"]
            assert stack["attention"]["kind"] == attention.kind


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("model.diff_lambda=[0.1]",), "diff_lambda: expected one number, or one for each of the 2 layers, found 1"),
        (("model.diff_lambda=2",), "stack.attention.diff_lambda: expected a number from 0 to 1"),
        (("+recipe=lambda_by_layer",), "diff_lambda: expected one number, or one for each of the 2 layers, found 12"),
    ],
)
def test_attention__what_cannot_be_ends_a_run_in_one_line(words, said, tmp_path):
    run_ = Run(tmp_path / "run", write_clips(tmp_path / "data"), *words, *UPDATES)
    assert run_.start().wait() == 1
    lines = [line for line in run_.text.splitlines() if line.strip() and "HYDRA_FULL_ERROR" not in line]  # hydra's hint
    assert said in lines[-1]
