"""What asda-manifest writes, its readers read as it was meant, whatever files, folders and classes are called."""

import os
import random

import pytest

from ASDA.data.labels import LabelTable, read_clip_labels
from ASDA.data.manifest import Manifest, ManifestError, write_manifest

PIECES = list(' "#,;\\=\ufeffé音\x0b\x85\u2028aB0.-%') + ["  ", "'"]
BAD = ["\t", "\n", "\r"]
NOT_UTF8 = os.fsdecode(b"\xe9\xff")


def odd_names(number, seed, pieces):
    draw = random.Random(seed)
    names = set()
    while len(names) < number:
        name = "".join(draw.choice(pieces) for _ in range(draw.randint(1, 6)))
        if name.strip(".") and not name.startswith("."):
            names.add(name)
    return sorted(names)


def read(out, split="train"):
    """Relative path -> display names of its classes."""
    manifest = Manifest.read(out / f"{split}.tsv")
    table = LabelTable.read(out / "label_descriptors.csv")
    labels = read_clip_labels(out / f"{split}.lbl", manifest, table)
    paths = [manifest.relative_path(row) for row in range(len(manifest))]
    assert all(os.path.exists(manifest.path(row)) for row in range(len(manifest)))
    return {path: [table.names[target] for target in labels.targets(row)] for row, path in enumerate(paths)}


@pytest.mark.parametrize("seed", range(4))
def test_folder__odd_names_of_files_and_classes_come_back(audio, run, tmp_path, seed):
    pieces = [*PIECES, NOT_UTF8]
    classes = odd_names(12, seed, pieces)
    shown = {}
    for name in classes:  # two that differ in spaces only are refused, see below
        shown.setdefault(name.encode("utf-8", "backslashreplace").decode().strip(), name)
    expected = {}
    for text, folder in shown.items():
        for clip in odd_names(3, os.fsencode(folder), pieces):
            audio(f"{folder}/{clip}.wav")
            expected[f"{folder}/{clip}.wav"] = [text or "class_0"]  # of a folder whose name is blank
    code, text = run("folder", "{data}", "--out", "{out}", "--labels", "folders")
    assert code == 0, text
    assert read(tmp_path / "out") == expected
    code, text = run("check", "{out}")
    assert code == 0, text


@pytest.mark.parametrize("bad", BAD)
def test_folder__names_that_a_manifest_cannot_hold_are_left_out_and_reported(audio, run, tmp_path, bad):
    for name in ("x/good.wav", f"x/a{bad}b.wav", f"y{bad}z/c.wav", "y/" + "n" * 251 + ".wav"):
        audio(name)
    code, text = run("folder", "{data}", "--out", "{out}", "--labels", "folders")
    assert code == 0 and "2 unwritable" in text
    assert set(read(tmp_path / "out")) == {"x/good.wav", "y/" + "n" * 251 + ".wav"}
    report = (tmp_path / "out" / "report.txt").read_text().splitlines()
    assert len(report) == 2 and all(len(line.split("\t")) == 3 for line in report)


def test_folder__a_root_that_a_manifest_cannot_hold_is_refused(audio, run, tmp_path):
    audio("a\tb/x/clip.wav")
    code, text = run("folder", tmp_path / "data" / "a\tb", "--out", "{out}")
    assert code == 1 and "holds a tab" in text and not (tmp_path / "out").exists()


def test_folder__classes_that_differ_in_spaces_only_are_refused(audio, run):
    audio("dog/a.wav")
    audio(" dog/b.wav")
    code, text = run("folder", "{data}", "--out", "{out}", "--labels", "folders")
    assert code == 1 and "' dog' and 'dog' would have one name" in text


def test_folder__labels_that_would_be_read_as_another_are_refused(audio, run, tmp_path):
    """Two classes x and y, joined by a comma as label files do, spell the third."""
    for name in ("a.wav", "b.wav"):
        audio(name)
    (tmp_path / "labels.csv").write_text('file,label\na.wav,x;y\nb.wav,"x,y"\n')
    code, text = run("folder", "{data}", "--out", "{out}", "--labels", tmp_path / "labels.csv")
    assert code == 1 and "would be read as" in text and not (tmp_path / "out").exists()


@pytest.mark.parametrize("taken", ["class_0", "class_0_"])
def test_folder__a_class_that_is_called_like_a_made_up_one(audio, run, tmp_path, taken):
    for folder in ("a,b", "class_0", taken):
        audio(f"{folder}/{folder}.wav")
    assert run("folder", "{data}", "--out", "{out}", "--labels", "folders")[0] == 0
    assert read(tmp_path / "out") == {f"{name}/{name}.wav": [name] for name in {"a,b", "class_0", taken}}


@pytest.mark.parametrize(("path", "samples"), [("", 1), (" ", 1), ("a.wav", -1), ("a.wav", 10**15), ("a\rb.wav", 1)])
def test_write_manifest__refuses_what_cannot_be_read(tmp_path, path, samples):
    with pytest.raises(ManifestError):
        write_manifest(tmp_path / "m.tsv", tmp_path, [(path, samples)])
    assert list(tmp_path.iterdir()) == []


def test_folder__replaces_manifests_and_nothing_else(audio, run, tmp_path):
    audio("x/a.wav")
    audio("y/b.wav")
    out = tmp_path / "out"
    out.mkdir()
    (out / "results.tsv").write_text("clip\tscore\na\t0.5\n")
    assert run("folder", "{data}", "--out", "{out}", "--labels", "folders")[0] == 0
    assert run("folder", "{data}", "--out", "{out}", "--labels", "folders", "--split", "eval=1", "--overwrite")[0] == 0
    assert (out / "results.tsv").read_text() == "clip\tscore\na\t0.5\n" and not (out / "train.tsv").exists()
    (out / "train.tsv").write_text("clip\tscore\na\t0.5\n")
    code, text = run("folder", "{data}", "--out", "{out}", "--labels", "folders", "--overwrite")
    assert code == 1 and "train.tsv: is no manifest" in text
    assert (out / "train.tsv").read_text() == "clip\tscore\na\t0.5\n" and (out / "eval.tsv").exists()


@pytest.mark.parametrize("name", ["label_descriptors.csv", "report.txt", "train.lbl"])
def test_folder__without_overwrite_nothing_is_replaced(audio, run, tmp_path, name):
    audio("x/a.wav")
    audio("y/b.wav")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text("mine\n")
    code, text = run("folder", "{data}", "--out", "{out}", "--labels", "folders")
    assert code == 1 and f"{name}: is there already" in text
    assert os.listdir(tmp_path / "out") == [name] and (tmp_path / "out" / name).read_text() == "mine\n"
