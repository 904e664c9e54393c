"""Whatever is called audio: each file either works or is reported, and none of them stops a run."""

import os
import struct
from pathlib import Path

import h5py
import numpy as np
import pytest
import soundfile
import torch

from ASDA.cli.extract import main as extract
from ASDA.cli.infer import main as infer
from tests.cli.conftest import json_lines
from tests.published_files import published_finetuned

RATE_HZ = 16_000
NOISE = 0.1 * np.random.default_rng(0).standard_normal(2 * RATE_HZ)


def container(path):
    return "FLAC" if path.suffix == ".flac" else "WAV"


def wav(samples, rate_hz=RATE_HZ, subtype="PCM_16"):
    return lambda path: soundfile.write(os.fsencode(path), samples, rate_hz, format=container(path), subtype=subtype)


def other(format_, subtype=None, rate_hz=RATE_HZ):
    return lambda path: soundfile.write(path, NOISE, rate_hz, format=format_, subtype=subtype)


def content(data):
    return lambda path: path.write_bytes(data)


def cut(writer, share):
    def write(path):
        writer(path)
        path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])

    return write


def joined(writer):
    def write(path):
        writer(path)
        path.write_bytes(2 * path.read_bytes())

    return write


def spoilt(value):
    samples = NOISE.copy()
    samples[1000] = value
    return wav(samples, subtype="FLOAT")


def header_that_lies(path):
    """A wav whose data chunk claims 4 GB."""
    wav(NOISE)(path)
    data = bytearray(path.read_bytes())
    data[40:44] = struct.pack("<I", 0x7FFFFF00 - 0x10000)
    path.write_bytes(data)


WORKS = {
    "1 sample.wav": wav(NOISE[:1]),
    "399 samples.wav": wav(NOISE[:399]),
    "400 samples.wav": wav(NOISE[:400]),
    "all zeros.wav": wav(np.zeros(RATE_HZ)),
    "full scale square.wav": wav(np.sign(NOISE)),
    "constant.wav": wav(np.full(RATE_HZ, 0.5)),
    "8 channels.wav": wav(np.stack([NOISE] * 8, axis=1)),
    "8 kHz.wav": wav(NOISE, 8_000),
    "11025 Hz.wav": wav(NOISE, 11_025),
    "11127 Hz.wav": wav(NOISE[:8_000], 11_127),
    "44.1 kHz stereo.flac": wav(np.stack([NOISE, -NOISE], axis=1), 44_100),
    "96 kHz.wav": wav(NOISE, 96_000),
    "192 kHz 24 bit.wav": wav(NOISE, 192_000, "PCM_24"),
    "8 bit.wav": wav(NOISE, subtype="PCM_U8"),
    "32 bit.wav": wav(NOISE, subtype="PCM_32"),
    "double.wav": wav(NOISE, subtype="DOUBLE"),
    "mu law.wav": wav(NOISE, 8_000, "ULAW"),
    "loud floats.wav": wav(100.0 * NOISE, subtype="FLOAT"),
    "vorbis.ogg": other("OGG", "VORBIS"),
    "opus.opus": other("OGG", "OPUS", 48_000),
    "layer 3.mp3": other("MP3"),
    "big endian.aiff": other("AIFF"),
    "au.au": other("AU"),
    "also au.snd": other("AU"),
    "sphere.sph": other("NIST", "PCM_16"),
    "creative.voc": other("VOC", "PCM_16"),
    "core audio.caf": other("CAF", "PCM_16"),
    "wave 64.w64": other("W64", "PCM_16"),
    "wav named.flac": lambda path: soundfile.write(path, NOISE, RATE_HZ, format="WAV"),
    "UPPER CASE.WAV": wav(NOISE),
    "ünïcode 音声 \U0001f3b5.wav": wav(NOISE),
    "  spaces  and 'quotes' \"both\".wav": wav(NOISE),
    "-starts-with-a-dash.wav": wav(NOISE),
    "a.b.c.wav": wav(NOISE),
    "new\nline.wav": wav(NOISE),
    os.fsdecode(b"not utf-8 \xff\xfe.wav"): wav(NOISE),
    "$(echo hidden) %s {x}.wav": wav(NOISE),
}
REPORTED = {
    "0 samples.wav": wav(np.zeros(0)),
    "0 bytes.wav": content(b""),
    "text.wav": content(b"This is not audio.\n" * 50),
    "random bytes.wav": content(np.random.default_rng(1).bytes(5_000)),
    "random bytes.mp3": content(np.random.default_rng(2).bytes(5_000)),
    "header only.wav": content(b"RIFF\x24\x00\x00\x00WAVEfmt "),
    "truncated.wav": cut(wav(NOISE), 0.5),
    "truncated.sph": cut(other("NIST", "PCM_16"), 0.5),
    "joined.ogg": joined(other("OGG", "VORBIS")),
    "joined.opus": joined(other("OGG", "OPUS", 48_000)),
    "joined.mp3": joined(other("MP3")),
    "joined.flac": joined(wav(NOISE)),
    "joined.au": joined(other("AU")),
    "text.au": content(b"This is not audio.\n" * 50),
    "floats of 16 bits.wav": wav(32768 * NOISE, subtype="FLOAT"),
    "truncated.flac": cut(wav(NOISE), 0.5),
    "truncated in the header.flac": cut(wav(NOISE), 0.001),
    "lies about its size.wav": header_that_lies,
    "nan.wav": spoilt(np.nan),
    "plus infinity.wav": spoilt(np.inf),
    "minus infinity.wav": spoilt(-np.inf),
    "garbage of 1e30.wav": spoilt(1e30),
    "json.flac": content(b'{"a": 1}'),
    "text with a\ttab and a\nnew line.wav": content(b"text"),
    os.fsdecode(b"text, not utf-8 \xff.wav"): content(b"text"),
    "n" * 251 + ".wav": content(b"text"),
    "broken link.wav": lambda path: path.symlink_to(path.with_name("nowhere.wav")),
    "endless link.wav": lambda path: path.symlink_to(path),
}


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    for name, write in {**WORKS, **REPORTED}.items():
        write(folder / name)
    (folder / "folder.wav").mkdir()
    return folder


def reported_files(path):
    """The first column of errors.tsv."""
    lines = path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    return {line.split("\t")[0].replace("\\t", "\t").replace("\\n", "\n") for line in lines}


@pytest.mark.parametrize("padding", ["constant", "own", "mask"])
def test_extract__every_file_works_or_is_reported(tmp_path, folder, models, run, padding):
    out = tmp_path / "out"
    # Every window, so that all of a file is read: what follows the one window of --long crop is not looked at.
    flags = ["--checkpoint", models.pretrained, "--target_length", 64, "--padding", padding, "--batch_size", 7]
    flags += ["--long", "windows"]
    result = run(extract, folder, "--output", out, *flags, "--granularity", "frame")
    assert result.code == 2
    assert reported_files(out / "errors.tsv") == {str(folder / name) for name in REPORTED}
    found = {path.name: np.load(path) for path in out.rglob("*.npy")}
    assert len(found) == len(WORKS)
    for name, features in found.items():
        assert features.ndim == 2 and features.shape[1] == 32 and np.isfinite(features).all(), name


def test_extract__every_file_has_a_place_in_an_h5(tmp_path, folder, models, run):
    flags = ["--checkpoint", models.pretrained, "--target_length", 64, "--granularity", "utterance"]
    flags += ["--long", "windows"]
    assert run(extract, folder, "--output", tmp_path / "out.h5", *flags).code == 2
    assert reported_files(tmp_path / "out.errors.tsv") == {str(folder / name) for name in REPORTED}
    with h5py.File(tmp_path / "out.h5") as file:
        assert len(file["features"]) == len(file["times_s"]) == len(WORKS)
        assert all(np.isfinite(features[:]).all() for features in file["features"].values())
    again = run(extract, folder, "--output", tmp_path / "out.h5", *flags, "--resume")
    assert f"{len(WORKS)} of {len(WORKS) + len(REPORTED)} clips are done already" in again.err


def test_infer__every_file_works_or_is_reported(tmp_path, folder, models, run):
    flags = ["--checkpoint", models.finetuned, "--json", "--errors", tmp_path / "errors.tsv", "--segments"]
    result = run(infer, folder, *flags)
    assert result.code == 2
    assert reported_files(tmp_path / "errors.tsv") == {str(folder / name) for name in REPORTED}
    records = json_lines(result.out)
    assert {record["path"] for record in records} == {str(folder / name) for name in WORKS}
    for record in records:
        assert all(0 <= prediction["score"] <= 1 for prediction in record["predictions"])


@pytest.mark.parametrize("name", REPORTED)
def test_extract__a_single_bad_file_is_named_with_its_reason(tmp_path, models, run, name):
    REPORTED[name](tmp_path / name)
    target = tmp_path / "features.npy"
    flags = ["--source_file", tmp_path / name, "--target_file", target, "--checkpoint", models.pretrained]
    result = run(extract, *flags)
    assert result.code == 2 and not target.exists()
    path, _, reason = result.err.partition(".wav: " if name.endswith(".wav") else f"{Path(name).suffix}: ")
    assert path.startswith(str(tmp_path)) and len(reason.splitlines()) == 1 and len(reason) > 10


@pytest.mark.long
def test_programs__half_an_hour_of_audio(tmp_path, run):
    """All of it is used, window after window; the default uses the first window and says so."""
    rng = np.random.default_rng(0)
    with soundfile.SoundFile(tmp_path / "long.flac", "w", 22_050, 1) as file:
        for _ in range(30):
            file.write(0.1 * rng.standard_normal(60 * 22_050))
    torch.save(published_finetuned(num_classes=3), tmp_path / "model.pt")
    flags = ["--checkpoint", tmp_path / "model.pt"]
    single = ["--source_file", tmp_path / "long.flac", "--target_file"]
    result = run(
        extract, *single, tmp_path / "f.npy", *flags, "--granularity", "frame", "--timestamps", "--long", "windows"
    )
    assert result.code == 0 and "cut" not in result.err
    times = np.load(tmp_path / "f.times.npy")
    assert np.load(tmp_path / "f.npy").shape == (11_250 * 8, 32)
    assert times[-1, 1] == pytest.approx(1800.0, abs=0.2)
    result = run(extract, *single, tmp_path / "c.npy", *flags, "--granularity", "frame")
    assert np.load(tmp_path / "c.npy").shape == (64 * 8, 32) and "were cut" in result.err
    record = json_lines(run(infer, tmp_path / "long.flac", *flags, "--segments", "--threshold", 0.0, "--json").out)[0]
    assert record["duration_s"] == pytest.approx(1800.0, abs=0.1)
    assert all(event["end_s"] == pytest.approx(1800.0, abs=0.1) for event in record["segments"])
