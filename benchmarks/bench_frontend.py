"""What a data-loading worker does for one clip: decode, log-mel, 16 masks; plain reference against the fast path.

    python -m benchmarks.bench_frontend [--seconds 10] [--sample-rate-hz 16000] [--channels 1] [--output TABLE.md]

One core. Reference and fast path take turns on the same generated file, so that a busy machine slows both; each time is
a median. Reference: `soundfile.read`, `torchaudio.functional.resample`, `torchaudio.compliance.kaldi.fbank`, masks by
loops. Resampling is torchaudio's in both (its rounding is part of the published features); only its kernel is cached.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import soundfile
import torch
import torchaudio

from ASDA.audio import FrontEnd, fit_length, load_waveform, log_mel, normalise
from ASDA.audio.fbank import reference_log_mel
from ASDA.masks.inverse_block import InverseBlockMask
from benchmarks import measuring
from benchmarks.reference import sample_masks

NUM_MASKS = 16
WAYS = ("reference", "fast")


def reference_waveform(path: Path, sample_rate_hz: int) -> torch.Tensor:
    samples, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    return torchaudio.functional.resample(torch.from_numpy(samples.mean(axis=1)), rate_hz, sample_rate_hz)


def reference_features(waveform: torch.Tensor, front_end: FrontEnd) -> torch.Tensor:
    frames = fit_length(reference_log_mel(waveform, front_end.sample_rate_hz), front_end.target_length_frames)
    return normalise(frames, front_end.norm_mean, front_end.norm_std)


def measure(path: Path, front_end: FrontEnd, repeats: int) -> list[tuple[str, float, float]]:
    """(part, reference ms, fast ms) of each part of a clip's way, and their total."""
    rate_hz = front_end.sample_rate_hz
    waveform = load_waveform(path, rate_hz)
    difference = (
        (reference_features(reference_waveform(path, rate_hz), front_end) - front_end.from_file(path)).abs().max()
    )
    if difference > 1e-4:
        raise RuntimeError(f"the two paths differ by {difference:.1e}, expected at most 1e-4: nothing to compare")
    sampler = InverseBlockMask(
        grid=(front_end.target_length_frames // 16, front_end.num_mel_bins // 16), num_masks=NUM_MASKS
    )
    generator = torch.Generator().manual_seed(0)
    parts = {
        "decode, mix, resample": (lambda: reference_waveform(path, rate_hz), lambda: load_waveform(path, rate_hz)),
        "log-mel": (lambda: reference_log_mel(waveform, rate_hz), lambda: log_mel(waveform, rate_hz)),
        f"{NUM_MASKS} masks": (lambda: sample_masks(sampler, generator), lambda: sampler(generator)),
        "file to features": (
            lambda: reference_features(reference_waveform(path, rate_hz), front_end),
            lambda: front_end.from_file(path),
        ),
        "file to features and masks": (
            lambda: (
                reference_features(reference_waveform(path, rate_hz), front_end),
                sample_masks(sampler, generator),
            ),
            lambda: (front_end.from_file(path), sampler(generator)),
        ),
    }
    turns = {(name, way): function for name, pair in parts.items() for way, function in zip(WAYS, pair, strict=True)}
    measured = measuring.take_turns(turns, torch.device("cpu"), repeats)
    return [(name, *(1000 * measured[name, way].seconds for way in WAYS)) for name in parts]


def parts_table(rows: list[tuple[str, float, float]]) -> str:
    cells = [(name, f"{old:.2f}", f"{new:.2f}", f"{old / new:.2f}") for name, old, new in rows]
    return measuring.table(["part", "reference ms", "fast ms", "ratio"], cells)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=10.0, help="length of the generated clip")
    parser.add_argument("--sample-rate-hz", type=int, default=16_000, help="its sample rate")
    parser.add_argument("--channels", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=50, help="measurements of each path")
    parser.add_argument("--output", type=Path, help="markdown file to write the table to as well")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.wav"
        shape = (round(args.seconds * args.sample_rate_hz), args.channels)
        soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, shape), args.sample_rate_hz, subtype="PCM_16")
        rows = measure(path, FrontEnd(), args.repeats)
    clip = f"{args.seconds:g} s, {args.sample_rate_hz} Hz, {args.channels} channel(s), 16-bit wav"
    text = f"Front end of one clip ({clip}), processor time.\n{measuring.environment()}\n\n{parts_table(rows)}"
    measuring.publish("bench_frontend", argv, text, args.output)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
