"""Each wrong value of a checkpoint is one line with file, key, expected and found value."""

import pytest
import torch

from ASDA.checkpoints import validation
from ASDA.checkpoints.files import CheckpointError

NAN = float("nan")
RIGHT = [
    ("expect_mapping", [{"a": 1}], {}),
    ("expect_text", ["word"], {}),
    ("expect_word", ["cls", ("cls", "mean")], {}),
    ("expect_word", [None, ("cls", None)], {}),
    ("expect_flag", [False], {}),
    ("expect_flag", [None], {"optional": True}),
    ("expect_number", [1.5], {"low": 1.5, "high": 1.5}),
    ("expect_number", [3], {"above": 2, "whole": True}),
    ("expect_number", [10**400], {}),
    ("expect_number", [None], {"optional": True}),
    ("expect_texts", [["a", "b"]], {"count": 2}),
    ("expect_texts", [[]], {"count": 2}),
    ("expect_equal", [0.1 + 0.2, 0.3, "so"], {}),
    ("expect_tensors", [{"w": torch.ones(2)}], {}),
    ("expect_shape", [torch.ones(2, 3), (2, None)], {}),
]
WRONG = [
    ("expect_mapping", [[1]], {}, "a table, found [1]"),
    ("expect_mapping", [{1: 2}], {}, "names as keys, found 1"),
    ("expect_keys", [{"dpeth": 2}, ("depth", "heads")], {}, "no other keys than depth, heads, found 'dpeth'"),
    ("expect_text", [5], {}, "a text, found 5"),
    ("expect_word", ["max", ("cls", "mean")], {}, "one of cls, mean, found 'max'"),
    ("expect_word", [{}, ("cls", None)], {}, "one of cls, null, found an empty table"),
    ("expect_word", [True, (1, 2)], {}, "one of 1, 2, found True"),
    ("expect_flag", [0], {}, "true or false, found 0"),
    ("expect_flag", ["yes"], {"optional": True}, "true, false or null, found 'yes'"),
    ("expect_number", ["12"], {}, "a finite number, found '12'"),
    ("expect_number", [True], {}, "a finite number, found True"),
    ("expect_number", [NAN], {"above": 0}, "a finite number above 0, found nan"),
    ("expect_number", [float("inf")], {}, "a finite number, found inf"),
    ("expect_number", [2.0], {"whole": True}, "a whole number, found 2.0"),
    ("expect_number", [0], {"low": 1, "high": 9}, "a finite number of at least 1 and of at most 9, found 0"),
    ("expect_number", [0], {"above": 0, "optional": True}, "a finite number above 0 or null, found 0"),
    ("expect_number", [None], {}, "a finite number, found nothing (null)"),
    ("expect_texts", ["abc"], {}, "a list of texts, found 'abc'"),
    ("expect_texts", [["a", 1]], {}, "a list of texts, found ['a', 1]"),
    ("expect_texts", [["a"] * 3], {"count": 2}, "2 texts or none, found 3"),
    ("expect_equal", [3, 2, "as the tensors have it"], {}, "2, as the tensors have it, found 3"),
    ("expect_equal", [True, 1, "so"], {}, "1, so, found True"),
    ("expect_tensors", [{"w": 5}], {}, "a tensor, found 5"),
    ("expect_shape", [torch.ones(2, 3), (None, 2)], {}, "a tensor of shape (any, 2), found a tensor of shape (2, 3)"),
    ("expect_shape", [torch.ones(2), (2, 1)], {}, "a tensor of shape (2, 1), found a tensor of shape (2,)"),
    ("expect_shape", [[1, 2], (2,)], {}, "a tensor of shape (2), found [1, 2]"),
    ("expect_shape", [torch.ones(2, dtype=torch.int64), (2,)], {}, "floating-point numbers, found torch.int64"),
    ("expect_texts", [[1] * 1000], {}, "a list of texts, found a list of 1000"),
    ("expect_number", ["line\n" * 100], {}, "a finite number, found 'line"),
]


@pytest.mark.parametrize(("name", "arguments", "options"), RIGHT)
def test_validation__gives_right_values_back(name, arguments, options):
    assert getattr(validation, name)("f.json", "a.b", *arguments, **options) is not NotImplemented


@pytest.mark.parametrize(("name", "arguments", "options", "message"), WRONG)
def test_validation__one_line_about_wrong_ones(name, arguments, options, message):
    with pytest.raises(CheckpointError) as caught:
        getattr(validation, name)("f.json", "a.b", *arguments, **options)
    text = str(caught.value)
    assert text.startswith("f.json: a.b") and f": expected {message}" in text.replace(": a.b.w:", ": a.b:")
    assert "\n" not in text and len(text) < 250


def test_expect_key__names_the_place_of_a_missing_one():
    assert validation.expect_key("f", "", {"a": None}, "a") is None
    for key, place in (("", "depth"), ("encoder", "encoder.depth")):
        with pytest.raises(CheckpointError, match=f"^f: {place}: expected a value, found a table with the keys width"):
            validation.expect_key("f", key, {"width": 3}, "depth")
    with pytest.raises(CheckpointError, match="^f: the contents: expected a table, found 3"):
        validation.expect_key("f", "", 3, "depth")
