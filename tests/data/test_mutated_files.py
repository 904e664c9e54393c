"""Damaged files of every format and container: samples, or a one-line reason; no crash, no hang, no flood of memory."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

FILES_PER_FORMAT = 150


@pytest.mark.slow
def test_reading__thousands_of_damaged_files(tmp_path):
    """In a process of its own, as a damaged file may end the one that reads it."""
    command = [sys.executable, "-m", "tests.data.mutated_files", str(tmp_path), str(FILES_PER_FORMAT)]
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, errors="replace", timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    report = json.loads((tmp_path / "report.json").read_text())
    results = report["results"]
    assert sum(result["read"] + result["refused"] for result in results.values()) >= 3_000
    for name, result in results.items():
        assert result["read"] and result["refused"], name  # neither a sieve nor a wall
        assert result["longest_s"] < 20, name
    assert report["peak_bytes"] < 2**31
