"""The benchmarks run and write their tables. Their numbers are for quiet machines and are not tested."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import (
    bench_extract,
    bench_memory,
    learning_report,
    measuring,
    objectives_report,
    own_data_report,
    run_all,
)

ROOT = Path(__file__).resolve().parents[1]


def rows_of(file: Path) -> list[list[str]]:
    """Cells of the table rows of a report, headings and rules left out."""
    lines = [line for line in file.read_text().splitlines() if line.startswith("|")]
    rules = [number for number, line in enumerate(lines) if set(line) <= set("|-: ")]
    left_out = {*rules, *(number - 1 for number in rules)}
    return [[c.strip() for c in line.strip("|").split("|")] for n, line in enumerate(lines) if n not in left_out]


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("name", run_all.PLANS)
def test_run_all__every_benchmark_writes_its_table(name, tmp_path):
    command = [sys.executable, "-m", "benchmarks.run_all", name, "--tiny", "--output", str(tmp_path)]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert process.returncode == 0, process.stderr[-3000:]
    report = tmp_path / f"{name}.md"
    if run_all.PLANS[name].cuda is None and measuring.best_device().type == "cuda":
        assert not report.exists()
        return
    assert report.read_text().startswith(f"`python -m benchmarks.{run_all.PLANS[name].module} ")
    assert "torch" in report.read_text() and rows_of(report)
    for row in rows_of(report):
        assert any(re.match(r"[0-9.]+", cell) for cell in row[1:]), row


@pytest.mark.slow
@pytest.mark.long
def test_bench_extract__compares_settings_sizes_of_folders_and_lengths_of_recordings(tmp_path):
    sizes = ["--clips", "2", "--seconds", "1", "--depths", "1", "--width", "64", "--turns", "1"]
    modes = ["--compare", *bench_extract.COMPARED, "--growth", "2", "3", "--recording", "1"]
    assert bench_extract.main([*sizes, *modes, "--device", "cpu", "--output", str(tmp_path / "a.md")]) == 0
    rows = rows_of(tmp_path / "a.md")
    assert [row[0] for row in rows[-3:]] == ["2 clips", "3 clips", "1 minutes"]
    assert len(rows) == 2 * len(bench_extract.COMPARED) + 3
    assert all(float(cell) > 0 for row in rows for cell in row[1:])


def test_run_all__a_benchmark_that_fails_is_named_and_the_rest_runs(tmp_path, monkeypatch, capsys):
    started = []

    def run(command):
        started.append(command[2])
        return subprocess.CompletedProcess(command, returncode=int("bench_containers" in command[2]))

    monkeypatch.setattr(run_all.subprocess, "run", run)
    assert run_all.main(["--tiny", "--output", str(tmp_path)]) == 1
    assert started[0] == "benchmarks.bench_frontend" and started[-1] == "benchmarks.bench_ray"
    assert capsys.readouterr().err == "run_all: failed: containers\n"


def test_run_all__unknown_name():
    with pytest.raises(SystemExit) as stop:
        run_all.main(["nothing"])
    assert stop.value.code == 2


def test_measuring__functions_take_turns_and_medians_are_kept():
    calls = []
    measured = measuring.take_turns(
        {"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, measuring.torch.device("cpu"), repeats=3
    )
    assert calls == ["a", "a", "b", "b"] * 3 + ["a", "b"]  # each warms itself up; the last turn is for memory
    assert set(measured) == {"a", "b"} and measured["a"].seconds >= 0


def test_learning_report__tables_hold_each_seed_and_the_means(tmp_path):
    probe = [
        {"weights": weights, "seed": seed, "mAP": value}
        for weights, values in (("pre-trained", (0.4, 0.5)), ("random", (0.3, 0.2)))
        for seed, value in enumerate(values, start=1)
    ]
    folds = {"metric": "accuracy", "folds": ["fold1", "fold2"]}
    for name, content in (
        ("probe", probe),
        ("finetuned", {**folds, "last": [0.5, 0.7]}),
        ("random", {**folds, "last": [0.5, 0.3]}),
    ):
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    arguments = ["--about", "a test", "--command", "none", "--output", str(tmp_path / "out.md")]
    for option, name in (("--probe", "probe"), ("--finetuned", "finetuned"), ("--from-random", "random")):
        arguments += [option, str(tmp_path / f"{name}.json")]
    assert learning_report.main(arguments) == 0
    assert rows_of(tmp_path / "out.md") == [
        ["seed 1", "40.0 %", "30.0 %", "+10.0"],
        ["seed 2", "50.0 %", "20.0 %", "+30.0"],
        ["mean ± deviation", "45.0 ± 7.1 %", "25.0 ± 7.1 %", "+20.0"],
        ["fold1", "50.0 %", "50.0 %"],
        ["fold2", "70.0 %", "30.0 %"],
        ["mean ± deviation", "60.0 ± 14.1 %", "40.0 ± 14.1 %"],
    ]


def write_objectives(work: Path, updates: int = 20) -> None:
    """What objectives.sh leaves of the demo's corpus, with two methods and two seeds."""
    from ASDA.data.manifest import write_manifest

    data = work / "data" / "demo"
    data.mkdir(parents=True)
    for split, count in (("train", 3), ("eval", 2)):
        write_manifest(data / f"{split}.tsv", data, [(f"{split}{n}.wav", 16_000) for n in range(count)])
    (data / "label_descriptors.csv").write_text('index,mid,display_name\n0,a,"a"\n1,b,"b"\n')
    (work / "work.tsv").write_text(f"patch\t4.6\t{updates}\ngenerative\t4.4\t{updates}\nasda\t13.8\t{updates // 2}\n")
    weights = {"patch": (10.0, 1.0), "generative": (10.0, 0.0)}
    methods = (("patch", (0.4, 0.5), updates), ("generative", (0.3, 0.4), updates), ("asda", (0.42, 0.5), updates // 2))
    for method, values, count in methods:
        folder = work / "demo" / method
        rows = [
            {"weights": weights, "seed": seed, "mAP": value if weights == "pre-trained" else 0.2 + 0.01 * seed}
            for seed, value in enumerate(values, start=1)
            for weights in ("pre-trained", "random")
        ]
        for seed in (1, 2):
            run = folder / f"seed{seed}"
            run.mkdir(parents=True)
            lines = []
            for update in range(1, count + 1):
                line = {"num_updates": str(update), "wall": str(60 * seed)}
                if method == "patch":  # the last two of twenty count
                    line |= {"loss_generative": "1.5" if update > 18 else "9", "bin_mean_loss": "0.3"}
                    line |= {"loss_discriminative": "4.25", "nce_accuracy": "0.125"}
                if method == "generative":  # of a single term there is only the loss
                    line |= {"loss": "2", "bin_mean_loss": "0.3"}
                lines.append(f"[2026-11-28 17:00:00,000][train_inner][INFO] - {json.dumps(line)}")
            (run / "train.log").write_text("\n".join(lines))
            keys = zip(("reconstruction_weight", "classification_weight"), weights.get(method, ()), strict=False)
            (run / "run.yaml").write_text(json.dumps({"model": dict(keys)}))
        (folder / "probe.json").write_text(json.dumps(rows))


def test_objectives_report__rows_and_sentences_say_what_the_seeds_tell(tmp_path):
    write_objectives(tmp_path / "work")
    arguments = ["--work", str(tmp_path / "work"), "--corpora", "demo", "--output", str(tmp_path / "out.md")]
    assert objectives_report.main(arguments) == 0
    text = (tmp_path / "out.md").read_text()
    patch, generative, asda = rows_of(tmp_path / "out.md")
    random = "21.5 % (15.1 to 27.9)"
    assert patch[1:5] == ["4.6", "20", "1.5", random] and asda[1:5] == ["13.8", "10", "1.5", random]
    assert patch[6:] == ["0.150", "0.300", "4.250", "12.5 %"] and asda[6:] == ["-"] * 4
    assert generative[6:] == ["0.200", "0.300", "-", "-"]
    assert "3 clips to pre-train on" in text and "2 held out, several of 2 classes" in text
    assert "* ASDA, against MAE-AST, patches: +1.0 points, 95 % interval -11.7 to +13.7 over 2 seeds, which" in text
    assert "* MAE-AST, patches: 0.50 times the squared error of the per-bin mean; more than" in text


def own_data_folder(folder: Path, accuracies: dict[str, list[float]]) -> None:
    """What own_data.sh leaves of a corpus: runs with these accuracies by seed; three of four clips are of a class."""
    (folder / "data").mkdir(parents=True)
    for split, labels in (("train", "aaabbb"), ("eval", "aaab")):
        lines = [f"{number}\t{label}\n" for number, label in enumerate(labels)]
        (folder / "data" / f"{split}.lbl").write_text("".join(lines))
    rows = [
        {"weights": weights, "seed": seed, "accuracy": accuracy}
        for weights in ("pre-trained", "random")
        for seed, accuracy in enumerate(accuracies[f"probe, {weights}"], start=1)
    ]
    (folder / "probe.json").write_text(json.dumps(rows))
    chosen = {"target_length": 64, "padding": "mask", "norm_mean": -7.5, "norm_std": 4.0, "multi_label": False}
    record = {
        "task": {**chosen, "epochs": 2},
        "optimization": {"max_update": 12},
        "checkpoint": {"best_checkpoint_metric": "accuracy"},
    }
    for method, weights in (("fine-tuned", "pretrained"), ("from scratch", "random")):
        for seed, accuracy in enumerate(accuracies[method], start=1):
            for run in (folder / f"from_{weights}" / f"seed{seed}", folder / f"pretrained{seed}"):
                run.mkdir(parents=True, exist_ok=True)
                (run / "run.yaml").write_text(json.dumps(record))
            state = {"cfg": record, "extra_state": {"val_loss": accuracy, "best": 0.99}}
            torch.save(state, folder / f"from_{weights}" / f"seed{seed}" / "checkpoint_last.pt")


def test_own_data_report__numbers_and_sentences_follow_from_the_runs(tmp_path):
    own_data_folder(
        tmp_path / "speech",
        {
            "probe, random": [0.79, 0.80, 0.81],
            "probe, pre-trained": [0.89, 0.90, 0.91],
            "from scratch": [0.50, 0.75, 0.75],
            "fine-tuned": [0.75, 0.75, 1.00],
        },
    )
    arguments = ["--work", str(tmp_path), "--corpora", "speech", "--seeds", "1", "2", "3"]
    assert own_data_report.main([*arguments, "--output", str(tmp_path / "out.md")]) == 0
    assert rows_of(tmp_path / "out.md") == [
        [
            *("speech", "6 + 4", "2", "75.0 %", "80.0 % (77.5 to 82.5)", "90.0 % (87.5 to 92.5)"),
            *("66.7 % (30.8 to 100.0)", "83.3 % (47.5 to 100.0)"),
        ]
    ]
    text = (tmp_path / "out.md").read_text()
    probe, finetuning, chance = (line for line in text.splitlines() if line.startswith("* speech, ") or "above" in line)
    assert probe == "* speech, probe: what pre-training gains: +10.0 points, 95 % interval +10.0 to +10.0 over 3 seeds."
    assert "+16.7 points" in finetuning and "which includes 0" in finetuning and finetuning.endswith("overlap.")
    assert chance == (
        "* speech: above chance with the whole interval: probe, random; probe, pre-trained; not told from chance, or "
        "below it: from scratch; fine-tuned."
    )
    assert "2 epochs (12 updates) of fine-tuning; chosen: task.target_length=64 task.padding=mask" in text
    assert "49 points for the 4 of speech" in text and "no end (ar 28 of 28" in text


def test_own_data_report__a_probe_of_other_seeds_is_refused(tmp_path):
    methods = {name: [0.5, 0.6] for name in ("probe, random", "probe, pre-trained", "from scratch", "fine-tuned")}
    own_data_folder(tmp_path / "speech", methods)
    with pytest.raises(ValueError, match="probe.json: 2 seeds, expected 1"):
        own_data_report.Corpus("speech", tmp_path / "speech", [1])


TINY = {
    "PRETRAINING_UPDATES": "2",
    "FINETUNING_UPDATES": "2",
    "TARGET_LENGTH": "64",
    "OMP_NUM_THREADS": "1",
    "NGPU": "0",
}


def run_script(name: str, folder: Path, table: str = "table.md", **settings: str) -> list[list[str]]:
    """Rows of a table that a script of benchmarks/ writes."""
    output = folder / table
    settings = os.environ | TINY | {"WORK": str(folder / "work"), "OUTPUT": str(output)} | settings
    process = subprocess.run(
        ["bash", str(ROOT / "benchmarks" / name)],
        cwd=folder,
        env=settings,
        capture_output=True,
        text=True,
        timeout=1200,
    )
    assert process.returncode == 0, process.stderr[-3000:]
    return rows_of(output)


def write_samples(folder: Path, each: int = 6) -> Path:
    """Recordings of two kinds, loud and faint, named as those of sonic-pi are."""
    import numpy as np
    import soundfile

    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    for kind, level in (("drum", 0.3), ("bd", 0.01)):
        for number in range(each):
            soundfile.write(folder / f"{kind}_of {number}.flac", rng.normal(0, level, 4_000 + 500 * number), 16_000)
    return folder


@pytest.mark.slow
@pytest.mark.long
def test_learning_script__writes_its_table(tmp_path):
    pytest.importorskip("fairseq", reason="training runs inside fairseq")
    rows = run_script("learning.sh", tmp_path, NUM_CLIPS="150", SEEDS="1 2")
    assert [row[0] for row in rows] == ["seed 1", "seed 2", "mean ± deviation"]


@pytest.mark.slow
@pytest.mark.long
def test_recorded_sound_script__writes_its_table(tmp_path):
    pytest.importorskip("fairseq", reason="training runs inside fairseq")
    import numpy as np
    import soundfile

    samples = tmp_path / "samples"
    samples.mkdir()
    rng = np.random.default_rng(0)
    for kind, level in (("drum", 0.3), ("bd", 0.01)):
        for number in range(10):
            waveform = rng.normal(0, level, (4_000 * (1 + number), 1 + number % 2))
            soundfile.write(samples / f"{kind}_of {number}.flac", waveform, 44_100)
    rows = run_script("recorded_sound.sh", tmp_path, DATA=str(samples))
    assert [row[0] for row in rows] == ["seed 1", *(f"fold{k}" for k in range(1, 6)), "mean ± deviation"]
    assert len((tmp_path / "work" / "labels.csv").read_text().splitlines()) == 21


@pytest.mark.slow
@pytest.mark.long
def test_own_data_script__writes_its_table(tmp_path):
    pytest.importorskip("fairseq", reason="training runs inside fairseq")
    write_samples(tmp_path / "sonic-pi" / "samples")
    rows = run_script("own_data.sh", tmp_path, DATA=str(tmp_path), CORPORA="samples", SEEDS="1", SAMPLES_EPOCHS="1 1")
    assert [row[:4] for row in rows] == [["samples", "8 + 4", "2", "50.0 %"]]
    assert all(re.fullmatch(r"[0-9.]+ %", cell) for cell in rows[0][4:])
    text = (tmp_path / "table.md").read_text()
    assert "task.padding=mask" in text and "task.multi_label=False, accuracy" in text and "by one seed" in text


@pytest.mark.slow
@pytest.mark.long
def test_padding_script__writes_its_table(tmp_path):
    pytest.importorskip("fairseq", reason="training runs inside fairseq")
    import numpy as np
    import soundfile

    rng = np.random.default_rng(0)
    for language, level in (("fr", 0.3), ("ml", 0.3), ("nl", 0.01)):
        folder = tmp_path / "clips" / language / "alpha"
        folder.mkdir(parents=True)
        for number in range(9):
            soundfile.write(folder / f"{number}.ogg", rng.normal(0, level, 2_000 * (1 + number)), 16_000)
    rows = run_script("padding.sh", tmp_path, DATA=str(tmp_path / "clips"), SEEDS="1")
    assert [row[0] for row in rows] == ["constant, constant", "constant, mask", "mask, mask"]
    assert len((tmp_path / "work" / "labels.csv").read_text().splitlines()) == 19


@pytest.mark.slow
@pytest.mark.long
def test_objectives_script__writes_its_table(tmp_path):
    pytest.importorskip("fairseq", reason="training runs inside fairseq")
    settings = {"CORPORA": "demo", "SEEDS": "1", "METHODS": "patch asda", "NUM_CLIPS": "150"}
    rows = run_script("objectives.sh", tmp_path, **settings)
    assert [row[0] for row in rows] == ["MAE-AST, patches", "ASDA"]
    work = {name: (float(gflop), int(updates)) for name, gflop, updates, *_ in rows}
    (gflop, updates), (other_gflop, other_updates) = work.values()
    assert (updates, other_updates) == (2, round(2 * gflop / other_gflop))
    done = {file: file.stat().st_mtime for file in tmp_path.rglob("checkpoint_last.pt")}
    assert run_script("objectives.sh", tmp_path, **settings) == rows and len(done) == 2
    assert done == {file: file.stat().st_mtime for file in tmp_path.rglob("checkpoint_last.pt")}


@pytest.mark.slow
@pytest.mark.long
def test_bench_memory__measures_a_run_beside_its_estimate(tmp_path):
    pytest.importorskip("fairseq", reason="training runs inside fairseq")
    if not sys.platform.startswith("linux"):
        pytest.skip("what a process takes is read from /proc")
    assert bench_memory.main(["tiny, the demo's", "--output", str(tmp_path / "out.md")]) == 0
    ((name, clips, estimate, peak, ratio, _),) = rows_of(tmp_path / "out.md")
    assert (name, clips) == ("tiny, the demo's", "8") and float(peak) > 0.3
    assert float(ratio) == pytest.approx(float(estimate) / float(peak), abs=0.02)


def test_bench_memory__unknown_case():
    with pytest.raises(SystemExit) as stop:
        bench_memory.main(["nothing"])
    assert stop.value.code == 2
