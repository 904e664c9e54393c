"""asda-ablate, with tiny runs: killed in the middle, gone on with, one of its settings failing, to the table."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from .conftest import ROOT, TINY_NETWORK
from .training_runs import write_clips

pytestmark = [pytest.mark.slow, pytest.mark.long]

UPDATES = 60
SHORT = "task.target_length=96 dataset.num_workers=0 common.log_interval=1 task.clips_per_update=2"
WARMUP = "optimizer.groups.default.lr_scheduler.warmup_updates=1"
GRID = f"""
seeds: [1]
reference: first
pretraining: >-
  pretraining_AS2M demo_pretraining {SHORT} {WARMUP} {" ".join(TINY_NETWORK)} optimization.max_update=4
tasks:
  tones:
    probe: mean
    finetuning: >-
      finetuning demo_finetuning {SHORT} {WARMUP} optimization.max_update=2 task.multi_label=null
settings:
  first: {{}}
  second: {{pretraining: optimization.max_update={UPDATES} checkpoint.save_interval_updates=10}}
  broken: {{pretraining: model.num_heads=5}}
"""


def start(folder: Path) -> subprocess.Popen:
    words = ["grid.yaml", "--data", "clips", "--output", "runs"]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "NGPU": "0"}
    with open(folder / "said.txt", "a") as said:
        return subprocess.Popen(
            [sys.executable, "-m", "ASDA.cli.ablate", *words],
            cwd=folder,
            env=env,
            stdout=said,
            stderr=said,
            start_new_session=True,
        )


@pytest.fixture(scope="module")
def ablation(tmp_path_factory):
    """Killed with all its processes when the second setting has a checkpoint, then started again."""
    folder = tmp_path_factory.mktemp("ablation")
    write_clips(folder / "clips", valid=True)
    (folder / "grid.yaml").write_text(GRID)
    runs = folder / "runs" / "runs"
    process, until = start(folder), time.monotonic() + 300
    while not (runs / "second" / "seed1" / "pretrained" / "checkpoint_last.pt").exists():
        assert process.poll() is None and time.monotonic() < until, (folder / "said.txt").read_text()
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(30)
    log = runs / "first" / "seed1" / "output.txt"
    finished = log.read_text(), log.stat().st_mtime_ns
    code = start(folder).wait(600)
    said = (folder / "said.txt").read_text()
    yield SimpleNamespace(folder=folder, runs=runs, finished=finished, code=code, said=said)


def test_ablate__what_is_done_is_not_done_again(ablation):
    log = ablation.runs / "first" / "seed1" / "output.txt"
    assert (log.read_text(), log.stat().st_mtime_ns) == ablation.finished
    assert ablation.finished[0].count("\n=== ") == 4  # pre-training, probe, fine-tuning, evaluation


def test_ablate__what_was_interrupted_goes_on_from_its_checkpoint(ablation):
    log = (ablation.runs / "second" / "seed1" / "output.txt").read_text()
    before, after = [part for part in re.split(r"\n=== ", log) if " pretraining: " in part.partition("\n")[0]]
    first = [int(number) for number in re.findall(r'"num_updates": "(\d+)"', after)]
    assert min(first) > 10 and max(first) == UPDATES
    assert '"num_updates": "1"' in before


def test_ablate__a_setting_that_fails_is_named_and_the_others_are_in_the_table(ablation):
    assert ablation.code == 1
    assert "broken, seed 1: pretraining failed with exit code" in ablation.said
    assert "num_heads" in ablation.said and "embed_dim" in ablation.said  # the last lines of its log
    rows = list(csv.DictReader((ablation.folder / "runs" / "table.csv").read_text().splitlines()))
    scores = {(row["setting"], row["score"]): row for row in rows}
    for setting in ("first", "second"):
        for score in ("tones, probe: mAP", "tones, fine-tuned: mAP"):
            assert 0 < float(scores[setting, score]["mean"]) <= 1
    broken = [row for row in rows if row["setting"] == "broken"]
    assert {row["failed_seeds"] for row in broken} == {"1"} and {row["mean"] for row in broken} == {""}
    assert float(scores["second", "tones, probe: mAP"]["hours"]) > 0
    page = (ablation.folder / "runs" / "index.html").read_text()
    assert "broken, seed 1: pretraining failed" in page


def test_ablate__the_difference_is_that_of_the_seeds(ablation):
    content = json.loads((ablation.folder / "runs" / "table.json").read_text())
    first, second = (setting["scores"]["tones, probe: mAP"] for setting in content["settings"][:2])
    assert second["differences"]["1"] == pytest.approx(second["values"]["1"] - first["values"]["1"])
    assert content["about"][0] == "`asda-ablate grid.yaml --data clips --output runs`"


def test_ablate__refuses_another_setting_under_the_name_of_what_is_done(ablation):
    changed = GRID.replace("first: {}", "first: {pretraining: model.diff_lambda=0.9}")
    (ablation.folder / "grid.yaml").write_text(changed)
    try:
        said = (ablation.folder / "said.txt").stat().st_size
        assert start(ablation.folder).wait(300) == 1
        line = (ablation.folder / "said.txt").read_text()[said:]
    finally:
        (ablation.folder / "grid.yaml").write_text(GRID)
    assert "model.diff_lambda: 0.3 then, 0.9 now" in line and line.count("\n") == 1
