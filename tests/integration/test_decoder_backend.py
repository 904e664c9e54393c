"""A run that measures how its decoder computes best goes on with what it found."""

import pytest

from .training_runs import Run, difference, resume_from, write_clips

pytestmark = pytest.mark.slow
OPTIONS = ("optimization.max_update=4", "checkpoint.save_interval_updates=2", "model.decoder_backend=auto")


@pytest.mark.long
def test_auto__is_measured_once_in_the_life_of_a_run(tmp_path):
    clips = write_clips(tmp_path / "clips")
    straight = Run(tmp_path / "straight", clips, *OPTIONS).finish()
    found = straight.checkpoint()["extra_state"]["ProbePretraining"]["decoder_backend"]
    assert f"decoder: {found}, by a layer forward and backward: conv " in straight.text
    resume_from(straight.folder / "checkpoint_1_2.pt", tmp_path / "resumed")
    resumed = Run(tmp_path / "resumed", clips, *OPTIONS).finish()
    assert f"decoder: {found}, as when this run began" in resumed.text
    assert difference(resumed.checkpoint(), straight.checkpoint()) == []
