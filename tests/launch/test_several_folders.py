"""Launches of pre-training on several folders: each is looked at, and the run gets them all."""

import re

import pytest

from ASDA.cli.train import main
from ASDA.launch.settings import LaunchError

from .conftest import compose, plan
from .test_own_data import write_data

PRETRAINING = ["pretraining_AS2M", "pretraining_MAE_AST", "pretraining_SSAST"]


@pytest.fixture
def folders(tmp_path):
    short = write_data(tmp_path / "short", seconds=[1.0] * 6, splits=("train",), level=0.001)
    return short, write_data(tmp_path / "long", seconds=[3.0] * 2, splits=("train",))


@pytest.mark.parametrize("config", PRETRAINING)
@pytest.mark.parametrize("data", ["one:../two", "[one,../two]"])
def test_launch__gives_the_run_all_folders_and_its_weights(config, data, tmp_path):
    (run,) = plan(config, "task.data_weights=[1,2]", DATA=data).runs
    task = compose(run.command).task
    assert list(task.data) == [f"{tmp_path}/one", f"{tmp_path}/../two"] and list(task.data_weights) == [1, 2]


def test_launch__an_override_or_a_recipe_may_name_them(tmp_path):
    names = ["the data, with = and 'quotes'", "b"]
    quoted = "'the data, with = and \\'quotes\\''"
    (run,) = plan("pretraining_AS2M", f"task.data=[{quoted},b]", DATA="other").runs
    assert list(compose(run.command).task.data) == [f"{tmp_path}/{name}" for name in names]
    (tmp_path / "mine/recipe").mkdir(parents=True)
    (tmp_path / "mine/base.yaml").write_text((plan("pretraining_AS2M").recipe.file).read_text())
    (tmp_path / "mine/recipe/joint.yaml").write_text(
        "# @package _global_\ntask:\n  data: [/x, /y]\n  data_weights: [3, 1]\n"
    )
    (run,) = plan("", "joint", CONFIG=str(tmp_path / "mine/base.yaml"), DATA=None).runs
    task = compose(run.command).task
    assert (list(task.data), list(task.data_weights)) == (["/x", "/y"], [3, 1])


@pytest.mark.parametrize(
    ("words", "settings", "message"),
    [
        (["pretraining_AS2M"], {"DATA": "a:a"}, "task.data names a twice; name each once"),
        (["pretraining_AS2M"], {"DATA": "a:"}, "task.data=a:: a folder between its separators has no name"),
        (
            ["pretraining_AS2M", "task.data_weights=[1]"],
            {"DATA": "a:b"},
            "has 1 weights, but task.data names 2 folders",
        ),
        (["pretraining_AS2M", "task.data_weights=[1,0]"], {"DATA": "a:b"}, "the weight of .*/b is 0; expected"),
        (["pretraining_AS2M", "task.data_weights=[1,nan]"], {"DATA": "a:b"}, "the weight of .*/b is nan; expected"),
        (["pretraining_AS2M", "task.data_weights=[1,2]"], {"DATA": "a"}, "weights are for several folders"),
        (["finetuning"], {"DATA": "a:b"}, r"DATA names 2 folders \(a, b\), but fine-tuning takes one"),
        (["finetuning", "ESC50"], {"DATA": "[a,b]"}, r"DATA names 2 folders \(a, b\), but fine-tuning takes one"),
    ],
)
def test_launch__of_folders_that_cannot_be_meant_is_refused_in_one_line(words, settings, message):
    with pytest.raises(LaunchError, match=message) as error:
        plan(*words, **settings)
    assert "\n" not in str(error.value)


def test_launch__looks_at_every_folder(folders, tmp_path):
    real = {"DRY_RUN": "0", "NGPU": "0", "DATA": f"{folders[0]}:{tmp_path}/none", "MEMORY_GB": "1000"}
    with pytest.raises(LaunchError, match=f"DATA: {tmp_path}/none/train.tsv does not exist"):
        plan("pretraining_AS2M", **real)


def test_window__follows_from_the_clips_in_their_shares(folders):
    """Of eight clips six are of 1 s; with the weights nine in ten that are drawn are of 3 s."""
    data = ":".join(map(str, folders))

    def chosen(*words):
        launch = plan("pretraining_AS2M", "own_pretraining", *words, DATA=data)
        return dict(word.split("=", 1) for word in launch.runs[0].command if word.startswith("task."))

    assert chosen("task.data_weights=[95,5]")["task.target_length"] == "112"
    weighted = chosen("task.data_weights=[1,9]")
    assert weighted["task.target_length"] == "304"
    # The quiet folder's log energies are about 9 lower.
    assert float(chosen("task.data_weights=[95,5]")["task.norm_mean"]) < float(weighted["task.norm_mean"]) - 5


def test_plan__shows_each_folder_its_share_and_the_epochs_of_all(folders, monkeypatch, capsys):
    for name, value in {"DATA": ":".join(map(str, folders)), "SAVE_DIR": "run", "NGPU": "0", "DRY_RUN": "1"}.items():
        monkeypatch.setenv(name, value)
    assert main(["pretraining_AS2M", "own_pretraining", "--plan"]) == 0
    out = capsys.readouterr().out
    assert re.search(rf"^data +{folders[0]}; 75.00 % of the draws\n +train +6 clips$", out, re.MULTILINE)
    assert re.search(rf"^data +{folders[1]}; 25.00 % of the draws\n +train +2 clips$", out, re.MULTILINE)
    assert re.search(r"^schedule +100 epochs of 1 updates: 100$", out, re.MULTILINE)
    assert main(["pretraining_AS2M", "own_pretraining", "task.data_weights=[1,3]", "--plan"]) == 0
    assert f"{folders[1]}; 75.00 % of the draws" in capsys.readouterr().out
