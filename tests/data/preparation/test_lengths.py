"""The distribution of lengths."""

import numpy as np
import pytest

from ASDA.data.preparation.lengths import LengthDistribution


def test_lengths__quantiles_are_those_of_the_sorted_lengths():
    lengths_s = np.random.default_rng(0).integers(1, 3_000, 997) / 100
    found = LengthDistribution()
    for length_s in lengths_s:
        found.add(length_s)
    assert len(found) == 997
    for share in (0.0, 0.25, 0.5, 0.9, 1.0):
        expected = np.quantile(lengths_s, share, method="inverted_cdf")
        assert found.quantile_s(share) == pytest.approx(expected)


def test_lengths__parts_add_up_and_survive_json():
    one, other, whole = LengthDistribution(), LengthDistribution(), LengthDistribution()
    for number in range(40):
        (one if number % 3 else other).add(number / 7)
        whole.add(number / 7)
    assert one.merge(other) == whole
    assert LengthDistribution.from_dict(whole.to_dict()) == whole
    assert LengthDistribution().summary() == ""
