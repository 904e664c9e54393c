"""What stands on the console and in train.log before the first update of a launch script's run, and what is refused."""

import os
import re
import subprocess

import pytest

from ASDA.launch.settings import SETTINGS

from .conftest import ROOT, TINY_NETWORK, TINY_RUN
from .training_runs import Run, write_clips

pytestmark = pytest.mark.slow

MOST_LINES = 30
OURS = re.compile(r"\w+\.sh: |\[[^]]*\]\[ASDA\.[\w.]+\]\[(INFO|WARNING)\] - |  \S")  # indented: the summary's rows
ROWS = ("data, train", "front end", "model", "parameters", "weights", "batch", "schedule", "learning rate", "computes")


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    return write_clips(tmp_path_factory.mktemp("clips"))


@pytest.fixture(scope="module")
def environment(clips):
    cleared = {"OMP_NUM_THREADS", "PYTHONWARNINGS", *SETTINGS}
    return {**{k: v for k, v in os.environ.items() if k not in cleared}, "DATA": str(clips), "NGPU": "0"}


def launch(script, save_dir, environment, *overrides, **settings):
    small = [*TINY_RUN, "dataset.num_workers=1", "optimization.max_update=2", *overrides]
    command = ["bash", str(ROOT / script), *small]
    env = {**environment, "SAVE_DIR": str(save_dir), "PYTHONPATH": str(ROOT), **settings}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done


def assert_quiet(lines):
    before = lines[: next(i for i, line in enumerate(lines) if "[train_inner][INFO] - {" in line)]
    assert len(before) <= MOST_LINES, "\n".join(before)
    assert not [line for line in before if not OURS.match(line)]
    rows = {line[2:].split("  ")[0] for line in before if line.startswith("  ")}
    assert {*ROWS, "saves", "logs"} <= rows, rows


@pytest.mark.long
@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.long)])
def test_console_and_log__before_the_first_update(processes, environment, tmp_path):
    done = launch("pretraining_AS2M.sh", tmp_path / "run", environment, *TINY_NETWORK, NPROC=str(processes))
    assert_quiet([*done.stderr.splitlines(), *done.stdout.splitlines()])
    assert_quiet((tmp_path / "run/train.log").read_text().splitlines())
    assert "weights        random" in done.stdout
    checkpoint = tmp_path / "run/checkpoint_last.pt"

    tuned = launch(
        "finetuning_AS20K.sh",
        tmp_path / "tuned",
        environment,
        "task.dataset=''",
        NPROC=str(processes),
        CHECKPOINT=str(checkpoint),
    )
    assert_quiet([*tuned.stderr.splitlines(), *tuned.stdout.splitlines()])
    assert f"weights        the encoder's from {checkpoint}" in tuned.stdout
    assert "labels         3 classes, several per clip" in tuned.stdout


def test_wandb__that_is_not_installed_is_refused_before_training(clips, tmp_path):
    from fairseq.logging import progress_bar

    if progress_bar.wandb is not None:
        pytest.skip("wandb is installed")
    run = Run(tmp_path, clips, "common.wandb_project=mine", "optimization.max_update=2").start()
    assert run.wait() == 1
    assert "common.wandb_project=mine, but wandb cannot be imported; pip install wandb" in run.text
    assert not list(tmp_path.glob("*.pt"))
