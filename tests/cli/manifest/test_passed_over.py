"""What the preparation does not take is said: other formats, closed folders, labels on the wrong scale."""

import os
import unicodedata

import h5py
import numpy as np
import pytest
import soundfile

from tests.cli.manifest.reading import RATE_HZ, read_split


def report(folder) -> dict[tuple[str, str], str]:
    lines = (folder / "out" / "report.txt").read_text(encoding="utf-8").splitlines()
    return {tuple(line.split("\t")[:2]): line.split("\t")[2] for line in lines}


def test_folder__recordings_that_cannot_be_decoded_are_counted(audio, run, tmp_path):
    audio("a.wav")
    for name in ("b.m4a", "sub/c.M4A", "d.webm"):
        (tmp_path / "data" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "data" / name).write_bytes(bytes(9))
    code, text = run("folder", "{data}", "--out", "{out}")
    assert code == 0 and "2 undecodable" in text
    assert report(tmp_path) == {
        ("undecodable", "*.m4a"): "2 files of this kind are left out",
        ("undecodable", "*.webm"): "1 files of this kind are left out",
    }


def test_folder__nothing_but_other_formats_is_an_error_that_names_them(run, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "b.m4a").write_bytes(bytes(9))
    code, text = run("folder", "{data}", "--out", "{out}")
    assert code == 1 and "no audio file below this folder; *.m4a: 1 files of this kind are left out" in text


def test_audioset__recordings_that_cannot_be_decoded_are_counted(audio, run, tmp_path):
    audio("YAAAAAAAAAAA.wav")
    (tmp_path / "data" / "YBBBBBBBBBBB.m4a").write_bytes(bytes(9))
    rows = [f'{video}, 0.000, 10.000, "/m/09x0r"' for video in ("AAAAAAAAAAA", "BBBBBBBBBBB")]
    (tmp_path / "list.csv").write_text("\n".join(rows) + "\n")
    code, _ = run("audioset", "{data}", "--segments", f"train={tmp_path / 'list.csv'}", "--out", "{out}")
    assert code == 0
    assert {("undecodable", "*.m4a"), ("missing", "BBBBBBBBBBB")} <= set(report(tmp_path))


def test_folder__folders_that_cannot_be_entered_are_reported(audio, run, tmp_path, monkeypatch):
    audio("open/a.wav")
    audio("closed/deep/b.wav")
    scandir = os.scandir

    def refuse(path):
        if not isinstance(path, int) and os.path.basename(path) == "closed":
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    code, text = run("folder", "{data}", "--out", "{out}")
    assert code == 0 and "1 closed" in text
    assert report(tmp_path) == {("closed", "closed"): "the folder cannot be entered (Permission denied)"}


@pytest.mark.parametrize(("listed", "stored"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_folder__names_in_another_unicode_spelling_meet(audio, run, tmp_path, listed, stored):
    names = ("Käuzchen", "sub/été", "plain")
    for name in names:
        audio(unicodedata.normalize(stored, f"{name}.wav"))
    lines = ["file,label", *(f"{unicodedata.normalize(listed, name)}.wav,{name[0]}" for name in names)]
    (tmp_path / "labels.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    code, _ = run("folder", "{data}", "--labels", str(tmp_path / "labels.csv"), "--out", "{out}")
    assert code == 0
    found = {unicodedata.normalize("NFC", path): labels for path, labels in read_split(tmp_path / "out").items()}
    assert found == {f"{unicodedata.normalize('NFC', name)}.wav": (name[0],) for name in names}


def test_check__counts_what_is_not_on_the_scale_of_audio(audio, run, tmp_path):
    pcm = np.round(8000 * np.sin(np.arange(4000) / 9))
    audio("a.wav")
    soundfile.write(tmp_path / "data" / "float.wav", pcm, RATE_HZ, subtype="FLOAT")
    soundfile.write(tmp_path / "data" / "wide.wav", pcm.astype(np.int32), RATE_HZ, subtype="PCM_32")
    with h5py.File(tmp_path / "data" / "s.h5", "w") as file:
        file["floats"], file["wide"] = pcm.astype(np.float32), pcm.astype(np.int32)
    assert run("folder", "{data}", "--out", "{out}")[0] == 0
    code, text = run("check", "{out}")
    assert code == 1 and "problems: 2 amplitude" in text and "notes: 2 amplitude" in text
    for said in ("amplitude\tfloat.wav", "divide 16-bit values by 32768", "amplitude\ts.h5/wide", "in 32-bit integers"):
        assert said in text
