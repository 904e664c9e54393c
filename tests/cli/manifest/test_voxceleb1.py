"""VoxCeleb1: the list of the identification task joined with the folders of the speakers."""

import pytest

from ASDA.data.labels import LabelTable
from tests.cli.manifest.reading import read_split

SPEAKERS = ("id10001", "id10270", "id11251")  # the second is in the test archive


@pytest.fixture
def voxceleb1(audio, tmp_path):
    """Three speakers with two videos each, laid out as the archives unpack; the list in the root."""
    lines = []
    for speaker in SPEAKERS:
        for number, (split, video) in enumerate((("1", "a-b_c"), ("1", "a-b_c"), ("2", "xyz"), ("3", "xyz"))):
            path = f"{speaker}/{video}/{number:05d}.wav"
            audio(f"{'test' if speaker == SPEAKERS[1] else 'dev'}/wav/{path}")
            lines.append(f"{split} {path}\n")
    file = tmp_path / "data" / "iden_split.txt"
    file.write_text("".join(lines))
    return file


@pytest.mark.usefixtures("voxceleb1")
def test_voxceleb1__splits_of_the_list_and_speakers_as_classes(run, tmp_path):
    code, text = run("voxceleb1", "{data}", "--out", "{out}")
    assert code == 0, text
    train = read_split(tmp_path / "out")
    assert len(train) == 6 and train["test/wav/id10270/a-b_c/00001.wav"] == ("id10270",)
    assert set(read_split(tmp_path / "out", "valid").values()) == {(speaker,) for speaker in SPEAKERS}
    assert read_split(tmp_path / "out", "eval")["dev/wav/id11251/xyz/00003.wav"] == ("id11251",)
    assert LabelTable.read(tmp_path / "out" / "label_descriptors.csv").mids == list(SPEAKERS)
    assert "3 speakers, VoxCeleb1 has 1251" in text
    assert "train: 6 clips, but VoxCeleb1 is published with 138,361" in text


def test_voxceleb1__one_folder_and_a_list_elsewhere(audio, run, tmp_path):
    for number in range(3):
        audio(f"wav/id10001/v/{number:05d}.wav")
    file = tmp_path / "list.txt"
    file.write_text("1 id10001/v/00000.wav\r\n2 id10001/v/00001.wav\r\n3 id10001/v/00002.wav\r\n")
    assert run("voxceleb1", "{data}", "--out", "{out}", "--list", file)[0] == 0
    assert read_split(tmp_path / "out", "valid") == {"wav/id10001/v/00001.wav": ("id10001",)}


@pytest.mark.usefixtures("voxceleb1")
def test_voxceleb1__clips_that_are_not_there_are_named(run, tmp_path):
    (tmp_path / "data/dev/wav/id10001/a-b_c/00000.wav").unlink()
    code, text = run("voxceleb1", "{data}", "--out", "{out}")
    assert code == 0 and "1 missing" in text and "left out: dev/wav/id10001/a-b_c/00000.wav: missing" in text
    assert len(read_split(tmp_path / "out")) == 5


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("4 id10001/v/00000.wav", r"iden_split.txt:13: expected `1 idXXXXX/VIDEO/NNNNN.wav` with 1, 2 or 3, got '4 id"),
        ("1 Aaron_Brown/v/00000.wav", "iden_split.txt:13: expected"),
        ("3 id10001/a-b_c/00000.wav", "iden_split.txt:13: id10001/a-b_c/00000.wav stands in"),
    ],
)
def test_voxceleb1__a_line_of_another_form_is_refused(voxceleb1, run, line, message):
    with voxceleb1.open("a") as file:
        file.write(line + "\n")
    code, text = run("voxceleb1", "{data}", "--out", "{out}")
    assert code == 1 and message in text


def test_voxceleb1__a_speaker_who_is_only_tested_is_warned_of(voxceleb1, audio, run):
    audio("dev/wav/id10500/v/00001.wav")
    with voxceleb1.open("a") as file:
        file.write("3 id10500/v/00001.wav\n")
    code, text = run("voxceleb1", "{data}", "--out", "{out}")
    assert code == 0 and "eval has 1 speakers without a clip in train, as id10500" in text


def test_voxceleb1__without_list_or_folders(voxceleb1, run, tmp_path):
    (tmp_path / "empty").mkdir()
    code, text = run("voxceleb1", tmp_path / "empty", "--out", "{out}", "--list", voxceleb1)
    assert code == 1 and "no folder of a speaker" in text
    voxceleb1.unlink()
    code, text = run("voxceleb1", "{data}", "--out", "{out}")
    assert code == 1 and "iden_split.txt: there is no list of the identification task" in text
