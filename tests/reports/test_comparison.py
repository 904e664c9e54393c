"""What runs are said to differ in, and what came out of them."""

import json

import pytest
import yaml

from ASDA.cli._console import aligned
from ASDA.cli.runs import main
from ASDA.reports.comparison import Outcome, RunSummary, differing, names_of, table
from ASDA.reports.run_logs import LogError


def make_run(folder, mixup=0.8, seed=1, values=(0.2, 0.5, 0.4), **extra):
    """A run's folder: its record, and a log with a validation each ten updates."""
    folder.mkdir(parents=True)
    record = {
        "common": {"seed": seed, "tensorboard_logdir": str(folder)},
        "task": {"seed": seed, "data": "/data"},
        "model": {"mixup": mixup, "encoder": {"stack": {"depth": 2}}, **extra},
        "checkpoint": {"save_dir": str(folder)},
        "generation": {"beam": seed},  # of another program
        "made_with": {"ASDA": "0.1.0", "torch": "2.11.0", "commit": "abc1234"},
    }
    (folder / "run.yaml").write_text(yaml.safe_dump(record))
    lines = []
    for number, value in enumerate(values, start=1):
        update = 10 * number
        inner = {"num_updates": update, "loss": 4 / number, "clips_per_s": 10 * number}
        held_out = {"eval_num_updates": update, "eval_mAP": value, "eval_loss": 1 - value}
        lines += [f"[time][train_inner][INFO] - {json.dumps(inner)}", f"[time][eval][INFO] - {json.dumps(held_out)}"]
    (folder / "train.log").write_text("\n".join(lines) + "\n")
    return folder


def test_run__best_is_the_highest_metric_and_the_lowest_loss(tmp_path):
    run = RunSummary.read(make_run(tmp_path / "a"))
    assert run.outcomes == {
        "eval mAP": Outcome(0.5, 20, 0.4),
        "eval loss": Outcome(0.5, 20, 0.6),
        "train loss": Outcome(pytest.approx(4 / 3), 30, pytest.approx((4 + 2 + 4 / 3) / 3)),
    }
    assert (run.updates, run.clips_per_s, run.made_with["commit"]) == (30, 20, "abc1234")


def test_differing__names_a_key_once_and_no_folders(tmp_path):
    runs = [RunSummary.read(make_run(tmp_path / name, seed=seed)) for name, seed in (("a", 1), ("b", 2))]
    assert differing(runs) == {"task.seed": [1, 2]}  # common.seed goes with it


def test_differing__keys_that_a_run_does_not_know(tmp_path):
    old = RunSummary.read(make_run(tmp_path / "old"))
    new = RunSummary.read(make_run(tmp_path / "new", mixup=0, loss="bce"))
    assert differing([old, new]) == {"model.mixup": [0.8, 0], "model.loss": [None, "bce"]}


def test_names__of_folders_of_one_name_tell_them_apart(tmp_path):
    folders = [tmp_path / "a" / "fold1", tmp_path / "b" / "fold1", tmp_path / "c"]
    assert names_of(folders) == ["a/fold1", "b/fold1", "c"]


def test_table__has_a_row_for_each_run(tmp_path):
    rows = table([RunSummary.read(make_run(tmp_path / name, mixup=mixup)) for name, mixup in (("a", 0), ("b", 0.5))])
    assert [dict(zip(rows[0], row, strict=True)) for row in rows[1:]] == [
        {
            "run": name,
            "model.mixup": mixup,
            "updates": "30",
            "eval mAP, best": "0.5 at 20",
            "eval mAP, last": "0.4",
            "eval loss, best": "0.5 at 20",
            "eval loss, last": "0.6",
            "train loss, best": "1.333 at 30",
            "train loss, last": "2.444",
            "clips/s": "20",
            "commit": "abc1234",
        }
        for name, mixup in (("a", "0"), ("b", "0.5"))
    ]


def test_run__a_damaged_record_is_named(tmp_path):
    folder = make_run(tmp_path / "a")
    (folder / "run.yaml").write_text("{unclosed")
    with pytest.raises(LogError, match="run.yaml cannot be read"):
        RunSummary.read(folder)


def test_asda_runs__prints_a_table_and_tells_of_folders_without_a_run(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    folders = [make_run(tmp_path / name, mixup=mixup) for name, mixup in (("a", 0), ("b", 0.5))]
    assert main([*map(str, folders), str(tmp_path / "empty"), "--json", str(tmp_path / "runs.json")]) == 2
    said = capsys.readouterr()
    assert "empty holds no log of a run" in said.err
    assert [line.split()[:3] for line in said.out.splitlines()[:2]] == [["run", "a", "b"], ["model.mixup", "0", "0.5"]]
    known = json.loads((tmp_path / "runs.json").read_text())
    assert known["differing"] == {"model.mixup": [0, 0.5]}
    assert [run["outcomes"]["eval mAP"]["best"] for run in known["asda_runs"]] == [0.5, 0.5]
    assert main([str(tmp_path / "empty")]) == 1


def test_aligned__columns_stand_under_each_other():
    assert aligned([["run", "loss"], ["longer", "2"]]) == ["run     loss", "longer  2"]
