"""Reads damaged files of every format and container; a program of its own, as a damaged file may end its process.

python -m tests.data.mutated_files FOLDER FILES_PER_FORMAT

Writes FOLDER/report.json: for each format how many files were read and how many were refused, and the longest time of
one. Anything but samples or a one-line AudioError ends it with a traceback.
"""

from __future__ import annotations

import faulthandler
import io
import json
import logging
import random
import resource
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import soundfile

from ASDA.audio.io import AudioError, load_waveform, probe
from ASDA.data.containers import ClipReader
from ASDA.data.manifest import ManifestError
from ASDA.data.preparation.finding import find_clips

RATE_HZ = 16_000
SAMPLES = (0.1 * np.random.default_rng(0).standard_normal((2_000, 2))).astype(np.float32)
CODINGS = {
    "WAV": ("PCM_16", "PCM_U8", "FLOAT", "IMA_ADPCM", "MS_ADPCM", "GSM610", "G721_32"),
    "WAVEX": ("PCM_24",),
    "RF64": ("PCM_16",),
    "W64": ("PCM_16",),
    "AIFF": ("PCM_16", "IMA_ADPCM"),
    "AU": ("PCM_16", "G723_24"),
    "CAF": ("PCM_16", "ALAC_16"),
    "SVX": ("PCM_16",),
    "NIST": ("PCM_16",),
    "VOC": ("PCM_16",),
    "FLAC": ("PCM_16",),
    "OGG": ("VORBIS", "OPUS"),
    "MP3": ("MPEG_LAYER_III",),
}
PATTERNS = (b"\xff" * 8, bytes(8), b"\x7f" + b"\xff" * 7, b"\x80" + bytes(7))


def encoded(file_format: str, subtype: str) -> bytes:
    for channels in (2, 1):  # some codings have one channel only
        file = io.BytesIO()
        try:
            soundfile.write(file, SAMPLES[:, :channels], RATE_HZ, format=file_format, subtype=subtype)
        except soundfile.LibsndfileError:
            continue
        return file.getvalue()
    raise ValueError(f"{file_format} {subtype} cannot be written")


def mutated(data: bytes, others: list[bytes], draw: random.Random) -> bytes:
    """Cut, joined, with bytes inserted, removed or overwritten; most of it near the beginning, where headers are."""
    place = draw.randrange(len(data))
    kind = draw.randrange(8)
    if kind == 0:
        return data[:place]
    if kind == 1:
        return data + draw.choice(others)[draw.choice((0, 0, draw.randrange(64))) :]
    if kind == 2:
        return data[:place] + draw.randbytes(draw.randrange(1, 64)) + data[place:]
    if kind == 3:
        return data[:place] + data[place + draw.randrange(1, 64) :]
    changed = bytearray(data)
    reach = min(len(data), (64, 128, 512, len(data))[kind - 4])
    for _ in range(draw.randrange(1, 6)):
        at, width = draw.randrange(reach), draw.choice((1, 2, 4, 8))
        changed[at : at + width] = draw.choice((*PATTERNS, draw.randbytes(8)))[:width]
    return bytes(changed)


def audio_files() -> Iterator[tuple[str, bytes]]:
    for file_format, subtypes in CODINGS.items():
        for subtype in subtypes:
            yield f"{file_format} {subtype}", encoded(file_format, subtype)


def read_audio(path: Path, number: int) -> None:
    """By path or from memory, all of it or an excerpt."""
    stream = io.BytesIO(path.read_bytes()) if number % 2 else None
    excerpt = {"start_s": 0.05, "duration_s": 0.05} if number % 4 > 1 else {}
    probe(path, stream)
    samples = load_waveform(path, encoded=stream, **excerpt).numpy()
    assert samples.ndim == 1 and np.isfinite(samples).all()


def containers(folder: Path) -> Iterator[tuple[str, bytes]]:
    wav, flac = encoded("WAV", "PCM_16"), encoded("FLAC", "PCM_16")
    for name, form in (
        ("ustar.tar", tarfile.USTAR_FORMAT),
        ("gnu.tar", tarfile.GNU_FORMAT),
        ("pax.tar", tarfile.PAX_FORMAT),
    ):
        with tarfile.open(folder / name, "w", format=form) as archive:
            for member, content in (("./a.wav", wav), (f"{'long' * 30}/ä.flac", flac), ("b.wav", wav)):
                info = tarfile.TarInfo(member if form != tarfile.USTAR_FORMAT else f"{len(content)}.wav")
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    with zipfile.ZipFile(folder / "s.zip", "w") as archive:
        archive.writestr("a.wav", wav)
        archive.writestr("b/c.flac", flac)
    for path in sorted(folder.iterdir()):
        yield path.name, path.read_bytes()
        path.unlink()


def read_container(path: Path, number: int) -> None:
    """Finds its clips and reads each; with the index of an undamaged tar beside it now and then."""
    for index in path.parent.glob("*.index.npy"):
        if number % 3:
            index.unlink()
    reader = ClipReader()
    try:
        for clip in find_clips(path.parent):
            try:
                reader.load(f"{path.parent}/{clip.row}")
            except AudioError as error:
                assert "\n" not in str(error)
    except ManifestError as error:
        raise AudioError(path, str(error)) from error
    finally:
        reader.close()


def run(name: str, data: bytes, others: list[bytes], path: Path, count: int, read: Callable[[Path, int], None]) -> dict:
    draw, result = random.Random(name), {"read": 0, "refused": 0, "longest_s": 0.0}
    for number in range(count):
        path.write_bytes(mutated(data, others, draw))
        start = time.perf_counter()
        try:
            read(path, number)
            result["read"] += 1
        except AudioError as error:
            assert "\n" not in str(error) and len(error.reason) > 5, error
            result["refused"] += 1
        result["longest_s"] = max(result["longest_s"], time.perf_counter() - start)
    return result


def main(folder: Path, count: int) -> None:
    faulthandler.enable()
    logging.disable(logging.CRITICAL)
    files = dict(audio_files())
    results = {n: run(n, d, list(files.values()), folder / "clip", count, read_audio) for n, d in files.items()}
    (folder / "clip").unlink()
    held = dict(containers(folder))
    for name, data in held.items():
        inside = folder / f"of {name}"
        inside.mkdir()
        results[name] = run(name, data, list(held.values()), inside / f"s{Path(name).suffix}", count, read_container)
    peak_bytes = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    (folder / "report.json").write_text(json.dumps({"results": results, "peak_bytes": peak_bytes}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
