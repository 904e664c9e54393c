"""Small corpora of generated sound."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.data.generated_corpora import RATE_HZ, sound, write_corpus


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
def corpus(tmp_path):
    """Makes a corpus of `n` clips; returns its manifest."""
    return partial(write_corpus, tmp_path)
