"""Small corpora of generated sound."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from ASDA.data.manifest import Manifest, write_manifest
from tests.data.corpora import RATE_HZ, sound


@pytest.fixture
def write_audio(tmp_path):
    """Writes samples (by default `sound`) under tmp_path and returns the path."""

    def write_audio(name: str, samples: np.ndarray | None = None, rate_hz: int = RATE_HZ, **options) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, sound(rate_hz=rate_hz) if samples is None else samples, rate_hz, **options)
        return path

    return write_audio


@pytest.fixture
def corpus(tmp_path, write_audio):
    """Makes a manifest of `n` different clips `clip_0.wav` ...; returns it."""

    def corpus(n: int = 6, duration_s: float = 0.5, name: str = "train") -> Manifest:
        for i in range(n):
            write_audio(f"audio/clip_{i}.wav", sound(duration_s, seed=i))
        rows = [(f"clip_{i}.wav", round(duration_s * RATE_HZ)) for i in range(n)]
        write_manifest(tmp_path / f"{name}.tsv", tmp_path / "audio", rows)
        return Manifest.read(tmp_path / f"{name}.tsv")

    return corpus
