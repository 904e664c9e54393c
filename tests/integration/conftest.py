"""A tiny corpus and tiny models, made once through the real entry points and shared by the tests of this folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from . import warm_start

pytest.importorskip("fairseq", reason="training runs inside fairseq")

ROOT = Path(__file__).resolve().parents[2]

TINY_RUN = [
    "common.cpu=true",
    "common.fp16=false",
    "common.log_interval=1",
    "dataset.num_workers=0",
    "dataset.batch_size=2",
    "task.target_length=128",
    "optimizer.groups.default.lr_scheduler.warmup_updates=1",
]
TINY_NETWORK = [
    "model.depth=2",
    "model.embed_dim=32",
    "model.num_heads=4",
    "model.clone_batch=2",
    "model.modalities.image.max_length=64",
    "model.modalities.image.decoder.decoder_dim=32",
]
TINY_MAE_AST = [
    "model.encoder_layers=2",
    "model.encoder_embed_dim=32",
    "model.encoder_ffn_embed_dim=64",
    "model.encoder_attention_heads=4",
    "model.decoder_layers=1",
    "model.decoder_embed_dim=32",
    "model.max_token_length=512",
    "model.clone_batch=2",
]
TINY_SSAST = [
    "model.depth=2",
    "model.embed_dim=64",
    "model.num_heads=1",
    "model.max_length=8",
]
TINY = {
    "pretraining_AS2M": TINY_NETWORK,
    "pretraining_MAE_AST": TINY_MAE_AST,
    "pretraining_SSAST": TINY_SSAST,
    "finetuning": ["model.num_classes=3"],
}
"""What makes the network of a yaml tiny."""


# The machinery of a run knows no objectives: that it holds for further ones is told by `make test-long`.
OTHERS = [pytest.param(name, marks=pytest.mark.long) for name in ("pretraining_MAE_AST", "pretraining_SSAST")]


@pytest.fixture(scope="module", params=["pretraining_AS2M", *OTHERS])
def pretraining(request) -> str:
    """The yaml of an objective."""
    return request.param


@pytest.fixture(scope="module", params=["pretraining_AS2M", OTHERS[0]])
def either(request) -> str:
    """The yaml of an objective with a teacher, and of one without: what a run survives depends on no more than that."""
    return request.param


def run(command: list, timeout_s: int = 300, **environment) -> subprocess.CompletedProcess:
    """Runs a command of the project from another folder than the repository; output is kept."""
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), **environment}
    command = [str(part) for part in command]
    if warm_start.applies_to(command, env):
        return warm_start.run(command, env, timeout_s)
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=timeout_s, check=False)


def train(
    config: str, save_dir: Path, *overrides: str, config_dir: Path = ROOT / "config", **environment
) -> subprocess.CompletedProcess:
    """One run of fairseq-hydra-train with a tiny setting; its log lines are in ``stdout``."""
    save_dir.mkdir(parents=True, exist_ok=True)
    fixed = [f"common.user_dir={ROOT / 'ASDA'}", f"checkpoint.save_dir={save_dir}", f"hydra.run.dir={save_dir}"]
    command = [
        sys.executable,
        "-m",
        "fairseq_cli.hydra_train",
        "--config-dir",
        config_dir,
        "--config-name",
        config,
    ]
    return run([*command, *fixed, *TINY_RUN, *overrides], **environment)


def assert_ok(process: subprocess.CompletedProcess) -> subprocess.CompletedProcess:
    assert process.returncode == 0, f"{process.args}\n{process.stdout[-3000:]}\n{process.stderr[-3000:]}"
    return process


@pytest.fixture(scope="session")
def corpus(tmp_path_factory) -> Path:
    """The demo corpus at its smallest: labelled clips as wav and flac, mono and stereo, 16 and 44.1 kHz."""
    folder = tmp_path_factory.mktemp("corpus")
    assert_ok(run([sys.executable, "-m", "ASDA.demo.corpus", folder, "--num-clips", "150", "--seed", "1"]))
    return folder


@pytest.fixture(scope="session")
def pretrained(corpus, tmp_path_factory) -> Path:
    """The folder of a pre-training run of two updates."""
    folder = tmp_path_factory.mktemp("pretrained")
    overrides = [f"task.data={corpus}", "optimization.max_update=2", "model.average_top_k_layers=2", *TINY_NETWORK]
    assert_ok(train("pretraining_AS2M", folder, *overrides))
    return folder


@pytest.fixture(scope="session")
def num_classes(corpus) -> int:
    return len((corpus / "label_descriptors.csv").read_text().splitlines()) - 1


@pytest.fixture(scope="session")
def finetuned(corpus, pretrained, num_classes, tmp_path_factory) -> Path:
    """The folder of a fine-tuning run of four updates that starts from ``pretrained``."""
    folder = tmp_path_factory.mktemp("finetuned")
    overrides = [
        f"task.data={corpus}",
        f"model.model_path={pretrained / 'checkpoint_last.pt'}",
        f"model.num_classes={num_classes}",
        "optimization.max_update=4",
    ]
    assert_ok(train("finetuning", folder, *overrides))
    return folder
