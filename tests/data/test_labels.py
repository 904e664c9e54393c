import csv
import unicodedata
from pathlib import Path

import numpy as np
import pytest

from ASDA.data.labels import LabelError, LabelTable, read_clip_labels
from ASDA.data.manifest import Manifest, write_manifest

DATA_MANIFEST = Path(__file__).parents[2] / "data_manifest"


@pytest.fixture
def table(tmp_path):
    file = tmp_path / "label_descriptors.csv"
    file.write_text('0,/m/0,"Speech"\n1,/m/1,"Male speech, man speaking"\n2,/m/2,"Dog"\n')
    return LabelTable.read(file)


@pytest.fixture
def manifest(tmp_path):
    def manifest(*paths: str) -> Manifest:
        (tmp_path / "train.tsv").write_text(f"{tmp_path}\n" + "".join(f"{path}\t16000\n" for path in paths))
        return Manifest.read(tmp_path / "train.tsv")

    return manifest


@pytest.fixture
def label_file(tmp_path):
    def label_file(text: str):
        (tmp_path / "train.lbl").write_bytes(text.encode())
        return tmp_path / "train.lbl"

    return label_file


def test_label_table__finds_classes_by_mid_and_by_name(table):
    assert len(table) == 3
    assert table.mids == ["/m/0", "/m/1", "/m/2"]
    assert table.index("/m/2") == table.index("Dog") == 2
    assert table.index("Male speech, man speaking") == 1
    assert "Dog" in table and "/m/9" not in table


def test_label_table__accepts_heading_bom_and_crlf(tmp_path):
    file = tmp_path / "t.csv"
    file.write_bytes('\ufeffindex,mid,display_name\r\n0,/m/0,"A, b"\r\n1,/m/1,"C"\r\n'.encode())
    assert LabelTable.read(file).names == ["A, b", "C"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"t\.csv: the label table is empty"),
        ("index,mid,display_name\n", r"t\.csv: the label table is empty"),
        ('0,/m/0,"A"\n2,/m/1,"B"\n', r"t\.csv:2: expected index 1, got '2'"),
        ('0,/m/0,"A"\n1,/m/0,"B"\n', r"t\.csv:2: class '/m/0' already stands in line 1"),
        ('index,mid,name\n0,/m/0,"A"\n1,/m/1,"A"\n', r"t\.csv:3: class 'A' already stands in line 2"),
        ("0,cat,dog\n1,dog,cat\n", r"t\.csv:1: class 'dog' already stands in line 2"),
        ('0,/m/0,"A"\n1,,""\n', r"t\.csv:2: the class has no name"),
        ("0,/m/0\n", r"t\.csv:1: expected `index,mid"),
        ("0,/m/0,Male speech, man\n", r"t\.csv:1: expected `index,mid"),
    ],
)
def test_label_table__refuses_malformed_files_by_line(tmp_path, text, message):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(LabelError, match=message):
        LabelTable.read(tmp_path / "t.csv")


def test_label_table__unknown_label_names_label_place_and_table(table):
    with pytest.raises(LabelError, match=r'label "/m/9" \(eval\.lbl:17\) is not in .*label_descriptors\.csv'):
        table.index("/m/9", where="eval.lbl:17")


def test_clip_labels__multi_label_lines(table, manifest, label_file):
    labels = read_clip_labels(
        label_file("a\t/m/0,/m/2\nb\tMale speech, man speaking\nc\tDog,/m/0,Dog\n"),
        manifest("x/a.wav", "b.flac", "c.wav"),
        table,
    )
    assert [labels.targets(i) for i in range(len(labels))] == [[0, 2], [1], [2, 0]]
    assert labels.class_counts().tolist() == [2, 1, 2]
    assert labels.num_classes == 3


@pytest.mark.parametrize("name", ["x/a.wav", "x/a", "a.wav", "a"])
def test_clip_labels__id_may_be_path_or_name(table, manifest, label_file, name):
    rows = manifest("x/a.wav", "b.wav")
    for text in (f"{name}\tDog\nb\tSpeech\n", f"b\tSpeech\n{name}\tDog\n"):
        labels = read_clip_labels(label_file(text), rows, table)
        assert [labels.targets(i) for i in range(2)] == [[2], [0]]


def test_clip_labels__follow_a_filtered_and_reordered_manifest(table, manifest, label_file):
    lines = label_file("a\tDog\nb\tSpeech\nc\t/m/1\n")
    labels = read_clip_labels(lines, manifest("c.wav", "a.wav"), table)
    assert [labels.targets(i) for i in range(len(labels))] == [[1], [2]]


@pytest.mark.parametrize(
    "rows",
    [("yes/a.wav", "no/a.wav"), ("no/a.wav", "yes/a.wav"), ("no/a.wav",)],
    ids=["as written", "sorted again", "filtered"],
)
def test_clip_labels__an_id_that_stands_twice_is_refused(table, manifest, label_file, rows):
    message = r'id "a" stands twice in .*train\.lbl, in lines 1 and 2, .* use relative paths as ids'
    with pytest.raises(LabelError, match=message):
        read_clip_labels(label_file("a\tDog\na\tSpeech\n"), manifest(*rows), table)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (("no/a.wav", "yes/a.wav"), [[0], [1]]),
        (("yes/a.wav",), [[1]]),  # line 1 would fit it too, but line 3 says more of it
        (("b/yes/a.wav",), [[2]]),
    ],
)
def test_clip_labels__the_id_that_says_most_of_the_path_counts(table, manifest, label_file, rows, expected):
    labels = read_clip_labels(label_file("a\tSpeech\nb/yes/a.wav\tDog\nyes/a\t/m/1\n"), manifest(*rows), table)
    assert [labels.targets(i) for i in range(len(labels))] == expected


def test_clip_labels__a_line_with_nothing_behind_its_tab_is_a_clip_of_no_class(table, manifest, label_file):
    lines = label_file("a\t\nb\tDog,Speech\nc\t \r\nd\tDog\n")
    labels = read_clip_labels(lines, manifest("d.wav", "c.wav", "b.wav", "a.wav"), table)
    assert [labels.targets(i) for i in range(len(labels))] == [[2], [], [2, 0], []]
    assert labels.labels_per_clip.tolist() == [1, 0, 2, 0]
    assert (labels.max_labels_per_clip, labels.num_unlabelled, labels.num_classes) == (2, 2, len(table))
    assert labels.class_counts().tolist() == [1, 0, 2]


def test_clip_labels__say_when_every_clip_has_one_label(table, manifest, label_file):
    labels = read_clip_labels(label_file("a\tSpeech\nb\tDog\n"), manifest("a.wav", "b.wav"), table)
    assert (labels.max_labels_per_clip, labels.num_unlabelled) == (1, 0)


def test_clip_labels__crlf_and_bom(table, manifest, label_file):
    labels = read_clip_labels(label_file("\ufeffa\tDog\r\nb\tSpeech\r\n"), manifest("a.wav", "b.wav"), table)
    assert [labels.targets(i) for i in range(2)] == [[2], [0]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("b\tDog\n", r'clip "x/a\.wav" \(train\.tsv:2\) has no line in .*train\.lbl; line 1 there is about "b"'),
        ("b\tDog\nc\tDog\n", r'clip "x/a\.wav" \(train\.tsv:2\) has no line in .*; line 1 there is about "b"'),
        ("a\tDog\n", r'clip "b\.wav" \(train\.tsv:3\) has no line in .*train\.lbl, which has 1 lines'),
        ("a\tDog\nb\t/m/9\n", r'label "/m/9" \(train\.lbl:2\) is not in'),
        (
            "a\tDog\nb\n",
            r"train\.lbl:2: expected `clip-id<TAB>label\[,label\.\.\.\]`, got 'b'; a clip without any label is",
        ),
        ("a\tDog\nb Speech\n", r"train\.lbl:2: expected .*, got 'b Speech'; a clip without any label is"),
        ("a\tDog\nb\t,\n", r'label "" \(train\.lbl:2\) is not in'),
        ("a\tDog\n\nb\tDog\n", r"train\.lbl:2: the line is empty"),
        ("b\tDog\na\tDog\nb\tSpeech\n", r'id "b" stands twice in .*train\.lbl, in lines 1 and 3'),
    ],
)
def test_clip_labels__errors_name_file_line_and_both_sides(table, manifest, label_file, text, message):
    rows = manifest("x/a.wav", "b.wav")
    with pytest.raises(LabelError, match=message):
        read_clip_labels(label_file(text), rows, table)


def test_clip_labels__refuses_an_id_that_fits_two_clips(table, manifest, label_file):
    rows = manifest("c.wav", "yes/a.wav", "no/a.wav")
    message = r'id "a" \(train\.lbl:1\) fits two clips: "yes/a\.wav" \(train\.tsv:3\) and "no/a\.wav" \(train\.tsv:4\)'
    with pytest.raises(LabelError, match=message):
        read_clip_labels(label_file("a\tDog\nc\tDog\n"), rows, table)


def test_clip_labels__refuses_the_same_clip_twice(table, manifest, label_file):
    rows = manifest("a.wav", "b.wav", "a.wav")
    with pytest.raises(LabelError, match=r'id "a" stands twice in .*train\.lbl, in lines 1 and 3'):
        read_clip_labels(label_file("a\tDog\nb\tDog\na\tSpeech\n"), rows, table)
    with pytest.raises(LabelError, match=r'clip "a\.wav" stands twice in .*train\.tsv \(lines 2 and 4\)'):
        read_clip_labels(label_file("a\tDog\nb\tDog\n"), rows, table)


def test_clip_labels__missing_file_is_named(table, manifest, tmp_path):
    with pytest.raises(LabelError, match=r"absent\.lbl: no such file"):
        read_clip_labels(tmp_path / "absent.lbl", manifest("a.wav"), table)


def test_audioset_table__is_the_official_list(shared_dir):
    table = LabelTable.read(DATA_MANIFEST / "audioset" / "label_descriptors.csv")
    with (shared_dir / "facts" / "audioset_labels.csv").open(newline="") as file:
        official = list(csv.reader(file))
    assert [(str(i), table.mids[i], table.names[i]) for i in range(len(table))] == [tuple(row) for row in official]
    assert len(table) == 527


@pytest.mark.parametrize(
    ("folder", "num_classes", "some"),
    [
        ("audioset", 527, {"Speech": 0, "Field recording": 526, "/m/0bt9lr": 74}),
        (
            "esc50",
            50,
            {"dog": 0, "rain": 10, "crying_baby": 20, "door_wood_knock": 30, "helicopter": 40, "hand_saw": 49},
        ),
        ("speechcommands_v2", 35, {"backward": 0, "marvin": 16, "zero": 34}),
        ("speechcommands_v1", 12, {"yes": 0, "go": 9, "unknown": 10, "silence": 11}),
        ("urbansound8k", 10, {"air_conditioner": 0, "dog_bark": 3, "street_music": 9}),
    ],
)
def test_label_tables__size_and_order(folder, num_classes, some):
    table = LabelTable.read(DATA_MANIFEST / folder / "label_descriptors.csv")
    assert len(table) == num_classes
    assert len(set(table.names)) == num_classes
    assert {label: table.index(label) for label in some} == some


@pytest.mark.parametrize(("listed", "stored"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_read_clip_labels__ids_in_another_unicode_spelling_meet(tmp_path, listed, stored):
    names = ("Käuzchen", "été", "plain")
    rows = [(f"{unicodedata.normalize(stored, name)}.wav", 100) for name in names]
    write_manifest(tmp_path / "train.tsv", tmp_path, rows)
    lines = [f"{unicodedata.normalize(listed, name)}\t{number}\n" for number, name in enumerate(names)]
    (tmp_path / "train.lbl").write_text("".join(lines), encoding="utf-8")
    table = LabelTable(["0", "1", "2"], ["0", "1", "2"])
    labels = read_clip_labels(tmp_path / "train.lbl", Manifest.read(tmp_path / "train.tsv"), table)
    assert [labels.targets(row) for row in range(3)] == [[0], [1], [2]]


def test_clip_labels__a_third_column_names_the_absent_classes(table, manifest, label_file):
    file = label_file("a\t/m/0\t/m/2\nb\t\t/m/1,Dog\nc\tDog,/m/0\t\nd\t\t\n")
    labels = read_clip_labels(file, manifest("a.wav", "b.wav", "c.wav", "d.wav"), table)
    nan = np.nan
    expected = [[1, nan, 0], [nan, 0, 0], [1, nan, 1], [nan, nan, nan]]
    np.testing.assert_array_equal(labels.multi_hots(), np.array(expected, dtype=np.float32))
    assert labels.is_multi_label and labels.judged_share == 6 / 12
    assert labels.class_counts().tolist() == [2, 0, 1]


def test_clip_labels__of_two_columns_judge_every_class(table, manifest, label_file):
    labels = read_clip_labels(label_file("a\t/m/0\nb\t\n"), manifest("a.wav", "b.wav"), table)
    assert labels.absent is None and labels.judged_share == 1.0
    assert labels.multi_hots().tolist() == [[1, 0, 0], [0, 0, 0]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "a\t/m/0\t/m/2\nb\t/m/0\n",
            r"train\.lbl:2: two columns instead of three as in the lines before; partial labels",
        ),
        ("a\t/m/0\nb\t/m/0\t/m/1\n", r"train\.lbl:2: three instead of two columns as in the lines before"),
        ("a\t/m/0\t/m/0\nb\t\t\n", r'train\.lbl:1: "Speech" is said to be present and to be absent'),
        ("a\t/m/0\t/m/9\nb\t\t\n", r'label "/m/9" \(train\.lbl:1\) is not in'),
        ("a\t/m/0\t/m/1\t/m/2\nb\t\t\n", r"train\.lbl:1: expected `clip-id<TAB>label"),
    ],
)
def test_clip_labels__partial_labels_that_contradict_themselves_are_refused(table, manifest, label_file, text, message):
    with pytest.raises(LabelError, match=message):
        read_clip_labels(label_file(text), manifest("a.wav", "b.wav"), table)
