"""Which clips belong together, by each of the rules."""

import pytest

from ASDA.data.manifest import ManifestError
from ASDA.data.preparation.grouping import ByFolder, grouped, parse_grouping, shared_groups
from ASDA.data.preparation.plan import PlannedClip


def groups(grouping, *names, **options):
    return [clip.group for clip in grouped([PlannedClip(name, **options) for name in names], grouping)]


@pytest.mark.parametrize(
    ("grouping", "expected"),
    [
        (ByFolder(), "cs"),
        (ByFolder(label_level=1), "anna"),
        (ByFolder(label_level=2), "cs"),
        (ByFolder(label_level=-1), "cs"),
        (ByFolder(skipped=1), "anna"),
        (ByFolder(skipped=1, label_level=1), "monday"),
        (parse_grouping("folder:3"), "monday"),
        (parse_grouping("folder:-2"), "anna"),
        (parse_grouping("folder:innermost"), "monday"),
        (parse_grouping("regex:ann"), "ann"),
        (parse_grouping("regex:([a-z]+)/([a-z]+)/[0-9]"), "anna"),
        (parse_grouping("regex:(tuesday)|(monday)"), "monday"),
    ],
)
def test_grouped__by_folder_and_by_pattern(grouping, expected):
    assert groups(grouping, "cs/anna/monday/1.wav") == [expected]


def test_grouped__a_folder_is_one_group_wherever_it_lies():
    found = groups(ByFolder(label_level=1), "dog/anna/1.wav", "cat/anna/2.wav", "dog/ben/3.wav")
    assert found == ["anna", "anna", "ben"]


def test_grouped__by_column():
    assert groups(parse_grouping("column:speaker"), "a.wav", columns={"file": "a", "speaker": " 7 "}) == ["7"]


def test_grouped__looks_at_the_name_not_at_the_row():
    clip = PlannedClip("x.zip:40:99", name="x.zip/anna/1.wav")
    assert grouped([clip], ByFolder())[0].group == "anna"


@pytest.mark.parametrize("text", ["folder", "folder:2", "column:a:b", "regex:^(.)"])
def test_parse_grouping__takes_each_form(text):
    parse_grouping(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("speaker", "expected folder, folder:N, column:NAME or regex:PATTERN, got 'speaker'"),
        ("", "expected folder"),
        ("folder:", "expected folder"),
        ("column:", "expected folder"),
        ("regex:", "expected folder"),
        ("folder:0", "expected outermost"),
        ("regex:(", "'\\(' is no regular expression"),
    ],
)
def test_parse_grouping__refuses_what_is_no_rule(text, message):
    with pytest.raises(ValueError, match=message):
        parse_grouping(text)


@pytest.mark.parametrize(
    ("text", "columns", "message"),
    [
        ("folder", None, "1 of the 2 clips belong to no group, the first is 'b.wav': it lies in no folder"),
        ("folder:2", None, "2 of the 2 clips .* 'x/a.wav': it has no 2nd folder"),
        ("regex:^x", None, "1 of the 2 clips .* 'b.wav': the pattern '\\^x' does not match it"),
        ("column:who", None, "needs clips that are listed in a csv file"),
        ("column:who", {"file": "a", "label": "b"}, "no column 'who' to group by, only file, label"),
        ("column:who", {"who": " "}, "2 of the 2 clips .*: the table that lists it says nothing in the column 'who'"),
    ],
)
def test_grouped__clips_without_a_group_are_refused(text, columns, message):
    with pytest.raises(ManifestError, match=message):
        groups(parse_grouping(text), "x/a.wav", "b.wav", columns=columns)


def test_shared_groups__of_a_given_division_but_not_of_other_folds():
    def split(*speakers):
        return [PlannedClip(f"{speaker}.wav", group=speaker) for speaker in speakers]

    assert shared_groups({"train": split("a", "b", "c"), "eval": split("d", "b", "a"), "valid": split("e")}) == [
        "2 groups are both in train and in eval, as the data set divides them: a, ..."
    ]
    assert shared_groups({"fold1/train": split("a"), "fold1/eval": split("b"), "fold2/train": split("b")}) == []
