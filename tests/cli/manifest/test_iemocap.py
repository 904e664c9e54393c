"""IEMOCAP: labels from the evaluation files, sessions as folds."""

import pytest

from tests.cli.manifest.reading import read_split

HEADING = "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n"
EMOTIONS = ("neu", "exc", "hap", "ang", "sad", "fru", "xxx")


@pytest.fixture
def iemocap(audio, tmp_path):
    for session in range(1, 6):
        dialog = f"Ses0{session}F_script01_1b"
        folder = tmp_path / "data" / f"Session{session}" / "dialog" / "EmoEvaluation"
        folder.mkdir(parents=True)
        lines = [HEADING]
        for number, emotion in enumerate(EMOTIONS):
            turn = f"{dialog}_{'FM'[number % 2]}{number:03d}"
            audio(f"Session{session}/sentences/wav/{dialog}/{turn}.wav")
            lines.append(f"[{number}.2901 - {number}.9]\t{turn}\t{emotion}\t[2.5000, 2.5000, 2.5000]\n")
            lines.append("C-E2:\tNeutral;\t()\nA-E3:\tval 3; act 2; dom  2;\t()\n\n")
        (folder / f"{dialog}.txt").write_text("".join(lines))
        (folder / f"._{dialog}.txt").write_bytes(b"\x00\x05\x16\x07")  # of a Mac


@pytest.mark.usefixtures("iemocap")
def test_iemocap__four_classes_and_sessions_as_folds(run, tmp_path):
    code, text = run("iemocap", "{data}", "--out", "{out}")
    assert code == 0, text
    prefix = "Session2/sentences/wav/Ses02F_script01_1b/Ses02F_script01_1b"
    expected = [("F000", "neutral"), ("M001", "happy"), ("F002", "happy"), ("M003", "angry"), ("F004", "sad")]
    assert read_split(tmp_path / "out" / "fold2", "eval") == {f"{prefix}_{t}.wav": (name,) for t, name in expected}
    train = read_split(tmp_path / "out" / "fold2")
    assert len(train) == 20 and not any(path.startswith("Session2/") for path in train)
    assert "10 other emotion" in text
    assert "fru; left out" in (tmp_path / "out" / "report.txt").read_text()
    assert "fold5/eval: 5 clips, but IEMOCAP is published with 1,241" in text


@pytest.mark.usefixtures("iemocap")
def test_iemocap__speakers_of_a_session_can_be_held_out_whole(run, tmp_path):
    code, text = run("iemocap", "{data}", "--out", "{out}", "--hold-out", "valid=0.2", "--group-by", "column:speaker")
    assert code == 0, text
    train, valid = (read_split(tmp_path / "out" / "fold1", split) for split in ("train", "valid"))
    speakers = [{(path[7], path.rsplit("_", 1)[1][0]) for path in split} for split in (train, valid)]
    assert len(train) + len(valid) == 20 and not speakers[0] & speakers[1]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            "[1.0 - 2.0]\tSes03F_script01_1b_F009\tglad\t[1, 1, 1]",
            "'glad' is no emotion of IEMOCAP, expected one of",
        ),
        ("[1.0 - 2.0]\tSes03F_impro01_F009\tneu\t[1, 1, 1]", "expected `[start - end]<TAB>Ses03F_script01_1b_F000"),
        ("[1.0 - 2.0] Ses03F_script01_1b_F009 neu", "expected `[start - end]<TAB>"),
    ],
)
@pytest.mark.usefixtures("iemocap")
def test_iemocap__a_line_of_another_form_is_refused(run, tmp_path, wrong, message):
    file = tmp_path / "data" / "Session3" / "dialog" / "EmoEvaluation" / "Ses03F_script01_1b.txt"
    file.write_text(HEADING + wrong + "\n")
    code, text = run("iemocap", "{data}", "--out", "{out}")
    assert code == 1 and "Ses03F_script01_1b.txt:3: " in text and message in text


@pytest.mark.usefixtures("iemocap")
def test_iemocap__a_missing_session_is_refused(run, tmp_path):
    (tmp_path / "data" / "Session4").rename(tmp_path / "data" / "Session_four")
    code, text = run("iemocap", "{data}", "--out", "{out}")
    assert code == 1 and "not the IEMOCAP folder, it lacks Session4/dialog/EmoEvaluation" in text
