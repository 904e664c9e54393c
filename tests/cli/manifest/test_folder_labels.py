"""Labels from folders, through the program: which folder, said with the classes; doubtful names; a single class."""

import pytest

from tests.cli.manifest.reading import read_split

SPEECH = [
    f"{language}/{speaker}/{clip}.wav" for language in ("cs", "de") for speaker in ("anna", "ben") for clip in "12"
]


@pytest.fixture
def speech(audio, tmp_path):
    for name in SPEECH:
        audio(name)
    return tmp_path / "out"


def test_folder__labels_are_the_outermost_folders_and_that_is_said(speech, run, tmp_path):
    code, text = run("folder", "{data}", "--out", "{out}", "--labels", "folders")
    assert code == 0 and "warning" not in text
    assert read_split(speech) == {name: (name.split("/")[0],) for name in SPEECH}
    assert f"2 classes, named by the outermost folders below {tmp_path / 'data'}; " in text
    assert "; --label-level 2 has 2 names (anna, ben):\n  cs: 4 clips\n  de: 4 clips\n" in text


@pytest.mark.parametrize("level", ["innermost", "-1", "2"])
def test_folder__label_level_names_other_folders(speech, run, level):
    code, text = run("folder", "{data}", "--out", "{out}", "--labels", "folders", "--label-level", level)
    assert code == 0 and "--label-level 1 has 2 names (cs, de)" in text and "  anna: 4 clips" in text
    assert read_split(speech) == {name: (name.split("/")[1],) for name in SPEECH}


def test_folder__the_folders_of_splits_are_no_level(audio, run, tmp_path):
    for name in SPEECH:
        audio(f"{'train' if '1' in name else 'test'}/{name}")
    code, text = run("folder", "{data}", "--out", "{out}", "--labels", "folders", "--split-folders")
    assert code == 0 and "named by the outermost folders below the folders of splits;" in text
    assert set(read_split(tmp_path / "out", "test").values()) == {("cs",), ("de",)}
    code, text = run(
        "folder",
        "{data}",
        "--out",
        "{out}",
        "--overwrite",
        "--labels",
        "folders",
        "--split-folders",
        "--label-level",
        2,
    )
    assert code == 0 and set(read_split(tmp_path / "out", "test").values()) == {("anna",), ("ben",)}


def test_folder__of_many_classes_the_first_ten_are_listed(audio, run):
    for number in range(13):
        audio(f"class {number:02d}/a.wav")
    audio("class 00/b.wav")
    code, text = run("folder", "{data}", "--out", "{out}", "--labels", "folders")
    assert code == 0 and "13 classes, named" in text and "  class 00: 2 clips\n" in text
    assert "  class 09: 1 clips\n  ... and 3 more\n" in text and "class 10" not in text


def test_folder__clips_that_lie_less_deep_than_the_level_are_left_out_and_reported(speech, audio, run):
    audio("cs/1.wav")
    audio("2.wav")
    code, text = run("folder", "{data}", "--out", "{out}", "--labels", "folders", "--label-level", "2")
    assert code == 0 and "2 unlabelled" in text and set(read_split(speech)) == set(SPEECH)
    assert "unlabelled\tcs/1.wav\tlies in no 2nd sub-folder" in (speech / "report.txt").read_text()


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        (("train", "test"), "warning: class names that look like splits: test, train; if they divide the data"),
        (("1089", "121"), "warning: 2 of the 2 class names look like numbers (1089, 121)"),
        (("p225", "p226"), "warning: 2 of the 2 class names look like numbers (p225, p226)"),
    ],
)
def test_folder__doubtful_names_of_classes_are_warned_of(audio, run, tmp_path, folders, message):
    for folder in folders:
        audio(f"{folder}/a.wav")
    code, text = run("folder", "{data}", "--out", "{out}", "--labels", "folders")
    assert code == 0 and message in text
    table = "".join(f"{index},{name},{name}\n" for index, name in enumerate(folders))
    (tmp_path / "table.csv").write_text(table)  # who brings the classes means them
    flags = ["--labels", "folders", "--label-table", tmp_path / "table.csv", "--overwrite"]
    code, text = run("folder", "{data}", "--out", "{out}", *flags)
    assert code == 0 and "warning" not in text


@pytest.mark.parametrize(
    ("names", "flags", "message"),
    [
        (
            [f"corpus/{name}" for name in SPEECH],
            [],
            "all 8 clips are of one class, 'corpus', which leaves nothing to tell apart; --label-level 2 has 2 names "
            "(cs, de), --label-level 3 has 2 names (anna, ben); to pre-train, leave --labels out",
        ),
        (["dog/a.wav", "dog/b.wav"], [], "put the clips of each class into a folder of its own below"),
        (["a/dog/a.wav", "b/dog/b.wav"], ["--label-level", "innermost"], "--label-level 1 has 2 names (a, b)"),
        (SPEECH, ["--label-level", "3"], "none of the 8 clips has a label; --label-level 1 has 2 names (cs, de)"),
        (["train/dog/a.wav", "eval/dog/b.wav"], ["--split-folders"], "one class, 'dog'"),
    ],
)
def test_folder__a_single_class_is_refused_with_what_to_do(audio, run, tmp_path, names, flags, message):
    for name in names:
        audio(name)
    code, text = run("folder", "{data}", "--out", "{out}", "--labels", "folders", *flags)
    assert code == 1 and message in text and text.count("\n") == 1 and not (tmp_path / "out").exists()


@pytest.mark.parametrize("flags", [[], ["--labels", "{data}/labels.csv"]])
def test_folder__label_level_needs_labels_from_folders(speech, run, flags):
    code, text = run("folder", "{data}", "--out", "{out}", "--label-level", "2", *flags)
    assert code == 1 and "it needs --labels folders" in text and not speech.exists()


def test_folder__a_level_that_is_none_is_a_wrong_command_line(speech, run, capsys):
    with pytest.raises(SystemExit) as exit:
        run("folder", "{data}", "--out", "{out}", "--labels", "folders", "--label-level", "0")
    assert exit.value.code == 2 and "expected outermost (1), 2, 3" in capsys.readouterr().err and not speech.exists()


def test_folder__an_empty_cell_is_a_clip_of_no_class(audio, run, tmp_path):
    for name in ("a.wav", "b.wav", "c.wav"):
        audio(name)
    (tmp_path / "labels.csv").write_text("file,label\na.wav,Dog;Rain\nb.wav,\nc.wav, \n")
    code, text = run("folder", "{data}", "--out", "{out}", "--labels", tmp_path / "labels.csv")
    assert code == 0 and read_split(tmp_path / "out") == {"a.wav": ("Dog", "Rain"), "b.wav": (), "c.wav": ()}
    assert "warning: 2 of 3 clips are of no class, which only multi-label training takes; the first: " in text
    assert "labels.csv:3: 'b.wav' has no label" in text
    assert (tmp_path / "out" / "train.lbl").read_text() == "a\tDog,Rain\nb\t\nc\t\n"
    code, text = run("check", "{out}")
    assert code == 0 and "unlabelled\ttrain.lbl\t2 of 3 clips are of no class" in text


def test_folder__one_class_is_enough_if_there_are_clips_without_it(audio, run, tmp_path):
    for name in ("a.wav", "b.wav"):
        audio(name)
    (tmp_path / "labels.csv").write_text("file,label\na.wav,bird\nb.wav,\n")
    assert run("folder", "{data}", "--out", "{out}", "--labels", tmp_path / "labels.csv")[0] == 0
    (tmp_path / "labels.csv").write_text("file,label\na.wav,bird\nb.wav,bird\n")
    code, text = run("folder", "{data}", "--out", "{out}", "--labels", tmp_path / "labels.csv", "--overwrite")
    assert code == 1 and "one class, 'bird'" in text and "clips of none, with an empty label" in text
