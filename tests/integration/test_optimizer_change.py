"""A run goes on with the other of the two optimisers that share their arithmetic, in its own save folder."""

import shutil

import pytest
import torch
import yaml

from .training_runs import Run, resume_from, write_clips

pytestmark = pytest.mark.slow
TO_SIX = ("optimization.max_update=6", "checkpoint.save_interval_updates=2", "checkpoint.keep_interval_updates=-1")
FAIRSEQS = ("optimizer._name=composite", "optimizer.groups.default.optimizer._name=adam")


def go_on(before: Run, checkpoint: str, run: Run) -> Run:
    """Finishes a run from another one's checkpoint in a folder with the other one's record."""
    resume_from(before.folder / checkpoint, run.folder)
    shutil.copy(before.folder / "run.yaml", run.folder)
    return run.finish()


def forget(file, *keys: str) -> None:
    """Takes keys of the model, which are younger than the default optimiser, out of a record."""
    record = yaml.safe_load(file.read_text())
    for key in keys:
        del record["model"][key]
    file.write_text(yaml.safe_dump(record))


def assert_near(one: dict, other: dict) -> None:
    assert one["optimizer_history"][-1]["optimizer_name"] == other["optimizer_history"][-1]["optimizer_name"]
    for group, of_other in other["last_optimizer_state"].items():
        state = one["last_optimizer_state"][group]["state"]
        for index, expected in of_other["state"].items():
            assert {name: type(value) for name, value in state[index].items()} == {
                name: type(value) for name, value in expected.items()
            }
            assert state[index]["step"] == expected["step"] == 6
            torch.testing.assert_close(state[index]["exp_avg"], expected["exp_avg"], rtol=1e-4, atol=1e-7)
    for name, weight in other["model"].items():
        if torch.is_tensor(weight):
            torch.testing.assert_close(one["model"][name], weight, rtol=1e-5, atol=1e-6)


@pytest.mark.long
def test_optimizers__take_turns_in_a_run(tmp_path):
    """fairseq's adam, which was the recipes' default, then asda_adamw, which is, and fairseq's again."""
    clips = write_clips(tmp_path / "clips")
    straight = Run(tmp_path / "straight", clips, *TO_SIX, *FAIRSEQS).finish()
    record = straight.folder / "run.yaml"
    assert yaml.safe_load(record.read_text())["optimizer"]["groups"]["default"]["optimizer"]["_name"] == "adam"
    forget(record, "compile_mode", "tf32", "decoder_backend")
    ours = go_on(straight, "checkpoint_1_2.pt", Run(tmp_path / "ours", clips, *TO_SIX))
    assert min(ours.records()) == 3
    assert_near(ours.checkpoint(), straight.checkpoint())
    back = go_on(ours, "checkpoint_1_4.pt", Run(tmp_path / "back", clips, *TO_SIX, *FAIRSEQS))
    assert min(back.records()) == 5
    assert_near(back.checkpoint(), straight.checkpoint())
