"""`asda-manifest parquet`: data sets as the Hugging Face hub keeps them."""

import sys

import numpy as np
import pytest
import soundfile

from ASDA.data.corpora.corpus import AUDIOSET, ESC50
from ASDA.data.corpora.tables import official_table
from ASDA.data.labels import LabelTable, read_clip_labels
from ASDA.data.manifest import Manifest
from tests.cli.manifest.reading import RATE_HZ, files_below
from tests.data.generated_corpora import NEEDS_PYARROW, audio_cells, write_parquet

pytestmark = NEEDS_PYARROW


@pytest.fixture
def cells(tmp_path):
    """Makes cells of short clips."""

    def cells(number, first=0):
        files = []
        for i in range(first, first + number):
            files.append(tmp_path / f"clip_{i}.wav")
            soundfile.write(files[-1], 0.1 * np.random.default_rng(i).standard_normal(800 + i), RATE_HZ)
        return audio_cells(files)

    return cells


@pytest.fixture
def write(tmp_path, cells):
    """Writes a file of the data set."""

    def write(name, number=2, first=0, features=None, **columns):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return write_parquet(path, {"audio": cells(number, first), **columns}, features)

    return write


def labels_of(out, split):
    """Names of each clip's classes, and the table."""
    manifest = Manifest.read(out / f"{split}.tsv")
    table = LabelTable.read((out / split).with_name("label_descriptors.csv"))
    labels = read_clip_labels(out / f"{split}.lbl", manifest, table)
    rows = {manifest.relative_path(i): [table.names[c] for c in labels.targets(i)] for i in range(len(manifest))}
    return rows, table


def classes(*names):
    return {"_type": "ClassLabel", "names": list(names)}


TWO = {"label": classes("a", "b")}


def test_parquet__splits_by_file_name_and_classes_in_the_order_of_the_metadata(tmp_path, write, run):
    features = {"audio": {"_type": "Audio"}, "label": classes("dog", "cat, big", "ant")}
    write("data/train-00000-of-00002.parquet", label=[0, 1], features=features)
    write("data/train-00001-of-00002.parquet", first=2, label=[1, 0], features=features)
    write("data/validation-00000-of-00001.parquet", 1, 4, label=[1], features=features)
    write("data/test-00000-of-00001.parquet", 1, 5, label=[0], features=features)
    code, text = run("parquet", "{data}", "--out", "{out}")
    assert code == 0, text
    assert "3 classes, from column 'label':" in text and "dog: 3 clips" in text and "ant: 0 clips" in text
    rows, table = labels_of(tmp_path / "out", "train")
    assert table.names == ["dog", "cat, big", "ant"]
    assert rows == {
        "data/train-00000-of-00002.parquet/audio[0]": ["dog"],
        "data/train-00000-of-00002.parquet/audio[1]": ["cat, big"],
        "data/train-00001-of-00002.parquet/audio[0]": ["cat, big"],
        "data/train-00001-of-00002.parquet/audio[1]": ["dog"],
    }
    assert [len(labels_of(tmp_path / "out", split)[0]) for split in ("valid", "eval")] == [1, 1]
    code, text = run("check", "{out}", "--suggest")
    assert code == 0 and "no problems" in text
    assert run("stats", str(tmp_path / "out" / "train.tsv"))[0] == 0


@pytest.mark.parametrize(
    ("values", "features", "flags", "names", "first"),
    [
        (["b", "a", "b"], None, [], ["a", "b"], ["b"]),
        ([10, 9, 10], None, [], ["9", "10"], ["10"]),
        ([["x", "y"], [], ["y"]], None, [], ["x", "y"], ["x", "y"]),
        ([[1, 0], [1], []], {"labels": {"feature": classes("p", "q"), "_type": "List"}}, [], ["p", "q"], ["q", "p"]),
        (["x;y", "y", "x"], None, ["--label-separator", ";"], ["x", "y"], ["x", "y"]),
        (["x;y", "y", "x"], None, [], ["x", "x;y", "y"], ["x;y"]),
    ],
)
def test_parquet__labels_of_every_kind(tmp_path, write, run, values, features, flags, names, first):
    write("train.parquet", 3, labels=values, features=features)
    code, text = run("parquet", "{data}", "--out", "{out}", *flags)
    assert code == 0, text
    rows, table = labels_of(tmp_path / "out", "train")
    assert table.names == names and rows["train.parquet/audio[0]"] == first


def test_parquet__a_chosen_column_and_none(tmp_path, write, run):
    write("a.parquet", 3, label=["x", "y", "x"], speaker=["p", "q", "p"])
    assert run("parquet", "{data}", "--out", "{out}", "--labels", "speaker")[0] == 0
    assert labels_of(tmp_path / "out", "train")[1].names == ["p", "q"]
    assert run("parquet", "{data}", "--out", "{out}", "--no-labels", "--overwrite")[0] == 0
    assert "train.lbl" not in files_below(tmp_path / "out")
    code, text = run("parquet", "{data}", "--out", "{out}", "--no-labels", "--labels", "label", "--overwrite")
    assert code == 1 and "--no-labels leaves labels out" in text


def test_parquet__without_a_usual_column_it_says_so(write, run):
    write("a.parquet", 2, transcript=["x", "y"])
    code, text = run("parquet", "{data}", "--out", "{out}")
    assert code == 0 and "no labels are found: the manifests are for pre-training" in text


def test_parquet__clips_without_a_label_are_left_out_and_counted(tmp_path, write, run):
    features = {"label": classes("a", "b")}
    write("train.parquet", 4, label=[0, -1, None, 1], features=features)
    write("test.parquet", 2, 4, label=[-1, -1], features=features)
    code, text = run("parquet", "{data}", "--out", "{out}")
    assert code == 0 and "4 of 6 clips have no label and are left out" in text
    assert "split 'eval' is left out: none of its clips has a label" in text
    assert list(labels_of(tmp_path / "out", "train")[0]) == ["train.parquet/audio[0]", "train.parquet/audio[3]"]
    report = (tmp_path / "out" / "report.txt").read_text()
    assert "train.parquet, row 1, column 'label': no label; left out" in report


def test_parquet__rows_without_a_readable_clip_are_left_out_and_named(tmp_path, cells, run):
    found = cells(4)
    found[1], found[2] = {"bytes": None, "path": "x.wav"}, {"bytes": b"RIFF no", "path": "y.wav"}
    (tmp_path / "data").mkdir()
    write_parquet(tmp_path / "data" / "s.parquet", {"audio": found, "label": ["a", "b", "a", "b"]})
    code, text = run("parquet", "{data}", "--out", "{out}")
    assert code == 0 and "2 unreadable" in text
    assert "left out: s.parquet/audio[1]: unreadable, row 1 has the path 'x.wav' alone, expected the bytes" in text


@pytest.mark.parametrize(
    ("values", "features", "flags", "message"),
    [
        ([0, 2], TWO, [], "row 1, column 'label': expected the number of one of the 2 classes, 0 to 1, got 2"),
        ([0.5, 1.0], None, [], "expected a label as a whole number, a text or a list of these, got 0.5, a float"),
        ([True, False], None, [], "got True, a bool"),
        ([[0, 1, 0], [1, 0, 0]], None, [], "each once, but '0' stands there twice; a row of zeros and ones"),
        (["a", "b"], None, ["--labels", "sort"], "expected a column 'sort', the columns are audio, label"),
        (["a", "b"], None, ["--audio", "sound"], "no column 'sound'"),
        (["a", "b"], None, ["--audio", "label"], "column 'label' is no audio: expected the bytes of encoded files"),
        (["a", "a"], None, [], "all 2 clips are of one class, 'a'"),
        ([None, None], None, [], "none of the 2 clips has a label in column 'label'"),
        (["a", "b"], None, ["--split", "train=other/*"], "train=other/*: no file fits; there are train.parquet"),
        (["a", "b"], None, ["--fold-column", "fold"], "expected a column 'fold'"),
        (["a", "b"], None, ["--dataset", "esc50"], "label \"a\""),
    ],
)  # fmt: skip
def test_parquet__what_does_not_fit_is_one_line(tmp_path, write, run, values, features, flags, message):
    write("train.parquet", label=values, features=features)
    code, text = run("parquet", "{data}", "--out", "{out}", *flags)
    assert code == 1 and message in text and text.count("\n") == 1, text
    assert not (tmp_path / "out").exists()


def test_parquet__files_that_do_not_fit_are_named(tmp_path, write, run, monkeypatch):
    write("train-0.parquet", label=["a", "b"])
    write("train-1.parquet", first=2, other=["a", "b"])
    code, text = run("parquet", "{data}", "--out", "{out}")
    assert (
        code == 1 and "train-1.parquet: expected 'label' as column of labels, as in train-0.parquet, got None" in text
    )
    write("train-0.parquet", label=[0, 1], features={"label": classes("a", "b")})
    write("train-1.parquet", first=2, label=[0, 1], features={"label": classes("a", "c")})
    code, text = run("parquet", "{data}", "--out", "{out}")
    assert code == 1 and "train-1.parquet: expected 'b' as class 1, as in train-0.parquet, got 'c'" in text
    (tmp_path / "data" / "train-1.parquet").write_bytes(b"PAR1 and then it broke off")
    code, text = run("parquet", "{data}", "--out", "{out}")
    assert code == 1 and "train-1.parquet: truncated: expected b'PAR1' at its end, found b' off'" in text
    (tmp_path / "data" / "train-1.parquet").rename(tmp_path / "data" / "more.parquet")
    code, text = run("parquet", "{data}", "--out", "{out}")
    assert code == 1 and "more.parquet: its name says no split, where others do" in text
    (tmp_path / "data" / "more.parquet").unlink()
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    code, text = run("parquet", "{data}", "--out", "{out}")
    assert code == 1 and "pip install 'asda[parquet]'" in text and text.count("\n") == 1
    (tmp_path / "data" / "train-0.parquet").unlink()
    code, text = run("parquet", "{data}", "--out", "{out}")
    assert code == 1 and "expected *.parquet files below this folder, found none" in text


def test_parquet__no_column_of_audio(tmp_path, run):
    (tmp_path / "data").mkdir()
    write_parquet(tmp_path / "data" / "a.parquet", {"text": ["x"], "label": [1]})
    code, text = run("parquet", "{data}", "--out", "{out}")
    assert code == 1 and "a.parquet: no column of audio: expected one with the bytes of encoded files" in text
    assert "the columns are text (string), label (int64)" in text


def test_parquet__a_copy_of_audioset(tmp_path, write, run):
    columns = {"video_id": ["a", "b"], "human_labels": [["Speech", "Male speech, man speaking"], ["Music"]]}
    write("data/bal_train/00.parquet", **columns)
    write("data/unbal_train/00.parquet", first=2, **columns)
    write("data/eval/00.parquet", first=4, **{**columns, "human_labels": [["Dog"], ["Speech"]]})
    flags = ("--dataset", "audioset", "--split", "train=data/bal_train/*", "eval=data/eval/*")
    code, text = run("parquet", "{data}", "--out", "{out}", *flags)
    assert code == 0 and "1 of 3 files are of no split, the first is data/unbal_train/00.parquet" in text
    rows, table = labels_of(tmp_path / "out", "train")
    assert table.mids == official_table(AUDIOSET).mids and "weight_train_all.csv" in files_below(tmp_path / "out")
    assert rows["data/bal_train/00.parquet/audio[0]"] == ["Speech", "Male speech, man speaking"]
    assert run("parquet", "{data}", "--out", "{out}", "--overwrite", "--dataset", "audioset")[0] == 0
    assert len(labels_of(tmp_path / "out", "train")[0]) == 4  # both, as their names say


def test_parquet__a_copy_of_esc50_comes_in_its_folds(tmp_path, write, run):
    names = ["dog", "rooster"] * 5
    write(
        "data/train-00000-of-00001.parquet", 10, filename=[f"{i}.wav" for i in range(10)],
        fold=[1 + i // 2 for i in range(10)], target=[0, 1] * 5, category=names, src_file=[7] * 10,
    )  # fmt: skip
    code, text = run("parquet", "{data}", "--out", "{out}", "--dataset", "esc50")
    assert code == 0 and "ESC-50 is published with" in text
    rows, table = labels_of(tmp_path / "out", "fold2/eval")
    assert table.names == official_table(ESC50).names
    assert list(rows.values()) == [["dog"], ["rooster"]]
    assert len(labels_of(tmp_path / "out", "fold2/train")[0]) == 8


def test_parquet__copies_of_fsd50k_and_speech_commands(tmp_path, write, run):
    write("data/train.parquet", labels=["Bark,Dog", "Meow"])
    code, text = run("parquet", "{data}", "--out", "{out}", "--dataset", "fsd50k")
    assert code == 0 and "3 classes, but FSD50K has 200" in text
    assert labels_of(tmp_path / "out", "train")[0]["data/train.parquet/audio[0]"] == ["Bark", "Dog"]
    words = {"label": classes("yes", "no", "_silence_")}
    write("data/train.parquet", 3, label=[1, 0, 2], features=words)
    code, text = run("parquet", "{data}", "--out", "{out}", "--dataset", "spcv2", "--overwrite")
    assert code == 0
    rows, table = labels_of(tmp_path / "out", "train")
    assert len(table) == 35 and list(rows.values()) == [["no"], ["yes"]]
    assert "'_silence_' is not of the task" in (tmp_path / "out" / "report.txt").read_text()


def test_parquet__groups_by_a_column_stay_whole(write, run):
    write("train.parquet", 6, label=["a", "b"] * 3, speaker=[1, 1, 2, 2, 3, 3])
    flags = ("--group-by", "column:speaker", "--hold-out", "valid=0.34")
    code, text = run("parquet", "{data}", "--out", "{out}", *flags)
    assert code == 0 and "train: 4 clips" in text and "2 groups" in text and "valid: 2 clips" in text


def test_parquet__warns_where_a_clip_costs_many(tmp_path, write, run):
    write("a.parquet", 40, label=["a", "b"] * 20)
    assert "to read one clip at random much more has to be read" in run("parquet", "{data}", "--out", "{out}")[1]
    path = tmp_path / "data" / "a.parquet"
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.parquet.read_table(path), path, compression="none")
    assert "to read one clip" not in run("parquet", "{data}", "--out", "{out}", "--overwrite")[1]
