"""Recipes, overrides and hydra's flags, told apart."""

import pytest

from ASDA.launch.arguments import Arguments, quoted, split_override
from ASDA.launch.settings import LaunchError


@pytest.mark.parametrize(
    "words",
    [
        ["ESC50", "linear_probe", "a.b=1"],
        ["ESC50,linear_probe", "a.b=1"],
        ["+recipe=[ESC50,linear_probe]", "a.b=1"],
        ["a.b=1", "+recipe=['ESC50', linear_probe]"],
        ["ESC50", "a.b=1", "+recipe=linear_probe"],
        ["++recipe=ESC50", "a.b=1", "+recipe=[linear_probe,ESC50]"],
    ],
)
def test_arguments__recipes_in_any_spelling(words):
    assert Arguments.parse(words) == Arguments(("ESC50", "linear_probe"), ("a.b=1",))


@pytest.mark.parametrize("words", [["ESC50", "+size=small", "a.b=1"], ["ESC50", "a.b=1", "++size='small'"]])
def test_arguments__a_size_is_told_apart(words):
    arguments = Arguments.parse(words)
    assert arguments == Arguments(("ESC50",), ("a.b=1",), "small")
    assert arguments.without("a.b") == Arguments(("ESC50",), (), "small")


def test_arguments__overrides_are_not_flags_or_their_values():
    words = ["common.seed=23", "--cfg", "job", "+a.b=[1,2]", "~task.noise", "++c='x = y'", "hydra.run.dir=x", "word"]
    arguments = Arguments.parse(words)
    assert arguments.words == tuple(words) and arguments.recipes == ()
    assert arguments.overrides == ["common.seed=23", "+a.b=[1,2]", "~task.noise", "++c='x = y'"]
    assert arguments.names("a.b") and arguments.names("c") and not arguments.names("a")
    assert arguments.without("a.b", "c").overrides == ["common.seed=23", "~task.noise"]


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("-m", "a run of its own"),
        ("--multirun", "a run of its own"),
        ("--config-name", "CONFIG"),
        ("--config-dir=x", "CONFIG"),
        ("+recipe=A,B", '"+recipe=[A,B]"'),
    ],
)
def test_arguments__what_would_start_something_else_is_refused(word, says):
    with pytest.raises(LaunchError, match=word.split(",")[0].replace("+", r"\+")) as error:
        Arguments.parse(["a=1", word])
    assert says in str(error.value) and "\n" not in str(error.value)


def test_split_override__takes_hydras_forms():
    assert split_override("a.b=c=d") == ("", "a.b", "c=d")
    assert split_override("++a=") == ("++", "a", "")
    assert split_override("~a.b") == ("~", "a.b", None)
    assert split_override("--cfg") == ("", "", None)


@pytest.mark.parametrize("value", ["/a/b-c_1.pt", "with space", "it's", "a = b, [c] {d}", 'say "x"', "back\\", "\\'"])
def test_quoted__is_read_back_by_hydra(value):
    pytest.importorskip("hydra")
    from hydra.core.override_parser.overrides_parser import OverridesParser

    (override,) = OverridesParser.create().parse_overrides([f"key={quoted(value)}"])
    assert override.value() == value
