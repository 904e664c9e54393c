"""scripts/demo.sh from start to end, tiny: with the generated corpus, and with a folder of one's own."""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

pytest.importorskip("fairseq", reason="training runs inside fairseq")

ROOT = Path(__file__).resolve().parents[2]
STEPS = [
    "corpus",
    "statistics of its features",
    "pre-training without labels",
    "linear probe of the frozen encoder",
    "fine-tuning the pre-trained encoder",
    "fine-tuning from random weights",
    "evaluation on held-out clips",
    "features and labels of one clip",
    "report",
]


def demo(folder, **settings):
    """Runs the demo from another folder with tiny settings."""
    ours = ("DATA", "SAVE_DIR", "CHECKPOINT", "CONFIG", "NGPU", "NPROC", "BATCH_SIZE", "DRY_RUN", "TARGET_LENGTH")
    environment = {name: value for name, value in os.environ.items() if name not in ours}
    tiny = {
        "DEMO_DIR": str(folder),
        "NUM_CLIPS": "150",
        "PRETRAINING_UPDATES": "2",
        "FINETUNING_UPDATES": "2",
        "TARGET_LENGTH": "64",
        "OMP_NUM_THREADS": "1",
        "NGPU": "0",
    }
    return subprocess.run(
        ["bash", str(ROOT / "scripts" / "demo.sh")],
        cwd=folder.parent,
        env=environment | tiny | settings,
        capture_output=True,
        text=True,
        timeout=1200,
    )


def assert_complete(process, folder, metric="mAP"):
    assert process.returncode == 0, process.stderr[-3000:]
    steps = [line.split("\t")[0] for line in (folder / "results" / "seconds.tsv").read_text().splitlines()]
    assert steps == STEPS
    assert f"validation: {metric}" in process.stderr
    assert f"fine-tuned, pre-trained: {metric}" in process.stdout and "chance: " in process.stdout
    assert (folder / "report" / "index.html").is_file()
    for checkpoint in ("pretrained/checkpoint_last.pt", "finetuned/checkpoint_best.pt"):
        assert (folder / checkpoint).is_file()


@pytest.mark.long
def test_demo__runs_to_the_report_and_replaces_its_own_results(tmp_path):
    folder = tmp_path / "a demo"
    assert demo(folder, NUM_CLIPS="20").returncode != 0  # an earlier one, of which something is left
    (folder / "report").mkdir()
    (folder / "report" / "stale.png").write_text("")
    assert_complete(demo(folder), folder)
    assert not (folder / "report" / "stale.png").exists()


@pytest.mark.slow
@pytest.mark.long
def test_demo__takes_a_folder_of_ones_own_audio(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("loud noise", "tone"):
        (tmp_path / "my audio" / name).mkdir(parents=True)
        for clip in range(15):
            time = np.arange(30_000) / 22_050
            wave = rng.normal(0, 0.3, 30_000) if name == "loud noise" else 0.3 * np.sin(1e4 * rng.uniform(1, 3) * time)
            soundfile.write(tmp_path / "my audio" / name / f"{name}{clip}.{('wav', 'flac')[clip % 2]}", wave, 22_050)
    folder = tmp_path / "demo"
    assert_complete(demo(folder, DATA="my audio"), folder, "accuracy")
    page = (folder / "report" / "index.html").read_text()
    assert "loud noise" in page and "tone" in page
    assert "one label per clip" in page and "Chance: <strong>50.0 %</strong>" in page
    heading, *rows = (folder / "report" / "confusion.csv").read_text().splitlines()
    assert heading.split(",")[1:] == [row.split(",")[0] for row in rows] == ["loud noise", "tone"]
    num_eval = len((folder / "data" / "eval.lbl").read_text().splitlines())
    assert sum(int(count) for row in rows for count in row.split(",")[1:]) == num_eval
    assert "accuracy" in json.loads((folder / "results" / "finetuned_metrics.json").read_text())


def test_demo__never_touches_a_folder_with_other_files(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "precious.wav").write_text("")
    process = demo(tmp_path)
    assert process.returncode == 2
    assert f"demo.sh: DEMO_DIR: {tmp_path} holds files that are not a demo's; name another folder" in process.stderr
    assert (tmp_path / "data" / "precious.wav").exists()


def test_demo__a_step_that_fails_is_named(tmp_path):
    process = demo(tmp_path / "demo", NUM_CLIPS="20")
    assert process.returncode != 0
    assert "20 clips are too few" in process.stderr
    assert "demo.sh: step 1 failed" in process.stderr
