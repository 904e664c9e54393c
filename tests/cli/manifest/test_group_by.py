"""Grouped hold-out through the program: a speaker is on one side, whatever divides the clips."""

import itertools

import pytest

from ASDA.data.corpora.corpus import URBANSOUND8K
from ASDA.data.corpora.tables import official_table
from tests.cli.manifest.reading import read_split
from tests.cli.manifest.test_known_data_sets import write_csv

SPEAKERS = ("anna", "ben", "carl", "dora", "emil", "frida")


@pytest.fixture
def speech(audio, tmp_path):
    """Two languages, six speakers, each of whom speaks both; `labels.csv` lists them too."""
    rows = []
    for number, (speaker, language) in enumerate(itertools.product(SPEAKERS, ("cs", "de"))):
        for clip in range(2):
            name = f"{language}/{speaker}/{number}_{speaker}-{clip}.wav"
            audio(name)
            rows.append((name, language, speaker))
    write_csv(tmp_path / "labels.csv", ("file", "label", "speaker"), rows)
    return tmp_path / "out"


def speakers(out, split) -> set[str]:
    return {path.split("/")[1] for path in read_split(out, split)}


@pytest.mark.parametrize(
    "flags",
    [
        ["--labels", "folders", "--group-by", "folder"],
        ["--labels", "folders", "--label-level", "1", "--group-by", "folder:2"],
        ["--labels", "{data}/../labels.csv", "--group-by", "column:speaker"],
        ["--labels", "folders", "--group-by", r"regex:_(\w+)-"],
        ["--labels", "folders", "--group-by", "regex:" + "|".join(SPEAKERS)],
        ["--group-by", "folder:innermost"],
    ],
    ids=["folder", "level", "column", "regex", "whole match", "no labels"],
)
def test_group_by__keeps_a_speaker_on_one_side(speech, run, flags):
    flags = [
        flag.replace("{data}/../", str(speech.parent) + "/") if flag.startswith("{data}") else flag for flag in flags
    ]
    code, text = run("folder", "{data}", "--out", "{out}", "--split", "train=2", "eval=1", *flags)
    assert code == 0, text
    assert "train: 16 clips, 0.00 h, 4 groups\neval: 8 clips, 0.00 h, 2 groups" in text and "warning" not in text
    assert not speakers(speech, "train") & speakers(speech, "eval")
    if "--labels" in flags:
        assert set(read_split(speech, "eval").values()) == {("cs",), ("de",)}


def test_group_by__without_it_speakers_are_divided(speech, run):
    assert run("folder", "{data}", "--out", "{out}", "--labels", "folders", "--split", "train=2", "eval=1")[0] == 0
    assert speakers(speech, "train") & speakers(speech, "eval")


def test_group_by__folds_and_what_is_held_out_of_them(speech, run):
    flags = ["--labels", "folders", "--group-by", "folder", "--folds", "3", "--hold-out", "valid=0.25"]
    code, text = run("folder", "{data}", "--out", "{out}", *flags)
    assert code == 0, text
    for k in (1, 2, 3):
        parts = [speakers(speech / f"fold{k}", split) for split in ("train", "valid", "eval")]
        assert [len(part) for part in parts] == [3, 1, 2] and len(set.union(*parts)) == 6


def test_group_by__holds_out_of_given_splits_and_says_what_these_share(audio, run, tmp_path):
    for split, speaker, label in itertools.product(("train", "eval"), ("anna", "ben", "carl"), ("x", "y")):
        audio(f"{split}/{label}/{speaker}/1.wav")
    flags = ["--labels", "folders", "--split-folders", "--hold-out", "valid=0.33", "--group-by", "folder"]
    code, text = run("folder", "{data}", "--out", "{out}", *flags)
    assert code == 0 and "valid: 2 clips, 0.00 h, 1 groups" in text
    assert "warning: 3 groups are both in" in text and "as the data set divides them: anna, ..." in text
    held_out = {path.split("/")[2] for path in read_split(tmp_path / "out", "valid")}
    assert not held_out & {path.split("/")[2] for path in read_split(tmp_path / "out")}


def test_group_by__of_a_known_data_set_is_a_column_of_its_table(audio, run, tmp_path):
    names = official_table(URBANSOUND8K).mids
    rows = []
    for fold, recording, cut in itertools.product(range(1, 11), range(3), range(2)):
        rows.append((f"{fold}{recording}-3-0-{cut}.wav", f"{fold}{recording}", fold, 3, names[3]))
        audio(f"audio/fold{fold}/{rows[-1][0]}", 0.1)
    write_csv(
        tmp_path / "data" / "metadata" / "UrbanSound8K.csv",
        ("slice_file_name", "fsID", "fold", "classID", "class"),
        rows,
    )
    flags = ["--hold-out", "valid=0.2", "--group-by", "column:fsID"]
    code, text = run("urbansound8k", "{data}", "--out", "{out}", *flags)
    assert code == 0, text
    recording_of = {name: recording for name, recording, *_ in rows}
    train, valid = (
        {recording_of[path.split("/")[-1]] for path in read_split(tmp_path / "out" / "fold1", split)}
        for split in ("train", "valid")
    )
    assert not train & valid and len(train | valid) == 27 and 4 <= len(valid) <= 6


def test_group_by__of_speech_commands_is_in_the_names(audio, run, tmp_path):
    for speaker, word, number in itertools.product(("0a7c2a8d", "1b4c9b89", "2aa787cf"), ("bed", "cat"), range(2)):
        audio(f"{word}/{speaker}_nohash_{number}.wav")
    audio("bed/99999999_nohash_0.wav")
    for name in ("validation_list.txt", "testing_list.txt"):
        (tmp_path / "data" / name).write_text("bed/99999999_nohash_0.wav\n" if name.startswith("test") else "")
    flags = ["--hold-out", "dev=0.34", "--group-by", "regex:([0-9a-f]+)_nohash"]
    audio("cat/88888888_nohash_0.wav")
    (tmp_path / "data" / "validation_list.txt").write_text("cat/88888888_nohash_0.wav\n")
    code, text = run("speechcommands", "{data}", "--out", "{out}", *flags)
    assert code == 0, text
    assert len({path.split("/")[1].split("_")[0] for path in read_split(tmp_path / "out", "dev")}) == 1
    assert len({path.split("/")[1].split("_")[0] for path in read_split(tmp_path / "out")}) == 2


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--group-by", "folder"], "--group-by keeps groups whole when clips are divided: add --hold-out, --split or"),
        (["--split", "train=1", "--group-by", "folder"], "add --hold-out, --split or --folds"),
        (["--folds", "7", "--group-by", "folder:2"], "too few groups: 6 (anna, ben, carl, ...), but 7 splits"),
        (
            ["--split", "a=1", "b=1", "--labels", "folders", "--group-by", "folder:1"],
            "each of the 2 classes lies in one",
        ),
        (["--split", "a=1", "b=1", "--group-by", "folder:3"], "24 of the 24 clips belong to no group"),
        (["--split", "a=1", "b=1", "--group-by", "regex:anna"], "20 of the 24 clips belong to no group"),
        (["--split", "a=1", "b=1", "--group-by", "column:speaker"], "needs clips that are listed in a csv file"),
    ],
)
def test_group_by__refuses_what_cannot_be_kept_together(speech, run, flags, message):
    code, text = run("folder", "{data}", "--out", "{out}", *flags)
    assert code == 1 and message in text and not speech.exists()


@pytest.mark.parametrize("rule", ["speaker", "folder:", "regex:("])
def test_group_by__another_rule_is_a_wrong_command_line(speech, run, rule):
    with pytest.raises(SystemExit) as exit:
        run("folder", "{data}", "--out", "{out}", "--folds", "2", "--group-by", rule)
    assert exit.value.code == 2 and not speech.exists()
