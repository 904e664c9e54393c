import os
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import soundfile

from tests.cli.manifest.reading import RATE_HZ, files_below

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def prepared(audio, run, tmp_path):
    for name in ("dog/a.wav", "dog/b.flac", "cat/c.wav"):
        audio(name, 3.0 if name.endswith("flac") else 0.2)
    assert run("folder", "{data}", "--out", "{out}", "--labels", "folders")[0] == 0
    return tmp_path / "out"


@pytest.mark.usefixtures("prepared")
def test_check__sound_manifests_pass(run):
    code, text = run("check", "{out}")
    assert code == 0 and "no problems" in text and "3 clips at 16000 Hz with 1 channel" in text


def _rewrite(file: Path, old: str, new: str) -> None:
    text = file.read_bytes().decode()
    assert old in text
    file.write_bytes(text.replace(old, new).encode())


def lose_a_clip(there: Path) -> None:
    _rewrite(there / "out" / "train.tsv", "dog/a.wav", "dog/gone.wav")
    _rewrite(there / "out" / "train.lbl", "a\t", "gone\t")


def truncate_flac(there: Path) -> None:
    os.truncate(there / "data" / "dog" / "b.flac", 20_000)


def lose_h5_key(there: Path) -> None:
    with h5py.File(there / "data" / "x.h5", "w") as handle:
        handle["there"] = np.zeros(10, dtype=np.int16)
    _append(there / "out" / "train.tsv", "x.h5/gone\t10\n")
    _append(there / "out" / "train.lbl", "gone\tdog\n")


def lose_a_label(there: Path) -> None:
    _rewrite(there / "out" / "train.lbl", "b\tdog\n", "")


def unknown_label(there: Path) -> None:
    _rewrite(there / "out" / "train.lbl", "b\tdog", "b\twolf")


def empty_manifest(there: Path) -> None:
    (there / "out" / "train.tsv").write_text(f"{there / 'data'}\n")


def duplicate_ids(there: Path) -> None:
    _append(there / "out" / "train.tsv", "dog/a.wav\t3200\n")
    _append(there / "out" / "train.lbl", "a\tdog\n")


def wrong_header(there: Path) -> None:
    _rewrite(there / "out" / "train.tsv", f"{there / 'data'}\n", "path\tframes\n")


FAULTS = {
    lose_a_clip: ["unreadable\tdog/gone.wav (train.tsv:3)\tno such file", "1 problems"],
    truncate_flac: ["unreadable\tdog/b.flac (train.tsv:4)\t"],
    lose_h5_key: ["unreadable\tx.h5/gone (train.tsv:5)\tthe h5 file holds no data set 'gone'"],
    lose_a_label: ['clip "dog/b.flac" (train.tsv:4) has no line in', "train.lbl"],
    unknown_label: ['label "wolf" (train.lbl:3) is not in', "label_descriptors.csv"],
    empty_manifest: ["train.tsv: the manifest lists no clip"],
    duplicate_ids: ["repeated\tdog/a.wav (train.tsv:5)\talready in line 3", 'id "a" stands twice in'],
    wrong_header: ["train.tsv:1: the first line must be the root folder"],
}


def _append(file: Path, text: str) -> None:
    with file.open("a") as handle:
        handle.write(text)


@pytest.mark.parametrize(("inject", "messages"), FAULTS.items(), ids=[inject.__name__ for inject in FAULTS])
def test_check__names_what_a_run_would_trip_on(prepared, run, tmp_path, inject, messages):
    inject(tmp_path)
    before = {name: (prepared / name).read_bytes() for name in files_below(prepared)}
    code, text = run("check", "{out}/train.tsv")
    assert code == 1
    for message in messages:
        assert message in text
    assert {name: (prepared / name).read_bytes() for name in files_below(prepared)} == before


@pytest.mark.parametrize("disguise", [lambda t: t.replace("\n", "\r\n"), lambda t: "\ufeff" + t], ids=["crlf", "bom"])
def test_check__line_ends_and_byte_order_marks_are_no_problem(prepared, run, disguise):
    for name in ("train.tsv", "train.lbl", "label_descriptors.csv"):
        text = (prepared / name).read_bytes().decode()
        (prepared / name).write_bytes(disguise(text).encode())
    code, text = run("check", "{out}/train.tsv")
    assert code == 0 and "no problems" in text


@pytest.mark.usefixtures("prepared")
def test_check__notes_do_not_fail(run, tmp_path):
    soundfile.write(tmp_path / "data" / "dog" / "a.wav", np.zeros(200), RATE_HZ)
    code, text = run("check", "{out}/train.tsv")
    assert code == 0
    assert "silent\tdog/a.wav (train.tsv:3)" in text and "short\tdog/a.wav" in text
    assert "samples\tdog/a.wav (train.tsv:3)\tthe manifest says 3200 samples, the clip has 200" in text


def test_check__names_that_are_no_text_do_not_stop_it(audio, run, tmp_path):
    os.rename(audio("x/whole.wav"), os.fsencode(tmp_path / "data" / "x") + b"/caf\xe9.wav")
    assert run("folder", "{data}", "--out", "{out}")[0] == 0
    assert run("check", "{out}")[0] == 0
    os.remove(os.fsencode(tmp_path / "data" / "x") + b"/caf\xe9.wav")
    program = [sys.executable, "-m", "ASDA.cli.manifest", "check", str(tmp_path / "out")]
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8:strict"}
    process = subprocess.run(program, env=environment, cwd=ROOT, capture_output=True)
    assert process.returncode == 1 and b"x/caf\\udce9.wav (train.tsv:2)\tno such file" in process.stdout


def test_check__names_clips_that_are_identical_in_content(audio, run, tmp_path):
    samples, _ = soundfile.read(audio("train/a.wav"))
    soundfile.write(tmp_path / "data" / "train" / "again.flac", samples, RATE_HZ)  # lossless: the same samples
    audio("train/b.wav")
    audio("eval/c.wav")
    assert run("folder", "{data}", "--out", "{out}", "--split-folders")[0] == 0
    code, text = run("check", "{out}")
    assert code == 0 and "no problems" in text
    again = "again.flac (train.tsv:3)\tthe same samples as train/a.wav (train.tsv:2)"
    assert f"identical\ttrain/{again}" in text and text.count("the same samples") == 1
    shutil.copy(tmp_path / "data" / "train" / "b.wav", tmp_path / "data" / "eval" / "leak.wav")
    assert run("folder", "{data}", "--out", "{out}", "--split-folders", "--overwrite")[0] == 0
    code, text = run("check", "{out}")
    assert code == 1 and "1 problems" in text
    (line,) = (line for line in text.splitlines() if "in another split" in line)
    assert all(clip in line for clip in ("eval/leak.wav (eval.tsv:3)", "train/b.wav (train.tsv:4)"))


def test_check__silence_and_the_clips_of_other_folds_are_not_called_identical(audio, run, tmp_path):
    for name in ("x/a.wav", "x/b.wav", "y/c.wav", "y/d.wav"):
        audio(name)
    for name in ("x/a.wav", "y/c.wav"):
        soundfile.write(tmp_path / "data" / name, np.zeros(4_000), RATE_HZ)
    assert run("folder", "{data}", "--out", "{out}", "--labels", "folders", "--folds", "2")[0] == 0
    code, text = run("check", "{out}")
    assert code == 0 and "silent" in text and "identical" not in text


def test_check__prints_how_long_the_clips_are(audio, run):
    for number in range(1, 11):
        audio(f"{number}.wav", number / 10)
    assert run("folder", "{data}", "--out", "{out}")[0] == 0
    expected = "length: min 0.10 s, 25 % 0.30 s, median 0.50 s, 75 % 0.80 s, 90 % 0.90 s, max 1.00 s"
    for program in ("check", "stats"):
        assert expected in run(program, "{out}/train.tsv", "--workers", "1")[1]
