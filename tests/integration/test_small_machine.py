"""The README's pre-training command on a small machine: planned so that it fits, or refused before a start."""

import re
import shlex
import subprocess

import pytest

from .conftest import ROOT
from .test_scripts import environment

MACHINE = {"NGPU": "0", "MEMORY_GB": "24"}


@pytest.fixture
def launch(tmp_path, corpus):
    """Calls the README's command on a corpus; a started run would be this fake one, which says what it was told."""
    package = tmp_path / "fake" / "fairseq_cli"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "hydra_train.py").write_text("import shlex, sys\nprint('started', shlex.join(sys.argv[1:]))\n")

    def call(*words: str, **settings: str) -> subprocess.CompletedProcess:
        typed = re.search(r"SAVE_DIR=/runs/asda (\./\S+)$", (ROOT / "README.md").read_text(), re.MULTILINE)[1]
        own = {"DATA": str(corpus), "SAVE_DIR": str(tmp_path / "run"), "PYTHONPATH": f"{tmp_path}/fake:{ROOT}"}
        command = ["bash", str(ROOT / typed), *words]
        return subprocess.run(
            command, env=environment(**own, **settings), capture_output=True, text=True, timeout=300, cwd=tmp_path
        )

    return call


def started_with(result: subprocess.CompletedProcess) -> dict[str, str]:
    assert result.returncode == 0, result.stderr
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("started ")]
    return dict(word.split("=", 1) for word in shlex.split(line) if "=" in word)


def test_pretraining__is_planned_with_fewer_clips_a_step_than_would_be_killed(launch):
    result = launch("model.autocast=none", **MACHINE)
    told = started_with(result)
    clips, steps = int(told["dataset.batch_size"]), int(told["optimization.update_freq"].strip("[]"))
    assert clips < 12 and clips * steps == 48 and told["model.cls_loss_clips"] == "12"
    assert re.search(r"memory: about \S+ GB of 24 GB available, by estimate; 12 clips a step are too", result.stderr)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"NGPU": "0", "MEMORY_GB": "24", "BATCH_SIZE": "12"}, "in place of BATCH_SIZE=12 set BATCH_SIZE=6"),
        ({"NGPU": "0", "MEMORY_GB": "3"}, "; +size=tiny fits, with BATCH_SIZE up to "),
    ],
)
def test_pretraining__is_refused_in_a_line_before_anything_is_started(launch, settings, says, tmp_path):
    result = launch("model.autocast=none", **settings)
    (line,) = [line for line in result.stderr.splitlines() if "memory" in line]
    assert result.returncode == 2 and "started" not in result.stdout and says in line
    assert not (tmp_path / "run").exists()


def test_pretraining__a_tiny_network_is_trained(corpus, tmp_path):
    """For real, on whatever this machine is."""
    words = ["+size=tiny", "task.clips_per_update=2", "task.target_length=128", "model.clone_batch=2"]
    words += ["optimization.max_update=2", "optimizer.groups.default.lr_scheduler.warmup_updates=1"]
    words += ["common.log_interval=1", "dataset.num_workers=0", "checkpoint.no_save=true"]
    own = {"DATA": str(corpus), "SAVE_DIR": str(tmp_path / "run"), "NGPU": "0", "OMP_NUM_THREADS": "1"}
    result = subprocess.run(
        ["bash", str(ROOT / "pretraining_AS2M.sh"), *words], env=environment(**own), capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr[-3000:]
    assert "num. shared model params: 938,240" in result.stdout and '"num_updates": "2"' in result.stdout
