"""Probes over folds, layers and seeds: their rows and what these come to."""

import statistics
from types import SimpleNamespace

import numpy as np
import pytest

from ASDA.metrics import accuracy, mean_average_precision
from ASDA.probes.logistic import logistic_scores
from ASDA.probes.methods import METHODS
from ASDA.probes.study import Study, judge, networks, probe_network, summarise
from ASDA.probes.tasks import Split, read_split, read_task

NETWORK = SimpleNamespace(encoder=SimpleNamespace(device="cpu"))


class Planted:
    """Features (1, L, D) that tell a clip's classes at layer 2 only; clips of some names have none."""

    def __init__(self, folder, without=()):
        self.rows = {}
        rng = np.random.default_rng(0)
        for split in ("train", "valid", "eval"):
            if (folder / f"{split}.tsv").exists():
                clips = read_split(folder, split)
                for clip, target in zip(clips.clips, clips.targets, strict=True):
                    noise = rng.normal(size=(1, 2, 4)).astype(np.float32)
                    noise[0, 1, :2] += 6 * np.nan_to_num(target)
                    if clip.name not in without:
                        self.rows[clip.path] = noise

    def features(self, encoder, layers, clips):
        return {
            clip.path: self.rows[clip.path][:, [layer - 1 for layer in layers]]
            for clip in clips
            if clip.path in self.rows
        }


def study(method="logistic", layers=(1, 2), setting=None, bootstrap=0):
    return Study(method, layers, 1, setting, bootstrap)


def single(count):
    return ["ab"[number % 2] for number in range(count)]


def test_probe_network__has_a_row_for_each_layer(make_folder):
    folder = make_folder(train=single(40), eval=single(30))
    task = read_task(folder, str, "x")
    source = Planted(folder)
    rows = list(probe_network(NETWORK, [task], source, study(setting=0.1), 1))
    assert [row["layer"] for row in rows] == [1, 2]
    assert rows[1]["accuracy"] == 1.0 and rows[0]["accuracy"] < 0.8
    assert (rows[0]["train_clips"], rows[0]["valid_clips"], rows[0]["eval_clips"]) == (40, 0, 30)
    train, held_out = ([source.rows[clip.path][0, 0] for clip in part.clips] for part in (task.train, task.eval))
    scores = logistic_scores(np.stack(train), task.train.targets, np.stack(held_out), 0.1)
    assert rows[0]["accuracy"] == accuracy(task.eval.targets, scores)
    assert rows[0]["mAP"] == pytest.approx(float(mean_average_precision(task.eval.targets, scores)))


@pytest.mark.parametrize("method", [name for name, method in METHODS.items() if not method.tokens])
@pytest.mark.parametrize(
    "kind", ["single", *(pytest.param(kind, marks=pytest.mark.long) for kind in ("several", "partial"))]
)
def test_probe_network__takes_labels_of_every_kind(make_folder, method, kind):
    several = ["a", "b", "a,b", ""]
    labels = {
        "single": single(40),
        "several": [several[number % 4] for number in range(40)],
        "partial": [("a\tb", "b\ta", "a\t", "\tb")[number % 4] for number in range(40)],
    }[kind]
    folder = make_folder(train=labels, eval=labels[:20], valid=labels[:8])
    given = 1e-3 if METHODS[method].drawn else None
    asked = study(method, (2,), setting=given)
    (row,) = probe_network(NETWORK, [read_task(folder, str, "x")], Planted(folder), asked, 1)
    assert ("accuracy" in row) == (kind == "single") and row["mAP"] > 0.9
    assert row["chosen_on"] == ("given" if given else "valid") and row["chosen_score"] > 0.8


def test_probe_network__of_all_layers_weighs_the_one_that_knows(make_folder):
    folder = make_folder(train=single(60), eval=single(30))
    (row,) = probe_network(NETWORK, [read_task(folder, str, "x")], Planted(folder), study("gated", setting=0.01), 1)
    assert (row["layer"], row["layers"]) == ("all", [1, 2])
    assert row["layer_weights"][1] > 0.8


def test_probe_network__goes_on_without_the_clips_that_have_no_features(make_folder):
    folder = make_folder(train=single(40), eval=single(30), valid=single(4))
    missing = ("train3.wav", "eval0.wav", "eval1.wav", *(f"valid{number}.wav" for number in range(4)))
    task = read_task(folder, str, "x")
    (row,) = probe_network(NETWORK, [task], Planted(folder, missing), study(layers=(2,)), 1)
    assert (row["train_clips"], row["valid_clips"], row["eval_clips"]) == (39, 0, 28)
    assert row["chosen_on"] == "cross-validation" and row["accuracy"] == 1.0


def test_probe_network__without_a_clip_of_eval_is_an_error(make_folder):
    folder = make_folder(train=single(4), eval=single(2))
    with pytest.raises(ValueError, match="x: eval has no clip that can be read"):
        list(
            probe_network(
                NETWORK, [read_task(folder, str, "x")], Planted(folder, ("eval0.wav", "eval1.wav")), study(), 1
            )
        )


def test_probe_network__names_classes_that_cannot_be_told(make_folder):
    folder = make_folder(classes="abc", train=single(20), eval=["a", "b", "c"])
    source = Planted(make_folder("other", classes="ab", train=single(20), eval=single(3)))
    source.rows = {path.replace("/other/", "/data/"): rows for path, rows in source.rows.items()}
    (row,) = probe_network(NETWORK, [read_task(folder, str, "x")], source, study(layers=(2,), setting=1.0), 1)
    assert row["classes_without_train_clips"] == ["c"]


def test_judge__intervals_hold_their_metric_and_leave_it_alone():
    rng = np.random.default_rng(0)
    targets = np.eye(5, dtype=np.float32)[rng.integers(0, 5, 60)]
    scores = targets + rng.normal(size=(60, 5))
    how = SimpleNamespace(single_label=True)
    plain, drawn = (judge(targets, scores, how, draws) for draws in (0, 50))
    assert set(plain) == {"mAP", "accuracy", "mAP_chance", "accuracy_chance"}
    for name in ("mAP", "accuracy"):
        assert drawn[name] == plain[name]
        assert 0 <= drawn[f"{name}_low"] <= plain[name] <= drawn[f"{name}_high"] <= 1
        assert drawn[f"{name}_high"] - drawn[f"{name}_low"] > 0.05
    assert plain["accuracy_chance"] == targets.mean(axis=0).max()


@pytest.mark.parametrize(
    ("method", "beside", "expected"),
    [
        ("logistic", True, [("pre-trained", 4), ("random", 4), ("random", 5)]),
        ("gated", True, [("pre-trained", 4), ("pre-trained", 5), ("random", 4), ("random", 5)]),
        ("gated", False, [("pre-trained", 4), ("pre-trained", 5)]),
    ],
)
def test_networks__seeds_are_those_of_what_is_drawn(encoder, method, beside, expected):
    found = list(networks(encoder, Study(method, (1,), seeds=2), 4, beside))
    assert [(weights, seed) for weights, seed, _ in found] == expected
    assert all((network is encoder) == (weights == "pre-trained") for weights, _, network in found)


def run(fold="x", seed=1, accuracy=0.5, **more):
    return {
        "checkpoint": "c", "weights": "random", "seed": seed, "fold": fold, "layer": 1,
        "accuracy": accuracy, "accuracy_chance": 0.1, **more,
    }  # fmt: skip


def test_summarise__one_run_keeps_its_interval():
    (row,) = summarise([run(accuracy_low=0.4, accuracy_high=0.6, chosen_score=0.7)], ["accuracy", "mAP"])
    assert (row["accuracy"], row["accuracy_low"], row["accuracy_high"], row["chosen_score"]) == (0.5, 0.4, 0.6, 0.7)
    assert (row["seeds"], row["folds"]) == (1, 1) and "accuracy_deviation" not in row


def test_summarise__over_seeds_their_deviation():
    values = [0.5, 0.6, 0.9]
    (row,) = summarise(
        [run(seed=n, accuracy=v, accuracy_low=0, accuracy_high=1) for n, v in enumerate(values)], ["accuracy"]
    )
    assert row["accuracy"] == pytest.approx(statistics.fmean(values))
    assert row["accuracy_deviation"] == pytest.approx(statistics.stdev(values))
    assert (row["accuracy_deviation_over"], row["seeds"]) == ("seeds", 3) and "accuracy_low" not in row


def test_summarise__over_folds_and_seeds_the_deviation_of_the_folds_means():
    values = {("x", 1): 0.5, ("x", 2): 0.7, ("y", 1): 0.8, ("y", 2): 0.9}
    (row,) = summarise([run(fold, seed, value) for (fold, seed), value in values.items()], ["accuracy"])
    assert row["accuracy"] == pytest.approx(0.725)
    assert row["accuracy_deviation"] == pytest.approx(statistics.stdev([0.6, 0.85]))
    assert (row["accuracy_deviation_over"], row["seeds"], row["folds"]) == ("folds", 2, 2)


def test_summarise__keeps_layers_weights_and_scores_apart():
    rows = summarise([run(), run(layer=2), run(weights="pre-trained"), run(score="knn")], ["accuracy"])
    assert len(rows) == 4


def test_split__having_is_what_carries_the_class():
    split = Split(["x", "y", "z"], np.array([[1.0], [0.0], [np.nan]]))
    assert split.having(0) == ["x"]
