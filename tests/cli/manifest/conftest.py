"""A folder `tmp_path/data` to prepare, and the program to do it."""

import os
import zlib
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ASDA.cli.manifest import main
from tests.cli.manifest.reading import RATE_HZ


@pytest.fixture
def audio(tmp_path):
    """Writes noise under tmp_path/data."""

    def audio(name: str, duration_s: float = 0.2, rate_hz: int = RATE_HZ, channels: int = 1) -> Path:
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(zlib.crc32(os.fsencode(name)))
        soundfile.write(os.fsencode(path), rng.uniform(-0.1, 0.1, (round(duration_s * rate_hz), channels)), rate_hz)
        return path

    return audio


@pytest.fixture
def run(tmp_path, capsys):
    """Runs the program with {data} and {out} filled in; returns exit code and what it printed."""

    def run(*args: str) -> tuple[int, str]:
        code = main([str(arg).format(data=tmp_path / "data", out=tmp_path / "out") for arg in args])
        captured = capsys.readouterr()
        return code, captured.out + captured.err

    return run
