"""asda-probe: its methods, folds, seeds and files, on clips whose class is heard at once."""

import csv
import json

import numpy as np
import pytest
import soundfile
import torch
from matplotlib import image

from ASDA.adaptation.adapting import adapt
from ASDA.adaptation.bottlenecks import MlpAdapters
from ASDA.checkpoints.adapters import Adapter, base_of
from ASDA.checkpoints.layouts import adapter_directory
from ASDA.checkpoints.reading import read_checkpoint
from ASDA.cli import probe
from ASDA.inference.model import build_encoder
from ASDA.probes import features, training
from tests.cli.conftest import CLASSES
from tests.mae_ast_files import released
from tests.published_files import published_pretraining

HZ = {"bark": 300, "meow, purr": 1_000, "rain": 3_000, "normal": 500, "rattle": 2_500}
SHORT = ("--target_length", "32", "--bootstrap", "0")


def write_clip(file, *names, seed=0):
    """A third of a second of a tone for each class, in noise."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(5_200) / 16_000
    tones = sum(np.sin(2 * np.pi * (HZ[name] * rng.uniform(0.95, 1.05) * time_s + rng.random())) for name in names)
    file.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(file, 0.2 * tones + rng.normal(0, 0.02, len(time_s)), 16_000)


def write_folder(folder, seed, **splits):
    """Clips, manifests and labels of splits: classes of each clip."""
    for split, labels in splits.items():
        for number, names in enumerate(labels):
            write_clip(folder / f"{split}{number}.wav", *names, seed=1000 * seed + 100 * len(split) + number)
        rows = "".join(f"{split}{number}.wav\t5200\n" for number in range(len(labels)))
        (folder / f"{split}.tsv").write_text(f"{folder}\n{rows}")
        mids = [",".join(f"/m/{CLASSES.index(name)}" for name in names) for names in labels]
        (folder / f"{split}.lbl").write_text("".join(f"{split}{number}\t{text}\n" for number, text in enumerate(mids)))
    table = "".join(f'{index},/m/{index},"{name}"\n' for index, name in enumerate(CLASSES))
    (folder / "label_descriptors.csv").write_text(table)
    return folder


SINGLE = {"train": [(name,) for name in CLASSES * 5], "eval": [(name,) for name in CLASSES * 3]}
SEVERAL = {
    split: [(CLASSES[0],), (CLASSES[1],), CLASSES[:2], CLASSES[1:], (CLASSES[2],), ()] * count
    for split, count in (("train", 3), ("eval", 2))
}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Checkpoints, and data with one label per clip, with several, and in two folds."""
    root = tmp_path_factory.mktemp("probe")
    for seed in (0, 1):
        torch.save(published_pretraining(seed=seed), root / f"model{seed}.pt")
    torch.save(released("patch"), root / "mae_ast.pt")
    write_folder(root / "single", 1, **SINGLE)
    write_folder(root / "several", 2, **SEVERAL)
    for fold in (1, 2):
        write_folder(root / "folds" / f"fold{fold}", 2 + fold, **SINGLE)
    return root


@pytest.fixture(autouse=True)
def few_updates(monkeypatch):
    """Heads are trained for a moment only: these clips are told apart by anything."""
    monkeypatch.setattr(training, "MIN_UPDATES", 60)


@pytest.fixture
def computed(monkeypatch):
    """How many clips went through networks."""
    counts = []
    run_clips = features.run_clips

    def counting(model, numbered, *args, **kwargs):
        numbered = list(numbered)
        counts.append(len(numbered))
        return run_clips(model, numbered, *args, **kwargs)

    monkeypatch.setattr(features, "run_clips", counting)
    return counts


def rows_of(folder):
    found = json.loads((folder / "results.json").read_text())
    return found["table"], found["runs"]


@pytest.mark.parametrize("data", ["single", "several"])
@pytest.mark.parametrize("method", ["logistic", "linear", "knn", "attentive", "gated"])
def test_probe__each_method_hears_the_classes_in_both_kinds_of_labels(files, tmp_path, run, method, data):
    words = ["--method", method, "--output", tmp_path, *SHORT]
    given = {"knn": [], "logistic": ["--regularisation", "0.1"]}.get(method, ["--regularisation", "0.001"])
    words += given
    done = run(probe.main, files / "model0.pt", files / data, *words)
    assert done.code == 0, done.err
    table, runs = rows_of(tmp_path)
    layers = {"attentive": [2], "gated": ["all"]}.get(method, [1, 2])
    assert [(row["weights"], row["layer"]) for row in table] == [
        (w, n) for w in ("pre-trained", "random") for n in layers
    ]
    metric = "accuracy" if data == "single" else "mAP"
    assert ("accuracy" in table[0]) == (data == "single")
    assert max(row[metric] for row in table) > 0.9 > table[0][f"{metric}_chance"]
    assert {row["chosen_on"] for row in runs} == {"given" if given else "cross-validation"}
    with open(tmp_path / "table.csv", newline="") as handle:
        lines = list(csv.DictReader(handle))
    assert [float(line["value"]) for line in lines if line["metric"] == metric] == [row[metric] for row in table]
    assert image.imread(tmp_path / "layers.png").shape[0] > 200
    assert len(done.out.splitlines()) == len(table) and f"{metric} " in done.out


def test_probe__features_are_computed_once_for_all_methods_and_layers(files, tmp_path, run, computed):
    arguments = (files / "model0.pt", files / "single", "--cache", tmp_path / "cache", *SHORT)
    assert run(probe.main, *arguments, "--regularisation", "0.1").code == 0
    assert computed == [24, 24]  # the checkpoint's, and at random weights
    for words in (("--method", "knn", "--layers", "2"), ("--method", "gated", "--regularisation", "0.1")):
        assert run(probe.main, *arguments, *words).code == 0
    assert sum(computed) == 48
    assert run(probe.main, files / "model1.pt", *arguments[1:], "--regularisation", "0.1").code == 0
    assert sum(computed) == 72  # another checkpoint; the same network at the same random weights


def test_probe__a_second_run_finds_the_same_numbers(files, tmp_path, run, computed):
    arguments = (
        files / "model0.pt",
        files / "single",
        "--output",
        tmp_path,
        "--target_length",
        "32",
        "--bootstrap",
        "20",
    )
    first = run(probe.main, *arguments)
    table = rows_of(tmp_path)
    again = run(probe.main, *arguments)
    assert first.code == again.code == 0 and first.out == again.out and rows_of(tmp_path) == table
    assert computed == [24, 24, 0, 0]
    assert all(row["accuracy_low"] <= row["accuracy"] <= row["accuracy_high"] for row in table[0])


def test_probe__a_folder_of_folds_has_means_and_deviations(files, tmp_path, run):
    words = ("--layers", "last", "--seeds", "2", "--method", "knn")
    done = run(probe.main, files / "model0.pt", files / "folds", "--output", tmp_path, *words, *SHORT)
    assert done.code == 0, done.err
    table, runs = rows_of(tmp_path)
    assert [(row["weights"], row["folds"], row["seeds"]) for row in table] == [("pre-trained", 2, 1), ("random", 2, 2)]
    assert [(row["fold"], row["seed"]) for row in runs if row["weights"] == "random"] == [
        (fold, seed) for seed in (1, 2) for fold in ("fold1", "fold2")
    ]
    for row in table:
        of_row = [run["accuracy"] for run in runs if run["weights"] == row["weights"]]
        assert row["accuracy"] == pytest.approx(np.mean(of_row)) and row["accuracy_deviation_over"] == "folds"
    folds = [files / "folds" / f"fold{n}" for n in (1, 2)]
    named = run_json(
        run, tmp_path, "--checkpoint", files / "model0.pt", "--data", *folds, *words, "--cache", tmp_path / "features"
    )
    assert named == table


def run_json(run, folder, *arguments):
    done = run(probe.main, *arguments, "--json", folder / "rows.json", *SHORT)
    assert done.code == 0, done.err
    return json.loads((folder / "rows.json").read_text())


def test_probe__several_checkpoints_have_random_weights_of_seeds_of_their_own(files, tmp_path, run):
    """As the benchmarks and the demo call it."""
    words = ("--layers", "last", "--regularisation", "0.1", "--data", files / "single", "--checkpoint")
    rows = run_json(run, tmp_path, *words, files / "model0.pt", files / "model1.pt")
    assert [(row["weights"], row["seed"]) for row in rows] == [
        *(("pre-trained", 1), ("random", 1)),
        *(("pre-trained", 2), ("random", 2)),
    ]
    assert all(set(row) >= {"accuracy", "mAP", "accuracy_chance"} for row in rows)


def test_probe__heads_of_several_seeds_have_a_deviation(files, tmp_path, run):
    rows = run_json(
        run, tmp_path, files / "model0.pt", files / "single", "--method", "linear", "--seeds", "2", "--layers", "1",
        "--regularisation", "0.01", "--no-random-weights",
    )  # fmt: skip
    (row,) = rows
    assert (row["weights"], row["seeds"], row["accuracy_deviation_over"]) == ("pre-trained", 2, "seeds")


def test_probe__names_the_layer_that_did_best_without_eval(files, run):
    done = run(probe.main, files / "model0.pt", files / "single", "--method", "knn", *SHORT)
    assert "did best where settings were chosen" in done.err and "eval had no say" in done.err
    given = run(probe.main, files / "model0.pt", files / "single", "--regularisation", "0.1", *SHORT)
    assert "did best" not in given.err


def test_probe__partial_labels_do_not_train_and_do_not_count(files, tmp_path, run):
    folder = write_folder(tmp_path / "partial", 5, **SEVERAL)
    for file in folder.glob("*.lbl"):
        lines = []
        for number, line in enumerate(file.read_text().splitlines()):
            present = line.split("\t")[1].split(",")
            absent = [f"/m/{index}" for index in range(3) if f"/m/{index}" not in present and (number + index) % 3]
            lines.append(f"{line}\t{','.join(absent)}\n")
        file.write_text("".join(lines))
    for words in (["logistic"], ["knn"], ["linear", "--regularisation", "0.001"]):
        rows = run_json(run, tmp_path, files / "model0.pt", folder, "--layers", "1", "--method", *words)
        assert max(row["mAP"] - row["mAP_chance"] for row in rows) > 0.15 and "accuracy" not in rows[0]


def test_probe__an_encoder_without_cls(files, tmp_path, run):
    for method in ("logistic", "attentive"):
        words = ("--method", method, "--layers", "last", "--regularisation", "0.01")
        rows = run_json(run, tmp_path, files / "mae_ast.pt", files / "single", *words)
        assert rows[0]["accuracy"] > 0.6
    refused = run(probe.main, files / "mae_ast.pt", files / "single", "--pooling", "cls", *SHORT)
    assert refused.code == 1
    assert refused.err == (
        "asda-probe: error: --pooling cls: this encoder has no prefix tokens (CLS); take --pooling mean\n"
    )


def test_probe__bad_clips_are_listed_and_the_rest_is_done(files, tmp_path, run):
    folder = write_folder(tmp_path / "data", 1, **SINGLE)
    (folder / "train3.wav").write_bytes(b"no sound")
    (folder / "eval0.wav").unlink()
    words = ("--output", tmp_path / "out", "--regularisation", "0.1", *SHORT)
    done = run(probe.main, files / "model0.pt", folder, *words)
    assert done.code == 2, done.err
    assert "2 of 24 clips could not be read" in done.err
    listed = (tmp_path / "out" / "errors.tsv").read_text()
    assert f"{folder / 'train3.wav'}\tleft out: " in listed and str(folder / "eval0.wav") in listed
    _, runs = rows_of(tmp_path / "out")
    assert {(row["train_clips"], row["eval_clips"]) for row in runs} == {(14, 8)}
    write_folder(tmp_path / "data", 1, **SINGLE)
    assert run(probe.main, files / "model0.pt", folder, *words).code == 0
    assert not (tmp_path / "out" / "errors.tsv").exists()


def test_probe__without_a_clip_of_eval_that_can_be_read_there_is_one_line(files, tmp_path, run):
    folder = write_folder(tmp_path / "data", 1, **SINGLE)
    for file in folder.glob("eval*.wav"):
        file.write_bytes(b"no sound")
    done = run(probe.main, files / "model0.pt", folder, *SHORT)
    assert done.code == 1 and done.err.splitlines()[-1] == "asda-probe: error: data: eval has no clip that can be read"


def test_probe__says_that_clips_are_cut_even_if_it_does_not_hear_them(files, tmp_path, run):
    words = (
        files / "model0.pt",
        files / "single",
        "--cache",
        tmp_path,
        "--regularisation",
        "1",
        *SHORT,
        "--target_length",
        "16",
    )
    for _ in range(2):
        assert "24 clips are longer than the window of 0.16 s and were cut to it" in run(probe.main, *words).err
    assert "cut to it" not in run(probe.main, *words, "--long", "windows").err


def test_probe__eval_clips_that_train_has_too_are_said(files, tmp_path, run):
    folder = write_folder(tmp_path / "data", 1, **SINGLE)
    (folder / "train0.wav").write_bytes((folder / "eval0.wav").read_bytes())
    done = run(probe.main, files / "model0.pt", folder, "--regularisation", "1", *SHORT)
    assert done.code == 0
    assert f"{folder}: 1 of 9 eval clips have the sound of train clips" in done.err


@pytest.fixture
def fan(tmp_path):
    folder = tmp_path / "fan"
    for number in range(12):
        write_clip(folder / "normal" / f"{number}.wav", "normal", seed=number)
    for number in range(5):
        write_clip(folder / "abnormal" / f"{number}.wav", "normal", "rattle", seed=50 + number)
    return folder


def test_probe__tells_other_sounds_from_normal_ones(files, fan, tmp_path, run, computed):
    (fan / "abnormal" / "bad.wav").write_bytes(b"no sound")
    words = (files / "model0.pt", fan, "--anomaly", "--output", tmp_path / "out", *SHORT)
    done = run(probe.main, *words)
    assert done.code == 2, done.err
    table, runs = rows_of(tmp_path / "out")
    assert [(row["weights"], row["layer"], row["score"]) for row in table] == [
        (weights, layer, score)
        for weights in ("pre-trained", "random")
        for layer in (1, 2)
        for score in ("knn (k = 1)", "mahalanobis")
    ]
    assert all(row["AUC"] > 0.7 and row["pAUC"] > 0.55 for row in table)
    assert {(row["memory_clips"], row["normal_clips"], row["other_clips"]) for row in runs} == {(6, 6, 5)}
    assert (tmp_path / "out" / "layers.png").exists() and "pAUC" in done.out
    assert run(probe.main, *words, "--neighbours", "3").code == 2
    assert computed == [18, 17, 1, 0]


def test_probe__several_machines_are_averaged(files, fan, tmp_path, run):
    other = tmp_path / "pump"
    for number in range(4):
        write_clip(other / "train" / f"{number}.wav", "rattle", seed=70 + number)
        write_clip(other / "test" / f"normal_{number}.wav", "rattle", seed=80 + number)
        write_clip(other / "test" / f"anomaly_{number}.wav", "normal", seed=90 + number)
    rows = run_json(run, tmp_path, files / "model0.pt", fan, other, "--anomaly", "--layers", "1", "--no-random-weights")
    assert [(row["score"], row["folds"]) for row in rows] == [("knn (k = 1)", 2), ("mahalanobis", 2)]
    assert rows[0]["AUC_deviation_over"] == "folds" and 0.5 < rows[0]["AUC"] <= 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["MODEL"], "expected CHECKPOINT DATA"),
        (["--checkpoint", "MODEL"], "--checkpoint and --data go together"),
        (["MODEL", "DATA", "--data", "DATA"], "expected CHECKPOINT DATA"),
        (["MODEL", "DATA", "--method", "magic"], "invalid choice: 'magic'"),
        (["MODEL", "DATA", "--method", "knn", "--regularisation", "1"], "--neighbours does"),
        (["MODEL", "DATA", "--neighbours", "3"], "--neighbours goes with --method knn or --anomaly"),
        (["MODEL", "DATA", "--method", "attentive", "--pooling", "mean"], "weighs the tokens itself"),
        (["MODEL", "DATA", "--anomaly", "--method", "knn"], "--anomaly has its own scores"),
        (["MODEL", "DATA", "--regularisation", "0"], "C has to be above 0"),
        (["MODEL", "DATA", "--regularisation", "nan"], "expected a finite number"),
        (["MODEL", "DATA", "--bootstrap", "-1"], "expected a number of at least 0, got -1"),
        (["MODEL", "DATA", "--layers", "two"], "expected all, last or layer numbers such as 6,12"),
        (["MODEL", "DATA", "--seeds", "2", "--no-random-weights"], "nothing here is drawn"),
        (["--checkpoint", "A", "B", "--data", "DATA", "--adapter", "C"], "--adapter goes with a single checkpoint"),
    ],
)
def test_probe__a_wrong_command_line_is_refused(files, words, said, capsys):
    known = {"MODEL": str(files / "model0.pt"), "DATA": str(files / "single")}
    with pytest.raises(SystemExit) as ended:
        probe.main([known.get(word, word) for word in words])
    assert ended.value.code == 2 and said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["/nowhere.pt", "single"], "/nowhere.pt: no such checkpoint file"),
        (["model0.pt", "absent"], "absent: no such folder; expected train.tsv and eval.tsv"),
        (["model0.pt", "."], "expected train.tsv and eval.tsv with their labels, or folders fold1, fold2"),
        (["model0.pt", "single", "--layers", "3"], "layers [3] do not exist: this encoder has layers 1 to 2"),
        (["model0.pt", "single", "--layers", "0"], "layers [0] do not exist"),
        (["model0.pt", "single", "single"], "given twice"),
        (["model0.pt", "single", "several"], "some folds have one label per clip, others not"),
        (["model0.pt", "single", "--target_length", "8"], "target_length has to be at least one patch"),
        (["model0.pt", "single", "--anomaly"], "label_descriptors.csv: expected a class normal, found bark"),
        (["model0.pt", "single", "--json", "model1.pt"], "model1.pt: exists and is not rows of asda-probe"),
        (["model0.pt", "single", "--output", "model1.pt"], "model1.pt"),
        (["model0.pt", "single", "--cache", "model1.pt"], "model1.pt"),
    ],
)
def test_probe__bad_input_ends_with_one_line(files, run, words, said, monkeypatch):
    monkeypatch.chdir(files)
    before = (files / "model1.pt").read_bytes()
    done = run(probe.main, *words, "--bootstrap", "0")
    assert done.code == 1 and said in done.err
    assert done.err.startswith("asda-probe: error: ") and len(done.err.splitlines()) == 1
    assert (files / "model1.pt").read_bytes() == before


@pytest.mark.parametrize("name", ["results.json", "table.csv", "layers.png", "errors.tsv"])
def test_probe__what_is_not_its_own_stays(files, tmp_path, run, computed, name):
    (tmp_path / name).write_text("precious")
    done = run(probe.main, files / "model0.pt", files / "single", "--output", tmp_path, *SHORT)
    assert done.code == 1 and name in done.err and not computed
    assert (tmp_path / name).read_text() == "precious"


def test_probe__without_matplotlib_says_so_before_it_works(files, tmp_path, run, computed, monkeypatch):
    monkeypatch.setattr(probe, "find_spec", lambda name: None)
    done = run(probe.main, files / "model0.pt", files / "single", "--output", tmp_path, *SHORT)
    assert done.code == 1 and "needs matplotlib" in done.err and not computed


def test_probe__adapters_are_part_of_what_is_probed(files, tmp_path, run, computed):
    """And not of the network at random weights, whose features are there."""
    checkpoint, methods = read_checkpoint(files / "model0.pt"), (MlpAdapters(4),)
    network = build_encoder(checkpoint).encoder
    adapt(network, methods)
    added = {name: torch.ones_like(x) for name, x in network.state_dict().items() if name not in checkpoint.encoder}
    described = {"encoder_config": checkpoint.encoder_config, "front_end": checkpoint.front_end}
    adapter = Adapter(tmp_path, "", methods, added, base_of(checkpoint), **described)
    adapter_directory.write(tmp_path / "adapter", adapter)
    words = (files / "model0.pt", files / "single", "--cache", tmp_path / "cache", "--regularisation", "1", *SHORT)
    assert run(probe.main, *words).code == 0
    done = run(probe.main, *words, "--adapter", tmp_path / "adapter")
    assert done.code == 0, done.err
    assert computed == [24, 24, 24, 0]
    other = run(probe.main, files / "model1.pt", *words[1:], "--adapter", tmp_path / "adapter")
    assert other.code == 1 and "give the checkpoint that they were trained on" in other.err


def test_probe__worker_processes_decode(files, tmp_path, run, processes_started):
    words = [files / "model0.pt", files / "single", "--method", "knn", "--no-random-weights", *SHORT]
    assert run(probe.main, *words, "--output", tmp_path / "threads").code == 0 and not processes_started
    words += ["--output", tmp_path / "processes", "--worker_processes", "--num_workers", 2]
    assert run(probe.main, *words).code == 0 and set(processes_started) == {2}
    assert rows_of(tmp_path / "threads")[0] == rows_of(tmp_path / "processes")[0]
