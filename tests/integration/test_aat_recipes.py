"""AAT's recipes through the real entry points: adapters on AST, partial labels, clips of 30 s."""

import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch
import yaml

from ASDA.checkpoints.adapters import BASE_KEY
from ASDA.data.labels import LabelTable
from tests.vit_files import write_ast

from .conftest import ROOT, assert_ok, run

pytestmark = pytest.mark.slow


def write_task(folder: Path, name: str, splits: dict[str, int], seconds: float, partial: bool) -> Path:
    """Clips of noise with labels of a data set's own classes; with ``partial``, two classes of each were judged."""
    folder.mkdir()
    table = ROOT / "data_manifest" / name / "label_descriptors.csv"
    (folder / table.name).write_text(table.read_text())
    mids, generator = LabelTable.read(table).mids, np.random.default_rng(0)
    for split, number in splits.items():
        rows, labels = [str(folder)], []
        for clip in range(number):
            waveform = generator.normal(0, 0.1, round(16_000 * seconds))
            sf.write(folder / f"{split[:2]}{clip}.wav", waveform, 16_000)
            rows.append(f"{split[:2]}{clip}.wav\t{len(waveform)}")
            labels.append(f"{split[:2]}{clip}\t{mids[clip % 3]}" + (f"\t{mids[(clip + 1) % 3]}" if partial else ""))
        (folder / f"{split}.tsv").write_text("\n".join(rows) + "\n")
        (folder / f"{split}.lbl").write_text("\n".join(labels) + "\n")
    return folder


def adapt(tmp_path: Path, data: Path, task: str, *overrides: str) -> tuple[str, dict, dict]:
    """Two updates of a recipe from a small AST; what was said, the last checkpoint and the run's configuration."""
    ast, folder = write_ast(tmp_path / "ast", max_length=128), tmp_path / "run"
    words = ("optimization.max_update=2", "dataset.num_workers=0", "common.log_interval=1", "model.autocast=none")
    command = [sys.executable, "-m", "ASDA.cli.train", "finetuning", f"AAT_{task}", *words, *overrides]
    settings = {"DATA": str(data), "CHECKPOINT": str(ast), "SAVE_DIR": str(folder), "NGPU": "0"}
    process = assert_ok(run(command, **settings))
    checkpoint = torch.load(folder / "checkpoint_last.pt", weights_only=True)
    return process.stdout + process.stderr, checkpoint, yaml.safe_load((folder / "run.yaml").read_text())


@pytest.mark.long
def test_aat__openmic_adapts_ast_by_what_was_judged(tmp_path):
    data = write_task(tmp_path / "data", "openmic", {"train": 12, "eval": 4}, 0.5, partial=True)
    short = ("task.target_length=64", "optimizer.groups.default.lr_scheduler.warmup_updates=1")
    text, checkpoint, config = adapt(tmp_path, data, "OpenMIC", *short)
    assert "labels of train are partial: 10.0%" in text and '"eval_mAP"' in text
    assert BASE_KEY in checkpoint["model"] and any("after_attention" in name for name in checkpoint["model"])
    decay = config["optimizer"]["groups"]["default"]["lr_scheduler"]["decay"]
    assert (decay, checkpoint["cfg"]["model"]["num_classes"]) == (0.5, 20)


@pytest.mark.long
def test_aat__gtzan_hears_30_s_with_the_positions_of_shorter_clips(tmp_path):
    data = write_task(tmp_path / "data", "gtzan", {"train": 3, "valid": 2, "eval": 1}, 30.0, partial=False)
    text, checkpoint, _ = adapt(tmp_path, data, "GTZAN")
    assert '"valid_accuracy"' in text and '"eval_accuracy"' in text and "memory: about" in text
    assert checkpoint["task_state"]["front_end"]["target_length_frames"] == 3000
    assert BASE_KEY in checkpoint["model"] and checkpoint["cfg"]["model"]["num_classes"] == 10
    assert not any("positions" in name for name in checkpoint["model"])  # those of the base, interpolated in each pass
