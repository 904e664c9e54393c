"""Own data without traps, through the real entry points: one front end, one experiment in a folder."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch
import yaml

from .conftest import ROOT, TINY_NETWORK, run

pytestmark = pytest.mark.slow

TINY = ["common.log_interval=1", "dataset.num_workers=0", "common.tensorboard_logdir=null", *TINY_NETWORK]
TINY += ["checkpoint.save_interval_updates=0", "task.clips_per_update=4"]
TINY_FINETUNING = ["common.log_interval=1", "dataset.num_workers=0", "common.tensorboard_logdir=null", "task.epochs=2"]
PATH = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # where the programs are


def speak(folder, languages=("czech", "dutch"), speakers=("anna", "bert", "cora", "dirk"), takes=2):
    """Speech-like clips: a pitch of the speaker's, formants of the language's, 0.4 to 0.9 s, quiet, at 8 kHz."""
    rng = np.random.default_rng(0)
    for language, formant in zip(languages, (600, 1100, 1700), strict=False):
        for pitch, speaker in enumerate(speakers):
            home = folder / language / speaker
            home.mkdir(parents=True)
            for take in range(takes):
                time = np.arange(int(rng.uniform(0.4, 0.9) * 8000)) / 8000
                voice = np.sign(np.sin(2 * np.pi * (100 + 20 * pitch) * time)) * np.sin(2 * np.pi * formant * time)
                sf.write(home / f"{take}.wav", 0.004 * voice + rng.normal(0, 2e-4, len(time)), 8000)
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Manifests of such clips, a speaker on one side, made by the program."""
    folder = tmp_path_factory.mktemp("own_data")
    speak(folder / "voices")
    made = run(
        ["python", "-m", "ASDA.cli.manifest", "folder", folder / "voices", "--labels", "folders", "--out"]
        + [folder / "data", "--split", "train=0.5", "valid=0.25", "eval=0.25", "--group-by", "folder"],
        PATH=PATH,
    )
    assert made.returncode == 0, made.stderr
    return folder / "data"


def launch(script, save_dir, data, *words, checkpoint=None, **settings):
    """A launch script, to its end."""
    environment = {"DATA": str(data), "SAVE_DIR": str(save_dir), "NGPU": "0", **settings}
    if checkpoint:
        environment["CHECKPOINT"] = str(checkpoint)
    return run(["bash", ROOT / script, *words], **environment)


@pytest.fixture(scope="module")
def pretrained(data, tmp_path_factory):
    """A tiny pre-training of these clips with its own window and normalisation."""
    folder = tmp_path_factory.mktemp("pretrained")
    result = launch("pretraining_AS2M.sh", folder, data, "own_pretraining", *TINY, "task.epochs=2")
    assert result.returncode == 0, result.stdout + result.stderr
    return folder, result


def front_end_of(checkpoint):
    return torch.load(checkpoint, weights_only=True)["task_state"]["front_end"]


def test_pretraining__hears_the_clips_own_window_and_statistics(data, pretrained):
    found = front_end_of(pretrained[0] / "checkpoint_last.pt")
    assert found["target_length_frames"] in (80, 96) and found["norm_mean"] != -4.268  # 0.9 s are 88 frames
    kept = json.loads((data / "train.stats.json").read_text())
    assert found["norm_mean"] == pytest.approx(kept["norm_mean"], abs=1e-4)
    assert "normalisation (far from AudioSet's): task.norm_mean=" in pretrained[1].stderr


@pytest.mark.long
def test_finetuning__is_told_nothing_and_hears_what_the_checkpoint_did(data, pretrained, tmp_path):
    checkpoint = pretrained[0] / "checkpoint_last.pt"
    result = launch("scripts/finetune.sh", tmp_path / "run", data, *TINY_FINETUNING, checkpoint=checkpoint)
    text = result.stdout + result.stderr
    assert result.returncode == 0, text
    assert front_end_of(tmp_path / "run" / "checkpoint_last.pt") == front_end_of(checkpoint)
    assert "labels: 2 classes, one per clip: accuracy" in text and "(the checkpoint's)" in text
    assert re.search(r'"valid_accuracy": "[\d.]+"', text), "the metric follows from the labels"
    cfg = torch.load(tmp_path / "run" / "checkpoint_last.pt", weights_only=True)["cfg"]
    assert cfg["model"]["num_classes"] == 2 and cfg["task"]["multi_label"] is False
    assert cfg["task"]["norm_mean"] == front_end_of(checkpoint)["norm_mean"]  # recorded as a number
    stated = launch(
        "scripts/finetune.sh", tmp_path / "stated", data, *TINY_FINETUNING, "task.norm_mean=-1.5", checkpoint=checkpoint
    )
    warning = "task.norm_mean is -1.5 (as stated), but the checkpoint's encoder was trained with"
    assert stated.returncode == 0 and warning in stated.stdout + stated.stderr


def test_finetuning__a_wrong_number_of_classes_is_refused_before_anything_is_built(data, pretrained, tmp_path):
    checkpoint = pretrained[0] / "checkpoint_last.pt"
    result = launch("scripts/finetune.sh", tmp_path / "run", data, "model.num_classes=7", checkpoint=checkpoint)
    assert result.returncode == 2 and not (tmp_path / "run").exists()
    assert result.stderr.count("\n") == 1 and "model.num_classes=7, but" in result.stderr


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["model.diff_lambda=0.7"], "model.diff_lambda: 0.3 then, 0.7 now"),
        pytest.param(["EAT"], "model.attention: differential then, plain now", marks=pytest.mark.long),
        pytest.param(["task.norm_mean=-9.5"], "task.norm_mean: ", marks=pytest.mark.long),
    ],
)
def test_a_save_folder__refuses_another_experiment(data, pretrained, words, named):
    folder, before = pretrained[0], (pretrained[0] / "checkpoint_last.pt").read_bytes()
    recipes = [word for word in words if "=" not in word]
    others = [word for word in words if "=" in word]
    result = launch("pretraining_AS2M.sh", folder, data, "own_pretraining", *recipes, *TINY, "task.epochs=2", *others)
    text = result.stdout + result.stderr
    assert result.returncode not in (0, -9) and named in text and "run.yaml" in text, text[-2000:]
    assert (folder / "checkpoint_last.pt").read_bytes() == before


def test_a_save_folder__refuses_other_data(data, pretrained, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    for file in data.iterdir():
        (other / file.name).write_bytes(file.read_bytes())
    root, *rows = (other / "train.tsv").read_text().splitlines()
    (other / "train.tsv").write_text("\n".join([root, *rows[1:]]) + "\n")
    result = launch("pretraining_AS2M.sh", pretrained[0], other, "own_pretraining", *TINY, "task.epochs=2")
    expected = f"data.train.clips: {len(rows)} then, {len(rows) - 1} now"
    assert result.returncode != 0 and expected in result.stdout + result.stderr


@pytest.mark.long
def test_a_save_folder__refuses_the_second_run_of_a_sweep(data, tmp_path):
    """hydra's own multirun: one SAVE_DIR for two lambdas."""
    words = [*TINY, "common.cpu=true", "common.fp16=false", "optimization.max_update=2", "task.target_length=96"]
    words += ["optimizer.groups.default.lr_scheduler.warmup_updates=1", f"hydra.sweep.dir={tmp_path / 'sweep'}"]
    words += [f"common.user_dir={ROOT / 'ASDA'}", f"task.data={data}", f"checkpoint.save_dir={tmp_path / 'run'}"]
    command = [sys.executable, "-m", "fairseq_cli.hydra_train", "-m", "--config-dir", ROOT / "config"]
    command += ["--config-name", "pretraining_AS2M", "dataset.batch_size=4", *words, "model.diff_lambda=0.1,0.3"]
    result = run(command, HYDRA_FULL_ERROR="1")
    text = result.stdout + result.stderr
    assert result.returncode != 0 and "model.diff_lambda: 0.1 then, 0.3 now" in text, text[-3000:]


@pytest.mark.long
def test_a_save_folder__is_extended_when_that_is_said(data, pretrained, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(pretrained[0], folder)
    words = ["own_pretraining", *TINY]
    assert yaml.safe_load((folder / "run.yaml").read_text())["task"]["epochs"] == 2
    longer = launch("pretraining_AS2M.sh", folder, data, *words, "task.epochs=3")
    assert longer.returncode != 0 and "EXTEND=1" in longer.stdout + longer.stderr
    extended = launch("pretraining_AS2M.sh", folder, data, *words, "task.epochs=3", EXTEND="1")
    assert extended.returncode == 0, extended.stdout[-3000:]
    updates = torch.load(folder / "checkpoint_last.pt", weights_only=True)["optimizer_history"][-1]["num_updates"]
    assert updates == yaml.safe_load((folder / "run.yaml").read_text())["optimization"]["max_update"]
    again = launch("pretraining_AS2M.sh", folder, data, *words, "task.epochs=3")  # the same goes on, and is at its end
    assert again.returncode == 0


def test_plan__says_everything_and_starts_nothing(data, tmp_path):
    result = launch("pretraining_AS2M.sh", tmp_path / "run", data, "own_pretraining", "--plan")
    assert result.returncode == 0 and not (tmp_path / "run").exists()
    for word in ("data", "  train", "window", "  lengths", "  suggested", "network", "batch", "schedule", "saves into"):
        assert re.search(rf"^{word} ", result.stdout, re.MULTILINE), result.stdout
    assert "begins anew" in result.stdout and "fairseq_cli.hydra_train" in result.stdout.splitlines()[-1]


def blocks_of(file):
    """The commands of a document's sh blocks; what is written below a heading of three # is no step of the way."""
    steps = re.sub(r"^### .*?(?=^## )", "", file.read_text(), flags=re.DOTALL | re.MULTILINE)
    blocks = re.findall(r"```sh\n(.*?)```", steps, re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


@pytest.mark.long
def test_the_tutorial__runs(tmp_path):
    """docs/own_data.md as it stands, in other folders, with a smaller network and fewer epochs."""
    speak(tmp_path / "data" / "voices")
    activate, *commands = blocks_of(ROOT / "docs" / "own_data.md")
    assert activate == "source .venv/bin/activate" and len(commands) == 11
    small = {"pretraining_AS2M.sh": [*TINY, "task.epochs=2"], "scripts/finetune.sh": TINY_FINETUNING}
    environment = {**os.environ, "PATH": PATH, "OMP_NUM_THREADS": "1", "NGPU": "0"}
    outputs = []
    for command in commands:
        for place in ("data", "manifests", "runs", "models"):
            command = re.sub(rf"(?<![\w.])/{place}/", f"{tmp_path}/{place}/", command)
        for script, words in small.items():
            if script in command:
                command += " " + " ".join(f"'{word}'" for word in words)
        options = {"cwd": ROOT, "env": environment, "capture_output": True, "text": True, "check": False}
        done = subprocess.run(["bash", "-c", command], **options)
        assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
        outputs.append(done.stdout)
    assert "accuracy" in outputs[6] and "czech" in outputs[-1] and "dutch" in outputs[-1]
