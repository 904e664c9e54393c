"""The first 50 updates of the demo's pre-training follow the curve in reference_curve.tsv.

After a change that is meant to move it, `python -m tests.integration.test_reference_curve` writes the file anew.
"""

import os
import subprocess
import tempfile
from pathlib import Path

import pytest

from ASDA.demo import corpus
from ASDA.reports.run_logs import read_run

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = Path(__file__).with_name("reference_curve.tsv")
KEYS = ("loss", "loss_IMAGE_regression", "loss_cls", "pred_var", "target_var")
NUM_UPDATES = 50
# Sums are made in another order on another processor or with other threads, and training amplifies what that changes.
TOLERANCE = {"early": 1e-3, "late": 5e-2}


def pretrain(folder: Path) -> dict[str, list[float]]:
    """The demo's pre-training from its corpus, a line per update; stopped after its first epoch of 70 updates."""
    corpus.write_corpus(folder / "data", 800, seed=1)
    script = (
        f"source {ROOT}/scripts/small_runs.sh; measure_front_end $DATA/train.tsv; "
        "pretrain_small optimization.max_epoch=1 common.log_interval=1 model.autocast=none optimization.max_update=800 "
        "optimizer.groups.default.lr_scheduler.warmup_updates=80"  # of which the curve was recorded
    )
    ours = ("CONFIG", "NGPU", "NPROC", "BATCH_SIZE", "DRY_RUN", "TARGET_LENGTH", "PRETRAINING_UPDATES")
    environment = {name: value for name, value in os.environ.items() if name not in ours}
    environment |= {"DATA": str(folder / "data"), "SAVE_DIR": str(folder / "run"), "NGPU": "0", "OMP_NUM_THREADS": "1"}
    process = subprocess.run(
        ["bash", "-c", script, str(ROOT / "scripts" / "demo.sh")], env=environment, capture_output=True, text=True
    )
    assert process.returncode == 0, process.stderr[-3000:]
    log = read_run(folder / "run")["train_inner"]
    return {key: [log[key][update] for update in range(1, NUM_UPDATES + 1)] for key in KEYS}


def read_reference() -> dict[str, list[float]]:
    lines = [line.split("\t") for line in REFERENCE.read_text().splitlines() if not line.startswith("#")]
    return {key: [float(value) for value in column] for key, *column in zip(*lines, strict=True)}


@pytest.mark.long
def test_demo_recipe__first_updates_follow_the_reference_curve(tmp_path):
    pytest.importorskip("fairseq", reason="training runs inside fairseq")
    expected, found = read_reference(), pretrain(tmp_path)
    assert expected.pop("update") == list(range(1, NUM_UPDATES + 1))
    for key in KEYS:
        assert found[key][:5] == pytest.approx(expected[key][:5], rel=TOLERANCE["early"]), key
        assert found[key] == pytest.approx(expected[key], rel=TOLERANCE["late"]), key
    assert found["loss"][-1] < 0.7 * found["loss"][0]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        curves = pretrain(Path(folder))
    rows = [
        "# make demo's pre-training, on a CPU in float32; written by python -m tests.integration.test_reference_curve",
        "\t".join(["update", *KEYS]),
        *("\t".join([str(n + 1), *(f"{curves[key][n]:g}" for key in KEYS)]) for n in range(NUM_UPDATES)),
    ]
    REFERENCE.write_text("\n".join(rows) + "\n")


if __name__ == "__main__":
    main()
