"""asda-ablate: plans, refusals, and what a Slurm array gets. Runs are in tests/integration/test_ablation.py."""

import json
import subprocess
from pathlib import Path

import pytest

pytest.importorskip("fairseq", reason="pre-training runs inside fairseq")

from ASDA.cli import ablate
from ASDA.fairseq_plugin.describing import require_known_keys
from ASDA.launch.ablation.grid import Grid
from ASDA.launch.ablation.grid_file import GRID_FOLDER
from ASDA.launch.ablation.stages import compose_grid

READY = sorted(GRID_FOLDER.glob("*.yaml"))
GRID = """
seeds: [1, 2]
reference: a
pretraining: pretraining_AS2M demo_pretraining
tasks: {events: {probe: mean, finetuning: finetuning demo_finetuning}}
settings:
  a: {}
  b: {pretraining: model.diff_lambda=0}
  c: {pretraining_of: a, probe: cls}
"""


@pytest.fixture
def grid(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(GRID)
    return tmp_path / "mine.yaml"


@pytest.mark.long  # hydra takes half a second for each setting
@pytest.mark.parametrize("file", READY, ids=lambda file: file.stem)
def test_ready_grid__composes(file):
    """With every key known to fairseq, the task and the model."""
    grid = Grid.read(file)
    composed = compose_grid(grid, require_known_keys)
    assert len(composed) == len(grid.settings) > 1 and len(grid.seeds) == 3


@pytest.mark.parametrize("file", READY, ids=lambda file: file.stem)
def test_ready_grid__says_what_it_is_for(file):
    heads = [line.split(":")[0] for line in file.read_text().splitlines() if line.startswith("# ")]
    assert [head for head in heads if head in ("# Purpose", "# Data", "# Launch")] == [
        "# Purpose",
        "# Data",
        "# Launch",
    ]


@pytest.mark.long
def test_ready_grid__objectives_get_as_much_arithmetic(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run(ablate.main, "demo_objectives", "--data", "data", "--dry-run")
    assert result.code == 0, result.err
    lines = [line for line in result.out.splitlines() if "ASDA.cli.train" in line and "common.seed=1" in line]
    updates = [int(line.partition("optimization.max_update=")[2].split()[0]) for line in lines]
    assert updates[0] == 240 and all(2 * 240 < number < 5 * 240 for number in updates[2:])  # 13.6 and 4.6 GFLOP


def test_dry_run__prints_every_process_and_starts_nothing(grid, run):
    result = run(ablate.main, "mine.yaml", "--data", "data", "--data", "events=/labelled", "--dry-run")
    assert result.code == 0, result.err
    lines = result.out.splitlines()
    assert [line for line in lines if line.startswith("#")] == [
        *("# 0: a, c, seed 1", "# 1: b, seed 1", "# 2: a, c, seed 2", "# 3: b, seed 2")
    ]
    pretraining, probe, finetuning, evaluation, follower = lines[1:6]
    runs = grid.parent / "ablation" / "mine" / "runs"
    assert pretraining == (
        f"DATA={grid.parent}/data SAVE_DIR={runs}/a/seed1/pretrained python -m ASDA.cli.train pretraining_AS2M "
        "demo_pretraining common.seed=1"
    )
    assert f"--data /labelled --checkpoint {runs}/a/seed1/pretrained/checkpoint_last.pt" in probe
    assert (
        f"CHECKPOINT={runs}/a/seed1/pretrained/checkpoint_last.pt" in finetuning and "ASDA.cli.evaluate" in evaluation
    )
    assert f"--checkpoint {runs}/a/seed1/pretrained/checkpoint_last.pt" in follower and "--pooling cls" in follower
    assert not (grid.parent / "ablation").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nothing"], "asda-ablate: error: there is no grid nothing; expected a yaml's path, or one of ASDA, MAE_AST"),
        (["mine.yaml"], "mine.yaml: data: what is pre-trained on is not said"),
        (["mine.yaml", "--data", "absent"], "--data: {folder}/absent/train.tsv does not exist"),
        (["mine.yaml", "--data", "x", "--data", "y"], "--data y: named twice"),
    ],
)
def test_ablate__says_in_one_line_why_it_cannot_start(words, message, grid, run):
    result = run(ablate.main, *words)
    assert result.code == 1 and message.format(folder=grid.parent) in result.err and result.err.count("\n") == 1


@pytest.mark.parametrize("word", ["optimization.max_updat=5", "+model.diff_lambd=1"])
def test_ablate__finds_unknown_keys_before_anything_runs(word, grid, run):
    grid.write_text(GRID.replace("model.diff_lambda=0", word))
    result = run(ablate.main, "mine.yaml", "--data", "data", "--dry-run")
    key = word.strip("+").partition("=")[0].partition(".")[2]
    assert result.code == 1 and f"{grid}: settings.b.pretraining: " in result.err and key in result.err
    assert result.err.count("\n") == 1


@pytest.mark.usefixtures("grid")
def test_slurm__prints_a_script_that_runs_a_chain_in_each_task(run, tmp_path):
    (tmp_path / "data").mkdir()
    for name in ("train.tsv", "train.lbl", "eval.tsv", "eval.lbl", "label_descriptors.csv"):
        (tmp_path / "data" / name).write_text("/clips\n" if name.endswith("tsv") else "")
    result = run(ablate.main, "mine.yaml", "--data", "data", "--output", "my runs", "--slurm")
    assert result.code == 0, result.err
    assert "#SBATCH --array=0-3\n" in result.out and (tmp_path / "my runs" / "slurm").is_dir()
    assert json.loads((tmp_path / "my runs" / "ablation.json").read_text()) == {"asda_ablate": "mine"}
    (tmp_path / "array.sbatch").write_text(result.out)
    assert subprocess.run(["bash", "-n", tmp_path / "array.sbatch"]).returncode == 0
    started = "-m ASDA.cli.ablate mine.yaml --data data --output 'my runs' --index \"$SLURM_ARRAY_TASK_ID\" &"
    assert started in result.out
