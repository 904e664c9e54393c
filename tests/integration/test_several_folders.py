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


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    parent = tmp_path_factory.mktemp("data")
    for name, number in (("sounds", 6), ("speech", 4)):
        write_clips(parent / name, train=number, evaluation=2)
        (parent / name / "valid.tsv").write_text((parent / name / "eval.tsv").read_text())
    return f"[{parent / 'sounds'},{parent / 'speech'}]"


@pytest.fixture(scope="module")
def weighted(folders, either, tmp_path_factory):
    return Run(tmp_path_factory.mktemp("weighted"), folders, *OPTIONS, WEIGHTED, config=either).finish()


def drawn(run, updates, ranks=1):
    records = [run.records(rank)[update] for update in updates for rank in range(ranks)]
    return [clip for record in records for batch in record["batches"] if not batch["dummy"] for clip in batch["clips"]]


@pytest.mark.long
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


def test_resume__within_an_epoch_and_over_its_end(weighted, folders, either, tmp_path):
    resume_from(weighted.folder / "checkpoint_1_3.pt", tmp_path)
    resumed = Run(tmp_path, folders, *OPTIONS, WEIGHTED, "dataset.num_workers=2", config=either).finish()
    assert {u: resumed.records()[u] for u in range(4, 8)} == {u: weighted.records()[u] for u in range(4, 8)}
    assert difference(resumed.checkpoint(), weighted.checkpoint()) == []


@pytest.mark.long
def test_two_processes__draw_the_clips_of_one(folders, tmp_path):
    one = Run(tmp_path / "one", folders, WEIGHTED, "optimization.update_freq=[2]", *OPTIONS).finish()
    two = Run(tmp_path / "two", folders, WEIGHTED, *OPTIONS, processes=2).finish()
    assert drawn(one, range(1, 8)) == drawn(two, range(1, 8), ranks=2)
    shares = [[line["train_share_speech"] for line in run.log("train")] for run in (one, two)]
    assert shares[0] == shares[1] and len(shares[0]) == 3
    assert [two.records()[u]["weights"] for u in (1, 7)] == [one.records()[u]["weights"] for u in (1, 7)]


@pytest.mark.parametrize("either", ["pretraining_AS2M"], indirect=True, scope="module")
@pytest.mark.long
def test_resume__with_other_weights_or_another_order_of_folders_is_refused(weighted, folders, either, tmp_path):
    other_order = "[{1},{0}]".format(*folders.strip("[]").split(","))
    run = Run(weighted.folder, other_order, *OPTIONS, "task.data_weights=[1,2]", config=either)
    run.output = tmp_path / "output.txt"
    assert run.start().wait() == 1
    for message in ("task.data_weights: [1, 3] then, [1, 2] now", "data.train.folder1.clips: 6 then, 4 now"):
        assert message in run.text


def test_run__with_weights_of_other_folders_ends_before_it_loads_anything(folders, tmp_path):
    run = Run(tmp_path, folders, "task.data_weights=[1,0]").start()
    assert run.wait() == 1
    (line,) = [line for line in run.text.splitlines() if "Error: task.data_weights=[1,0]: the weight of /" in line]
    assert "/speech is 0; expected a number above 0" in line and not (tmp_path / "run.yaml").exists()
