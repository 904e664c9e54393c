"""The plain-torch folders work where fairseq, hydra and omegaconf are not installed."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ABSENT = ("fairseq", "hydra", "omegaconf")
PLAIN_TESTS = ("core", "objectives", "audio", "data", "inference", "training", "test_metrics.py")


@pytest.fixture(scope="module")
def python_without_fairseq(tmp_path_factory) -> Path:
    """The interpreter of an environment that shares every installed package but these three with the one in use."""
    environment = tmp_path_factory.mktemp("without_fairseq")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    python = environment / "bin" / "python"
    query = "import sysconfig; print(sysconfig.get_paths()['purelib'])"
    target = Path(subprocess.check_output([python, "-c", query], text=True).strip())
    for package in Path(sysconfig.get_paths()["purelib"]).iterdir():
        if not package.name.lower().startswith(ABSENT):
            (target / package.name).symlink_to(package)
    return python


def run(python: Path, *arguments: str) -> subprocess.CompletedProcess:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST")}
    return subprocess.run([python, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize("module", ABSENT)
def test_environment__lacks(module, python_without_fairseq):
    result = run(python_without_fairseq, "-c", f"import torch, {module}")
    assert result.returncode == 1 and f"No module named '{module}'" in result.stderr


@pytest.mark.slow
def test_plain_torch_folders__pass_their_tests_without_fairseq(python_without_fairseq):
    paths = [str(ROOT / "tests" / name) for name in PLAIN_TESTS]
    result = run(python_without_fairseq, "-m", "pytest", "-q", "-p", "no:cacheprovider", *paths)
    assert result.returncode == 0, result.stdout[-5000:]
    assert " passed" in result.stdout
