"""What the programs print is json."""

import json
import math

import pytest

from ASDA.cli._json import to_json


def test_to_json__has_null_for_what_is_not_finite():
    value = {"a": [1.5, math.nan, (math.inf, 2)], "b": {"c": -math.inf, "d": "NaN"}, "e": None}
    found = json.loads(to_json(value), parse_constant=lambda text: pytest.fail(f"{text} is not json"))
    assert found == {"a": [1.5, None, [None, 2]], "b": {"c": None, "d": "NaN"}, "e": None}
