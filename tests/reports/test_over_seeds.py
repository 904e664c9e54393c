"""What a few seeds tell, in words and intervals."""

import pytest

from ASDA.reports import over_seeds


def test_over_seeds__says_where_seeds_do_not_tell():
    assert over_seeds.interval([1.0, 2.0, 3.0]) == pytest.approx((2 - 4.3027 / 3**0.5, 2 + 4.3027 / 3**0.5), abs=1e-4)
    told = over_seeds.compared("Probe", [0.5, 0.6, 0.7], [0.6, 0.71, 0.8])
    assert told == "* Probe: +10.3 points, 95 % interval +8.9 to +11.8 over 3 seeds."
    vague = over_seeds.compared("Probe", [0.5, 0.6, 0.7], [0.6, 0.6, 0.7])
    assert vague.startswith("* Probe: +3.3 points, 95 % interval -11.0 to +17.7 over 3 seeds, which includes 0: these")
    assert over_seeds.compared("Probe", [0.5], [0.4]) == "* Probe: -10.0 points, by one seed."


def test_over_seeds__intervals_of_two_means():
    assert over_seeds.mean_and_interval([0.1, 0.2, 0.3]) == "20.0 % (0.0 to 44.8)"  # from -4.8, which is no share
    assert over_seeds.mean_and_interval([0.125]) == "12.5 %"
    assert over_seeds.overlap([0.1, 0.2, 0.3], [0.4, 0.4, 0.4])
    assert not over_seeds.overlap([0.1, 0.2, 0.3], [0.45, 0.45, 0.45])


def test_over_seeds__pairs_may_be_folds():
    assert over_seeds.gain_and_interval([0.5, 0.6, 0.7], [0.6, 0.71, 0.8]) == "+10.3 (+8.9 to +11.8)"
    assert over_seeds.gain_and_interval([0.5], [0.4]) == "-10.0"
    vague = over_seeds.compared("AAT", [0.5, 0.6, 0.7], [0.6, 0.6, 0.7], "folds")
    assert vague.endswith("over 3 folds, which includes 0: these folds do not tell it from nothing.")
    assert over_seeds.compared("AAT", [0.5], [0.4], "folds").endswith("by one fold.")
