"""Generated sound, and writing it into containers."""

from __future__ import annotations

import tarfile
import zipfile
from pathlib import Path

import h5py
import numpy as np

RATE_HZ = 16_000


def sound(duration_s: float = 1.0, rate_hz: int = RATE_HZ, seed: int = 0) -> np.ndarray:
    """(W,) noise between 50 and 6500 Hz, peak about 0.5: exactly the same sound at every rate above 13 kHz."""
    rng = np.random.default_rng(seed)
    num_samples = round(duration_s * rate_hz)
    low, high = round(50 * duration_s), round(6500 * duration_s)
    spectrum = np.zeros(num_samples // 2 + 1, dtype=complex)
    spectrum[low:high] = rng.normal(size=high - low) + 1j * rng.normal(size=high - low)
    return np.fft.irfft(spectrum, n=num_samples) * num_samples * 0.12 / np.sqrt(4 * (high - low))


def write_tar(path: Path, files: list[Path]) -> Path:
    with tarfile.open(path, "w") as archive:
        for file in files:
            archive.add(file, arcname=file.name)
    return path


def write_zip(path: Path, files: list[Path]) -> list[str]:
    """Stores files in a zip; returns their `zip:offset:length` names."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for file in files:
            archive.write(file, arcname=file.name)
    data = path.read_bytes()
    names = []
    for file in files:
        content = file.read_bytes()
        names.append(f"{path}:{data.index(content)}:{len(content)}")
    return names


def write_h5(path: Path, clips: dict[str, np.ndarray], rate_hz: int | None = None) -> Path:
    with h5py.File(path, "w") as file:
        for key, samples in clips.items():
            data = file.create_dataset(key, data=samples)
            if rate_hz is not None:
                data.attrs["sample_rate"] = rate_hz
    return path
