"""Which folder names a clip's class, and which names are doubtful."""

import pytest

from ASDA.data.preparation.folder_labels import doubts, names_by_level, other_levels
from ASDA.data.preparation.folder_levels import folder_at, folders_of, parse_level


@pytest.mark.parametrize(
    ("text", "level"), [("1", 1), ("3", 3), ("-1", -1), ("-2", -2), ("outermost", 1), ("innermost", -1)]
)
def test_parse_level__counts_from_either_end(text, level):
    assert parse_level(text) == level


@pytest.mark.parametrize("text", ["0", "", "deep", "1.5"])
def test_parse_level__refuses_what_is_no_level(text):
    with pytest.raises(ValueError, match="expected outermost"):
        parse_level(text)


def test_folder_at__levels_count_folders_and_neither_splits_nor_containers():
    folders = folders_of("train/cs/shard.TAR/anna/monday/1.wav", skipped=1)
    assert folders == ("cs", "anna", "monday")
    assert [folder_at(folders, level) for level in (1, 2, 3, 4)] == ["cs", "anna", "monday", None]
    assert [folder_at(folders, level) for level in (-1, -2, -3, -4)] == ["monday", "anna", "cs", None]
    assert folders_of("1.wav") == () and folder_at((), 1) is None


def test_other_levels__names_those_that_would_tell_something_else_apart():
    names = [
        f"corpus/{language}/{speaker}/{clip}.wav" for language in ("cs", "de") for speaker in "abcde" for clip in "12"
    ]
    assert names_by_level(names, 0) == {1: ["corpus"], 2: ["cs", "de"], 3: ["a", "b", "c", "d", "e"]}
    assert other_levels(names, 1, 0) == (
        "--label-level 2 has 2 names (cs, de), --label-level 3 has 5 names (a, b, c, ...)"
    )
    assert other_levels(names, -1, 0) == "--label-level 2 has 2 names (cs, de)"
    assert other_levels(["x/1.wav", "y/2.wav"], 1, 0) == ""


@pytest.mark.parametrize(
    "name",
    ["1089", "2019", "2019-03-01", "-5", "1.5", "p225", "id10270", "spk_01", "Speaker 3", "session-2", "year1999"],
)
def test_doubts__of_names_that_look_like_numbers(name):
    (warning,) = doubts([name, "dog"], split_folders=False)
    assert f"1 of the 2 class names look like numbers ({name})" in warning and "--label-level" in warning


@pytest.mark.parametrize(
    "name",
    [
        "train",
        "Test",
        "valid",
        "validation",
        "dev",
        "eval",
        "fold1",
        "fold_10",
        "split-2",
        "train-clean-100",
        "test_set",
    ]
    + ["training", "dev-other", "part 3", "testset"],
)
def test_doubts__of_names_that_look_like_splits(name):
    (warning,) = doubts(["dog", name], split_folders=False)
    assert (
        f"class names that look like splits: {name};" in warning and "--split-folders takes them as splits" in warning
    )
    (warning,) = doubts(["dog", name], split_folders=True)
    assert "--label-level names another folder" in warning


@pytest.mark.parametrize(
    "name",
    ["dog", "class_a", "train horn", "trainer", "testify", "device", "folder", "4x4 car", "mp3", "rain, light", "é"],
)
def test_doubts__of_no_other_name(name):
    assert doubts([name], split_folders=False) == []


@pytest.mark.parametrize("names", [("Dog", "dog"), ("caf\u00e9", "cafe\u0301")])
def test_doubts__of_names_that_differ_in_spelling_only(names):
    (warning,) = doubts([*names, "cat"], split_folders=False)
    assert f"differ in spelling only: {names[0]!r} and {names[1]!r};" in warning
