"""GTZAN: the fault-filtered lists, or a random division that says so; a file that is no recording."""

import pytest

from ASDA.data.corpora.corpus import GTZAN
from ASDA.data.corpora.tables import official_table
from tests.cli.manifest.reading import read_split

GENRES = official_table(GTZAN).mids


@pytest.fixture
def gtzan(audio, tmp_path):
    """Ten clips of each genre; one of jazz is no recording, as in the common copy."""
    for genre in GENRES:
        for number in range(10):
            audio(f"genres/{genre}/{genre}.{number:05d}.wav")
    (tmp_path / "data/genres/jazz/jazz.00004.wav").write_bytes(b"\x00" * 1000)
    return tmp_path / "data"


@pytest.fixture
def lists(gtzan):
    for name, numbers in (("train", (0, 1, 4)), ("valid", (2,)), ("test", (3,))):
        lines = [f"{genre}/{genre}.{number:05d}.wav\n" for genre in GENRES for number in numbers]
        (gtzan / f"{name}_filtered.txt").write_text("".join(lines))
    return gtzan


def test_gtzan__fault_filtered_lists(lists, run, tmp_path):
    code, text = run("gtzan", "{data}", "--out", "{out}")
    assert code == 0, text
    assert read_split(tmp_path / "out", "valid") == {f"{genre}/{genre}.00002.wav": (genre,) for genre in GENRES}
    assert len(read_split(tmp_path / "out")) == 29 and len(read_split(tmp_path / "out", "eval")) == 10
    assert "left out: jazz/jazz.00004.wav: unreadable" in text
    assert "train: 29 clips, but GTZAN is published with 443" in text
    assert "at random" not in text and (lists / "genres").is_dir()


def test_gtzan__lists_elsewhere_and_files_of_another_ending(audio, run, tmp_path):
    for genre in GENRES:
        for number in range(3):
            audio(f"genres_original/{genre}/{genre}.{number:05d}.au")
    (tmp_path / "lists").mkdir()
    for number, name in enumerate(("train", "valid", "test")):
        lines = "".join(f"{genre}/{genre}.{number:05d}.wav\n" for genre in GENRES)
        (tmp_path / "lists" / f"{name}_filtered.txt").write_text(lines)
    code, text = run("gtzan", "{data}", "--out", "{out}", "--lists", tmp_path / "lists")
    assert code == 0, text
    assert read_split(tmp_path / "out", "eval") == {f"{genre}/{genre}.00002.au": (genre,) for genre in GENRES}


@pytest.mark.usefixtures("gtzan")
def test_gtzan__a_random_division_is_stratified_repeatable_and_said(run, tmp_path):
    code, text = run("gtzan", "{data}", "--out", "{out}")
    assert code == 0, text
    assert "divided at random (seed 1)" in text and "published with" not in text
    assert "left out: jazz/jazz.00004.wav: unreadable" in text
    splits = {name: read_split(tmp_path / "out", name) for name in ("train", "valid", "eval")}
    assert sum(map(len, splits.values())) == 99
    for name, count in (("train", 8), ("valid", 1), ("eval", 1)):
        for genre in set(GENRES) - {"jazz"}:
            assert sum(labels == (genre,) for labels in splits[name].values()) == count
    assert run("gtzan", "{data}", "--out", tmp_path / "again")[0] == 0
    assert read_split(tmp_path / "again", "eval") == splits["eval"]
    assert run("gtzan", "{data}", "--out", tmp_path / "other", "--seed", "2")[0] == 0
    assert read_split(tmp_path / "other", "eval") != splits["eval"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "jaz/jazz.00001.wav",
            "valid_filtered.txt:11: expected `genre/genre.00000.wav` of one of its genres, got 'jaz/",
        ),
        ("jazz.00001.wav", "valid_filtered.txt:11: expected"),
        ("rock/rock.00003.wav", "test_filtered.txt: rock/rock.00003.wav stands in valid_filtered.txt already"),
    ],
)
def test_gtzan__lists_that_cannot_be_used_are_refused(lists, run, line, message):
    with (lists / "valid_filtered.txt").open("a") as file:
        file.write(line + "\n")
    code, text = run("gtzan", "{data}", "--out", "{out}")
    assert code == 1 and message in text


def test_gtzan__a_missing_list_or_genre_is_refused(lists, run):
    (lists / "test_filtered.txt").unlink()
    code, text = run("gtzan", "{data}", "--out", "{out}")
    assert code == 1 and "test_filtered.txt: no such file" in text
    (lists / "genres" / "blues").rename(lists / "genres" / "blue")
    code, text = run("gtzan", "{data}", "--out", "{out}")
    assert code == 1 and "no folder blues; expected one for each genre, found blue, classical" in text


def test_gtzan__a_listed_clip_that_is_not_there_is_named(lists, run):
    (lists / "genres/rock/rock.00003.wav").unlink()
    code, text = run("gtzan", "{data}", "--out", "{out}")
    assert code == 0 and "left out: rock/rock.00003.wav: missing" in text
