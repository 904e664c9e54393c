"""Generates the clips that this folder's manifests list: `python data_manifest/manifest_as20k/make_clips.py`.

Every clip is a function of its name and labels alone. Some lie in containers, to show how a manifest names them.
"""

from __future__ import annotations

import argparse
import io
import sys
import tarfile
import zlib
from collections import defaultdict
from pathlib import Path

import h5py
import numpy as np
import soundfile

from ASDA.demo.sounds import SOUND_EVENTS

HERE = Path(__file__).resolve().parent
LOUDNESS = 0.3
EVENTS_OF_LABEL = {  # AudioSet's class -> the synthetic sound that stands for it
    "/m/015lz1": "/demo/voice",
    "/m/015p6": "/demo/bird_trill",
    "/m/026t6": "/demo/drum",
    "/m/02mk9": "/demo/engine",
    "/m/0395lw": "/demo/bell",
    "/m/03kmc9": "/demo/siren",
    "/m/07pjwq1": "/demo/buzz",
    "/m/07pp_mv": "/demo/alarm",
    "/m/0fx80y": "/demo/plucked_string",
}
RATES_HZ = {441_000: 44_100, 141_120: 44_100, 320_000: 32_000}  # number of samples in the manifest -> rate; else 16 kHz


def make_clips(out: Path) -> int:
    """Writes every clip of both splits below a folder; returns how many."""
    containers: dict[str, dict[str, tuple[np.ndarray, int]]] = defaultdict(dict)
    count = 0
    for split in ("train", "eval"):
        rows = (HERE / f"{split}.tsv").read_text().splitlines()[1:]
        lines = (HERE / f"{split}.lbl").read_text().splitlines()
        for row, line in zip(rows, lines, strict=True):
            path, num_samples = row.split("\t")
            clip = render(line.split("\t")[1].split(","), int(num_samples), zlib.crc32(path.encode()))
            folder, name = path.rsplit("/", 1)
            if folder.endswith((".h5", ".tar")):
                containers[folder][name] = clip
            else:
                (out / folder).mkdir(parents=True, exist_ok=True)
                soundfile.write(out / path, *clip)
            count += 1
    for path, clips in containers.items():
        (write_h5 if path.endswith(".h5") else write_tar)(out / path, clips)
    return count


def render(labels: list[str], num_samples: int, seed: int) -> tuple[np.ndarray, int]:
    """(W, channels) with each label's sound once a second, and the rate in Hz; 44.1 kHz clips are stereo."""
    rng = np.random.default_rng(seed)
    rate_hz = RATES_HZ.get(num_samples, 16_000)
    synthesise = {event.mid: event.synthesise for event in SOUND_EVENTS}
    mixture = rng.normal(scale=0.003, size=num_samples)
    for label in labels:
        for start in range(0, num_samples, rate_hz):
            event = synthesise[EVENTS_OF_LABEL[label]](rng, rate_hz)[: num_samples - start]
            mixture[start : start + len(event)] += LOUDNESS * event
    mixture /= max(1.0, np.abs(mixture).max() / 0.99)
    return (np.stack([mixture, 0.5 * mixture], axis=1) if rate_hz == 44_100 else mixture[:, None]), rate_hz


def write_h5(path: Path, clips: dict[str, tuple[np.ndarray, int]]) -> None:
    """16-bit samples, with the rate as an attribute."""
    with h5py.File(path, "w") as file:
        for name, (samples, rate_hz) in clips.items():
            data = file.create_dataset(name, data=np.round(samples[:, 0] * 32767).astype(np.int16))
            data.attrs["sample_rate"] = rate_hz


def write_tar(path: Path, clips: dict[str, tuple[np.ndarray, int]]) -> None:
    """Encoded clips in an uncompressed tar."""
    with tarfile.open(path, "w") as archive:
        for name, (samples, rate_hz) in clips.items():
            encoded = io.BytesIO()
            soundfile.write(encoded, samples, rate_hz, format=Path(name).suffix[1:])
            member = tarfile.TarInfo(name)
            member.size = encoded.getbuffer().nbytes
            encoded.seek(0)
            archive.addfile(member, encoded)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Generate the clips of the example manifests.")
    parser.add_argument("--out", type=Path, default=HERE / "clips", help="folder (default: where the manifests look)")
    args = parser.parse_args(argv)
    print(f"{make_clips(args.out)} clips in {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
