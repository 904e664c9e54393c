from collections import Counter

import pytest

from ASDA.data.labels import LabelTable
from tests.cli.manifest.reading import files_below, read_split


def test_folder__without_labels(audio, run, tmp_path):
    for name in ("x/a b.wav", "c.flac", "d.ogg"):
        audio(name)
    code, text = run("folder", "{data}", "--out", "{out}")
    assert code == 0 and "train: 3 clips" in text
    assert read_split(tmp_path / "out") == {"c.flac": (), "d.ogg": (), "x/a b.wav": ()}
    assert files_below(tmp_path / "out") == ["report.txt", "train.tsv"]


def test_folder__labels_from_sub_folders_and_shares(audio, run, tmp_path):
    for label in ("dog", "rain, light"):
        for i in range(10):
            audio(f"{label}/{i}.wav")
    code, text = run("folder", "{data}", "--out", "{out}", "--labels", "folders", "--split", "train=0.8", "eval=0.2")
    assert code == 0 and "2 classes" in text
    train, held_out = (read_split(tmp_path / "out", split) for split in ("train", "eval"))
    assert len(train) == 16 and len(held_out) == 4 and not set(train) & set(held_out)
    assert all(labels == (path.split("/")[0],) for path, labels in (train | held_out).items())
    assert Counter(held_out.values()) == {("dog",): 2, ("rain, light",): 2}


def test_folder__same_division_for_the_same_seed(audio, run, tmp_path):
    for i in range(12):
        audio(f"{i}.wav")
    divisions = []
    for number, seed in enumerate((1, 1, 2)):
        assert run("folder", "{data}", "--out", f"{{out}}/{number}", "--seed", seed, "--split", "a=1", "b=1")[0] == 0
        divisions.append(set(read_split(tmp_path / "out" / str(number), "a")))
    assert divisions[0] == divisions[1] != divisions[2]


def test_folder__labels_and_splits_from_a_csv_file(audio, run, tmp_path):
    for name in ("x/a.wav", "x/b.wav", "y/c.wav", "y/unlisted.wav"):
        audio(name)
    (tmp_path / "labels.csv").write_text(
        "file,label,part\nx/a.wav,Dog;Rain,train\nb,Dog,eval\n./y/c,Rain,train\nz/absent.wav,Dog,train\n"
    )
    code, text = run(
        "folder", "{data}", "--out", "{out}", "--labels", tmp_path / "labels.csv", "--split-column", "part"
    )
    assert code == 0 and "1 missing" in text and "1 unlabelled" in text
    assert read_split(tmp_path / "out") == {"x/a.wav": ("Dog", "Rain"), "y/c.wav": ("Rain",)}
    assert read_split(tmp_path / "out", "eval") == {"x/b.wav": ("Dog",)}
    report = (tmp_path / "out" / "report.txt").read_text()
    assert "missing\tz/absent.wav\t" in report and "unlabelled\ty/unlisted.wav\t" in report


def test_folder__splits_from_folders_and_a_given_table(audio, run, tmp_path):
    for name in ("train/dog/a.wav", "eval/cat/b.wav"):
        audio(name)
    (tmp_path / "table.csv").write_text("0,/m/cat,cat\n1,/m/cow,cow\n2,/m/dog,dog\n")
    code, _ = run(
        "folder", "{data}", "--out", "{out}", "--labels", "folders", "--split-folders",
        "--label-table", tmp_path / "table.csv",
    )  # fmt: skip
    assert code == 0
    assert read_split(tmp_path / "out") == {"train/dog/a.wav": ("dog",)}
    assert read_split(tmp_path / "out", "eval") == {"eval/cat/b.wav": ("cat",)}
    assert LabelTable.read(tmp_path / "out" / "label_descriptors.csv").mids == ["/m/cat", "/m/cow", "/m/dog"]


def test_folder__folds(audio, run, tmp_path):
    for label in ("a", "b"):
        for i in range(6):
            audio(f"{label}/{i}.wav")
    assert run("folder", "{data}", "--out", "{out}", "--labels", "folders", "--folds", "3")[0] == 0
    evaluated = [path for k in (1, 2, 3) for path in read_split(tmp_path / "out" / f"fold{k}", "eval")]
    assert len(evaluated) == len(set(evaluated)) == 12
    assert len(read_split(tmp_path / "out" / "fold2", "train")) == 8


def test_folder__clips_of_the_same_name_keep_their_own_labels(audio, run, tmp_path):
    for name in ("yes/1.wav", "no/1.wav", "no/2.wav"):
        audio(name)
    assert run("folder", "{data}", "--out", "{out}", "--labels", "folders")[0] == 0
    assert read_split(tmp_path / "out") == {"no/1.wav": ("no",), "no/2.wav": ("no",), "yes/1.wav": ("yes",)}
    lines = (tmp_path / "out" / "train.lbl").read_text().splitlines()
    assert lines == ["no/1.wav\tno", "2\tno", "yes/1.wav\tyes"]


def test_folder__unreadable_empty_and_short_clips_are_reported(audio, run, tmp_path):
    audio("good.wav")
    audio("short.wav", 0.05)
    audio("empty.wav", 0.0)
    (tmp_path / "data" / "bad.wav").write_bytes(b"RIFF nothing")
    code, text = run("folder", "{data}", "--out", "{out}")
    assert code == 0 and "train: 2 clips" in text and "2 unreadable" in text and "1 short" in text
    assert set(read_split(tmp_path / "out")) == {"good.wav", "short.wav"}
    report = (tmp_path / "out" / "report.txt").read_text().splitlines()
    assert [line.split("\t")[:2] for line in report] == [
        ["unreadable", "bad.wav"], ["unreadable", "empty.wav"], ["short", "short.wav"]
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("files", "args", "message"),
    [
        ([], [], "no audio file below this folder"),
        (["a.wav"], ["--labels", "folders"], "none of the 1 clips has a label"),
        (["x/a\tb.wav"], [], r"'x/a\\tb.wav': the name holds a tab"),
        (["x/a.wav"], ["--split", "train=0"], "share of split 'train' must be above 0"),
        (["x/a.wav"], ["--split", "train=1", "--folds", "2"], "choose one way to split"),
        (["x/a.wav"], ["--split-column", "part"], "a split column needs a csv file"),
        (["x/a.wav"], ["--labels", "absent.csv"], "absent.csv: no such file"),
        (["x/a.wav"], ["--split-folders", "--labels", "folders"], "none of the 1 clips has a label"),
        (["a.wav"], ["--split-folders"], "a.wav: lies directly in the root"),
        (["x/a.wav"], ["--split", "train=1", "eval=0.0001"], "split 'eval' has no usable clip"),
    ],
)
def test_folder__errors_write_nothing(audio, run, tmp_path, files, args, message):
    (tmp_path / "data").mkdir()
    for name in files:
        audio(name)
    code, text = run("folder", "{data}", "--out", "{out}", *args)
    assert code == 1 and message.replace("\\\\", "\\") in text
    assert not (tmp_path / "out").exists() and [p.name for p in tmp_path.iterdir()] == ["data"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,label\nx/a.wav,Dog\n", "labels.csv:1: the heading lacks file; it reads 'name,label'"),
        ("file,label\nx/a.wav\n", "labels.csv:2: expected 2 fields, got fewer"),
        ("file,label\nx/a.wav,\n", "labels.csv:2: 'x/a.wav' has no label"),
        ("file,label\nx/a.wav,Dog\nx/a,Cat\n", "labels.csv:3: 'x/a' already stands in"),
        ("file,label\na,Dog\n", "labels.csv:2: 'a' fits 'x/a.wav' and 'y/a.wav'; give more of the path"),
    ],
)
def test_folder__csv_errors_name_the_line(audio, run, tmp_path, text, message):
    audio("x/a.wav")
    audio("y/a.wav")
    (tmp_path / "labels.csv").write_text(text)
    code, printed = run("folder", "{data}", "--out", "{out}", "--labels", tmp_path / "labels.csv")
    assert code == 1 and message in printed
    assert not (tmp_path / "out").exists()


def test_folder__label_outside_the_given_table_is_named(audio, run, tmp_path):
    audio("zebra/a.wav")
    (tmp_path / "table.csv").write_text("0,cat,cat\n")
    code, text = run(
        "folder", "{data}", "--out", "{out}", "--labels", "folders", "--label-table", tmp_path / "table.csv"
    )
    assert code == 1 and 'label "zebra" (zebra/a.wav) is not in' in text


def test_folder__keeps_manifests_that_are_there(audio, run, tmp_path):
    audio("a.wav")
    assert run("folder", "{data}", "--out", "{out}")[0] == 0
    before = (tmp_path / "out" / "train.tsv").read_text()
    audio("b.wav")
    code, text = run("folder", "{data}", "--out", "{out}")
    assert code == 1 and "pass --overwrite" in text
    assert (tmp_path / "out" / "train.tsv").read_text() == before
    assert run("folder", "{data}", "--out", "{out}", "--overwrite")[0] == 0
    assert len(read_split(tmp_path / "out")) == 2


def test_folder__overwriting_leaves_no_split_of_the_earlier_call(audio, run, tmp_path):
    for number in range(4):
        audio(f"{'ab'[number % 2]}/{number}.wav")
    flags = ["folder", "{data}", "--out", "{out}", "--labels", "folders"]
    assert run(*flags, "--split", "train=0.5", "eval=0.5")[0] == 0
    (tmp_path / "out" / "notes.txt").write_text("mine")
    assert run(*flags, "--overwrite")[0] == 0
    left = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"train.tsv", "train.lbl", "notes.txt"} <= left and not {"eval.tsv", "eval.lbl"} & left


def test_folder__table_that_is_not_utf8_is_named(audio, run, tmp_path):
    audio("a/0.wav")
    (tmp_path / "table.csv").write_bytes('0,/m/0,"Gr\xfcn"\n'.encode("latin-1"))
    code, text = run(
        "folder", "{data}", "--out", "{out}", "--labels", "folders", "--label-table", tmp_path / "table.csv"
    )
    assert code == 1 and "table.csv: not UTF-8 text" in text
