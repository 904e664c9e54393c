"""Small corpora of generated sound, in files and in containers, and what a data set needs besides."""

from __future__ import annotations

import json
import tarfile
import zipfile
from importlib.util import find_spec
from pathlib import Path

import h5py
import numpy as np
import pytest
import soundfile
import torch

from ASDA.audio.front_end import FrontEnd
from ASDA.data.labels import ClipLabels
from ASDA.data.manifest import Manifest, write_manifest

RATE_HZ = 16_000
FRONT_END = FrontEnd(target_length_frames=32)
NUM_PATCHES = 16
NEEDS_PYARROW = pytest.mark.skipif(find_spec("pyarrow") is None, reason="needs pyarrow, of the extra parquet")
CONTAINERS = ("tar", "zip", "h5", pytest.param("parquet", marks=NEEDS_PYARROW))


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


def write_parquet(path: Path, columns: dict[str, list], features: dict | None = None, **options) -> Path:
    """Writes columns as the hub has them; clips are cells as `audio_cells` makes them.

    Args:
        features: what `datasets` would say of the columns.
        options: of pyarrow's writer.
    """
    import pyarrow
    from pyarrow import parquet

    kind = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    arrays = {
        name: pyarrow.array(cells, kind if any(isinstance(c, dict) and "bytes" in c for c in cells) else None)
        for name, cells in columns.items()
    }
    table = pyarrow.table(arrays)
    if features is not None:
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    parquet.write_table(table, path, **options)
    return path


def audio_cells(files: list[Path]) -> list[dict]:
    return [{"bytes": file.read_bytes(), "path": file.name} for file in files]


def put_into(kind: str, folder: Path, files: list[Path]) -> list[str]:
    """Puts audio files into a container `folder/shard.{kind}`; the paths under which its clips are read."""
    path = folder / f"shard.{kind}"
    if kind == "tar":
        return [f"{write_tar(path, files)}/{file.name}" for file in files]
    if kind == "zip":
        return write_zip(path, files)
    if kind == "h5":
        clips = {file.name: soundfile.read(file, dtype="int16")[0] for file in files}
        return [f"{write_h5(path, clips, RATE_HZ)}/{file.name}" for file in files]
    write_parquet(path, {"audio": audio_cells(files)}, row_group_size=2)
    return [f"{path}/audio[{row}]" for row in range(len(files))]


def write_corpus(folder: Path, n: int = 6, duration_s: float = 0.5) -> Manifest:
    """Writes different clips `clip_0.wav` ... and their manifest `train.tsv`."""
    (folder / "audio").mkdir(exist_ok=True)
    for i in range(n):
        soundfile.write(folder / "audio" / f"clip_{i}.wav", sound(duration_s, seed=i), RATE_HZ)
    write_manifest(
        folder / "train.tsv", folder / "audio", ((f"clip_{i}.wav", round(duration_s * RATE_HZ)) for i in range(n))
    )
    return Manifest.read(folder / "train.tsv")


def half_masks(generator: torch.Generator, num_masks: int = 3) -> torch.Tensor:
    """(M, N) with half of the patches hidden, a stand-in for the real sampler."""
    return torch.rand(num_masks, NUM_PATCHES, generator=generator).argsort(dim=1) < NUM_PATCHES // 2


def labels_of(manifest: Manifest, num_classes: int = 4) -> ClipLabels:
    """Clip i carries the classes i % C and (i + 1) % C."""
    n = len(manifest)
    classes = np.stack([np.arange(n) % num_classes, (np.arange(n) + 1) % num_classes], axis=1)
    return ClipLabels(np.arange(n + 1) * 2, classes.flatten().astype(np.int32), num_classes)


def break_clips(manifest: Manifest, *indices: int) -> None:
    for i in indices:
        with open(manifest.path(i), "wb") as file:
            file.write(b"RIFF not audio")
