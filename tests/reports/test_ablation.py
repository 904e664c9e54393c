"""The table of an ablation: means, paired intervals, hours, what failed; read from the files that runs leave."""

import csv
import json

import pytest

from ASDA.reports.ablation import Ablation, SettingFiles
from ASDA.reports.ablation_page import PICTURE, write_results
from ASDA.reports.over_seeds import interval
from ASDA.reports.run_logs import LogError

SCORE = "events, probe: mAP"


@pytest.fixture
def setting(tmp_path):
    """Makes the files of a setting: what its probe says by seed, and a training of half an hour on two devices."""

    def setting(name: str, scores: dict, failed: dict | None = None) -> SettingFiles:
        files, trainings = {}, {}
        for seed, value in scores.items():
            folder = tmp_path / name / f"seed{seed}"
            (folder / "pretrained").mkdir(parents=True)
            line = json.dumps({"epoch": 1, "loss": "4.5", "wall": "1800", "num_updates": "10"})
            (folder / "pretrained" / "train.log").write_text(f"[2026][train_inner][INFO] - {line}\n")
            (folder / "pretrained" / "run.yaml").write_text("distributed_training: {distributed_world_size: 2}\n")
            (folder / "probe.json").write_text(json.dumps([{"weights": "pre-trained", "mAP": value}]))
            files[seed], trainings[seed] = [folder / "probe.json"], [folder / "pretrained"]
        missing = {seed: [tmp_path / "nowhere.json"] for seed in failed or {}}
        return SettingFiles(name, "", {"events, probe:": {**files, **missing}}, trainings, failed or {})

    return setting


def read(*files: SettingFiles, seeds=(1, 2, 3)) -> Ablation:
    return Ablation.read("demo", files[0].name, seeds, files, ["`asda-ablate demo`"])


def test_ablation__compares_seed_by_seed(setting):
    values, other = [0.5, 0.6, 0.7], [0.6, 0.71, 0.8]
    ablation = read(setting("a", dict(enumerate(values, 1))), setting("b", dict(enumerate(other, 1))))
    found = ablation.settings[1].scores[SCORE]
    low, high = interval([0.1, 0.11, 0.1])
    assert found.gain_interval == (pytest.approx(low), pytest.approx(high)) and found.told_apart
    heading, a, b = ablation.table()
    assert heading == ["setting", "changes", "seeds", SCORE, "against a", "trained hours"]
    assert a == ["a", "-", "3 of 3", "60.0 ± 10.0 %", "-", "1"]
    assert b == ["b", "-", "3 of 3", "70.3 ± 10.0 %", "+10.3 (+8.9 to +11.8) *", "1"]


def test_ablation__says_where_seeds_do_not_tell(setting):
    vague = read(setting("a", {1: 0.5, 2: 0.6}), setting("b", {1: 0.7, 2: 0.6}), seeds=(1, 2)).table()[2]
    assert vague[4].startswith("+10.0 (-117") and "*" not in vague[4]
    alone = read(setting("c", {1: 0.5}), setting("d", {1: 0.7}), seeds=(1,)).table()[2]
    assert alone[3:5] == ["70.0 %", "+20.0"]


def test_ablation__pairs_only_seeds_that_both_have(setting):
    ablation = read(setting("a", {1: 0.5, 3: 0.5}), setting("b", {1: 0.6, 2: 0.9}))
    assert ablation.settings[1].scores[SCORE].gains == {1: pytest.approx(0.1)}
    assert ablation.unfinished() == ["a: not done for seed 2", "b: not done for seed 3"]


def test_ablation__names_what_failed_and_keeps_the_rest(setting):
    ablation = read(
        setting("a", {1: 0.5}), setting("b", {}, {1: {"pretraining": "exit code 1: no such layer"}}), seeds=(1,)
    )
    assert ablation.failures() == ["b, seed 1: pretraining failed: exit code 1: no such layer"]
    assert ablation.unfinished() == []
    assert ablation.table()[1][3] == "50.0 %" and ablation.table()[2][2:] == ["0 of 1", "-", "-", "-"]


def test_ablation__a_mean_over_folds_needs_all_of_them(tmp_path):
    for number, value in enumerate([0.5, 0.7]):
        (tmp_path / f"fold{number}.json").write_text(json.dumps({"mAP": {"value": 0.1}, "accuracy": {"value": value}}))
    folds = [tmp_path / f"fold{number}.json" for number in range(3)]
    whole = SettingFiles("a", "", {"x:": {1: folds[:2]}}, {}, {})
    partial = SettingFiles("b", "", {"x:": {1: folds}}, {}, {})
    a, b = read(whole, partial).settings
    assert a.scores["x: accuracy"].values == {1: pytest.approx(0.6)} and b.scores == {}


def test_ablation__a_metric_that_is_not_defined_is_no_number(setting):
    ablation = read(setting("a", {1: 0.5, 2: None}), seeds=(1, 2))
    assert ablation.settings[0].scores[SCORE].values == {1: 0.5}


def test_ablation__names_a_damaged_file(setting, tmp_path):
    files = setting("a", {1: 0.5})
    (tmp_path / "a" / "seed1" / "probe.json").write_text("[{}]")
    with pytest.raises(LogError, match=r"probe.json: expected the scores of a probe or of asda-eval"):
        read(files)


def test_write_results__all_of_them_say_the_same(setting, tmp_path):
    pytest.importorskip("matplotlib", reason="draws")
    ablation = read(
        setting("a", {1: 0.5, 2: 0.6}), setting("b<", {1: 0.6, 2: 0.8}, {3: {"probe": "exit code 1: <gone>"}})
    )
    (tmp_path / "out").mkdir()
    names = {file.name for file in write_results(ablation, tmp_path / "out")}
    assert names == {PICTURE, "table.md", "table.csv", "table.json", "index.html"}
    assert (tmp_path / "out" / PICTURE).read_bytes().startswith(b"\x89PNG")
    rows = list(csv.DictReader((tmp_path / "out" / "table.csv").read_text().splitlines()))
    assert float(rows[1]["difference"]) == pytest.approx(0.15) and rows[1]["failed_seeds"] == "3"
    content = json.loads((tmp_path / "out" / "table.json").read_text())
    assert content["settings"][1]["scores"][SCORE]["values"] == {"1": 0.6, "2": 0.8}
    page = (tmp_path / "out" / "index.html").read_text()
    assert "b&lt;, seed 3: probe failed: exit code 1: &lt;gone&gt;" in page and PICTURE in page and "<gone>" not in page
    assert "* b<, seed 3: probe failed" in (tmp_path / "out" / "table.md").read_text()
