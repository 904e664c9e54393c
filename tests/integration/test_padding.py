"""Runs of short clips under a padding mask, through the real entry points: resumed, in two processes, evaluated."""

import json

import pytest
import soundfile

from ASDA.audio.io import load_waveform
from ASDA.cli.evaluate import main as evaluate
from ASDA.inference import load_classifier

from .test_resume import assert_same
from .training_runs import Run, resume_from, write_clips

pytestmark = pytest.mark.slow
AUGMENTED = ("task.roll_aug=true", "task.noise=true")
MASK = ("task.padding=mask", *AUGMENTED)
TO_SIX = (*MASK, "optimization.max_update=6", "checkpoint.save_interval_updates=3")


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Ten clips and five, 0.1 to 1 s long: one to seven patch rows."""
    folder = write_clips(tmp_path_factory.mktemp("clips"))
    for number, file in enumerate(sorted(folder.glob("*.wav"))):
        samples = load_waveform(file)[: 1_600 + 16_000 * number // 16]
        soundfile.write(file, samples, 16_000)
    return folder


@pytest.fixture(scope="module")
def pretrained(clips, tmp_path_factory):
    return Run(tmp_path_factory.mktemp("pretrained"), clips, *TO_SIX).finish()


@pytest.mark.long
def test_pretraining__resumed_is_that_of_a_run_without_a_break(pretrained, clips, tmp_path):
    resume_from(pretrained.folder / "checkpoint_1_3.pt", tmp_path)
    resumed = Run(tmp_path, clips, *TO_SIX, "dataset.num_workers=2").finish()
    assert_same(resumed, pretrained, (4, 5, 6))


@pytest.mark.long
def test_pretraining__two_processes_do_what_one_does_with_as_many_batches(clips, tmp_path):
    options = (*MASK, "optimization.max_update=2")
    two = Run(tmp_path / "two", clips, *options, processes=2).finish()
    one = Run(tmp_path / "one", clips, *options, "optimization.update_freq=[2]").finish()
    for update in (1, 2):
        first, second = (run.records()[update] for run in (one, two))
        assert (first["weights"], first["teacher"]) == (second["weights"], second["teacher"])


@pytest.mark.long
def test_finetuning__pads_as_the_checkpoint_did_and_is_evaluated_so(pretrained, clips, tmp_path, capsys):
    start = f"model.model_path={pretrained.folder / 'checkpoint_last.pt'}"
    run = Run(tmp_path, clips, *AUGMENTED, "optimization.max_update=6", start, config="finetuning").finish()
    assert "padding mask (the checkpoint's)" in run.text
    checkpoint = tmp_path / "checkpoint_last.pt"
    assert load_classifier(checkpoint).front_end.padding == "mask"
    arguments = ["--checkpoint", checkpoint, "--eval_dir", clips, "--json", "--bootstrap", 0]
    assert evaluate([str(argument) for argument in arguments]) == 0
    found = json.loads(capsys.readouterr().out)["mAP"]["value"]
    assert found == pytest.approx(float(run.log("eval")[-1]["eval_mAP"]), abs=1e-5)
