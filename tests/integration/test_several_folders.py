"""Pre-training on two folders at once: what is drawn from each, what the log says, and that a break leaves no trace.

Ten clips, six of one folder and four of the other, in batches of two: five updates an epoch.
"""

import re

import pytest
import yaml

from .training_runs import Run, difference, resume_from, write_clips

pytestmark = pytest.mark.slow
OPTIONS = ("optimization.max_update=7", "checkpoint.save_interval_updates=3", "task.roll_aug=true")
WEIGHTED = "task.data_weights=[1,3]"


@pytest.fixture(scope="module", params=["pretraining_AS2M", "pretraining_MAE_AST"])
def objective(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    parent = tmp_path_factory.mktemp("data")
    for name, number in (("sounds", 6), ("speech", 4)):
        write_clips(parent / name, train=number, evaluation=2)
        (parent / name / "valid.tsv").write_text((parent / name / "eval.tsv").read_text())
    return f"[{parent / 'sounds'},{parent / 'speech'}]"


@pytest.fixture(scope="module")
def weighted(folders, objective, tmp_path_factory):
    return Run(tmp_path_factory.mktemp("weighted"), folders, *OPTIONS, WEIGHTED, config=objective).finish()


def drawn(run, updates, ranks=1):
    records = [run.records(rank)[update] for update in updates for rank in range(ranks)]
    return [clip for record in records for batch in record["batches"] if not batch["dummy"] for clip in batch["clips"]]


def test_epoch__without_weights_is_every_clip_of_both_folders_once(folders, tmp_path):
    options = ("optimization.max_update=10", "dataset.disable_validation=false")
    run = Run(tmp_path, folders.strip("[]").replace(",", ":"), *options, "task.data_weights=null").finish()
    assert sorted(drawn(run, range(1, 6))) == sorted(drawn(run, range(6, 11))) == list(range(10))
    assert drawn(run, range(1, 6)) != drawn(run, range(6, 11))
    for epoch in (1, 2):
        assert f"epoch {epoch} draws 10 clips: 6 (60.00 %) of sounds, 4 (40.00 %) of speech" in run.text
    assert [float(line["train_share_speech"]) for line in run.log("train")] == [0.4, 0.4]
    assert int(run.log("valid")[-1]["valid_num_updates"]) == 10


def test_weights__decide_the_shares_and_the_log_says_them(weighted):
    clips = drawn(weighted, range(1, 6))
    assert len(clips) == 10
    of_speech = sum(clip >= 6 for clip in clips)
    said = f"epoch 1 draws 10 clips: {10 - of_speech} ({10 * (10 - of_speech):.2f} %) of sounds, {of_speech} "
    assert said in weighted.text
    assert float(weighted.log("train")[0]["train_share_speech"]) == of_speech / 10
    for update, line in enumerate(weighted.log(), start=1):
        share = sum(clip >= 6 for clip in drawn(weighted, [update])) / 2
        assert (float(line["share_speech"]), float(line["share_sounds"])) == (share, 1 - share)
    assert re.search(r"data, train +10 clips of 2 folders, drawn with replacement", weighted.text)
    assert re.search(
        r"data, train, speech +75.00 % of the draws: 4 clips, about 4 s, .*/speech/train.tsv", weighted.text
    )
    data = yaml.safe_load((weighted.folder / "run.yaml").read_text())["data"]["train"]
    assert data["clips"] == 10 and data["folder1"]["clips"] == 6 and data["folder2"]["clips"] == 4


@pytest.mark.parametrize("num_workers", [0, 2])
def test_resume__within_an_epoch_and_over_its_end(weighted, folders, objective, tmp_path, num_workers):
    resume_from(weighted.folder / "checkpoint_1_3.pt", tmp_path)
    options = (*OPTIONS, WEIGHTED, f"dataset.num_workers={num_workers}")
    resumed = Run(tmp_path, folders, *options, config=objective).finish()
    assert {u: resumed.records()[u] for u in range(4, 8)} == {u: weighted.records()[u] for u in range(4, 8)}
    assert difference(resumed.checkpoint(), weighted.checkpoint()) == []


def test_two_processes__draw_the_clips_of_one(weighted, folders, objective, tmp_path):
    one = Run(tmp_path / "one", folders, WEIGHTED, "optimization.update_freq=[2]", *OPTIONS, config=objective).finish()
    two = Run(tmp_path / "two", folders, WEIGHTED, *OPTIONS, processes=2, config=objective).finish()
    assert drawn(one, range(1, 4)) == drawn(two, range(1, 4), ranks=2)
    assert sorted(drawn(one, range(1, 4))) == sorted(drawn(weighted, range(1, 6)))
    shares = [[line["train_share_speech"] for line in run.log("train")] for run in (one, two)]
    assert shares[0] == shares[1]
    assert [two.records()[u]["weights"] for u in (1, 7)] == [one.records()[u]["weights"] for u in (1, 7)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("task.data_weights=[1,2]", r"task.data_weights: \[1, 3\] then, \[1, 2\] now"),
        ("task.data_weights=null", r"task.data_weights: \[1, 3\] then, null now"),
        ("order", "data.train.folder1.clips: 6 then, 4 now"),
        ("one", "data.train.clips: 10 then, 6 now"),
    ],
)
def test_resume__with_other_folders_or_weights_is_refused(weighted, folders, tmp_path, change, message):
    if weighted._arguments[1]["config"] != "pretraining_AS2M":
        pytest.skip("the record is the same for each objective")
    first, second = folders.strip("[]").split(",")
    data = {"order": f"[{second},{first}]", "one": first}.get(change, folders)
    words = {"order": [WEIGHTED], "one": ["task.data_weights=null"]}.get(change, [change])
    run = Run(weighted.folder, data, *OPTIONS, *words)
    run.output = tmp_path / "output.txt"
    assert run.start().wait() == 1
    assert re.search(message, run.text), run.text[-2000:]


@pytest.mark.parametrize(
    ("config", "data", "words", "message"),
    [
        ("pretraining_AS2M", "{0}:/none", [], "/none/train.tsv: no such manifest"),
        ("pretraining_AS2M", "[{0},{0}]", [], "task.data names {0} twice"),
        (
            "pretraining_AS2M",
            "[{0},{1}]",
            ["task.data_weights=[1,0]"],
            "the weight of {1} is 0; expected a number above 0",
        ),
        ("pretraining_MAE_AST", "[{0},{1}]", ["task.data_weights=[1,nan]"], "the weight of {1} is nan"),
        ("pretraining_AS2M", "[{0},{1}]", ["task.data_weights=[1]"], "has 1 weights, but task.data names 2 folders"),
        ("pretraining_AS2M", "{0}", ["task.data_weights=[1]"], "weights are for several folders"),
        ("finetuning", "[{0},{1}]", ["model.model_path=none"], "names 2 folders ({0}, {1}), but fine-tuning takes one"),
    ],
)
def test_run__of_folders_that_cannot_be_meant_ends_in_one_line(folders, tmp_path, config, data, words, message):
    pair = folders.strip("[]").split(",")
    run = Run(tmp_path, data.format(*pair), *words, config=config).start()
    assert run.wait() == 1
    (line,) = [line for line in run.text.splitlines() if message.format(*pair) in line]
    assert "Error: " in line
