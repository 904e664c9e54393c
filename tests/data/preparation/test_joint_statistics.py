"""Statistics of several folders: those of one that holds their clips, each as often as it is drawn."""

import numpy as np
import pytest

from ASDA.data.preparation.cached_statistics import SplitStatistics
from ASDA.data.preparation.joint_statistics import joint_lengths, joint_statistics
from ASDA.data.preparation.lengths import LengthDistribution
from ASDA.data.preparation.statistics import FeatureStatistics


def lengths(*seconds):
    distribution = LengthDistribution()
    for length in seconds:
        distribution.add(length)
    return distribution


def of_values(values, clips):
    moments = FeatureStatistics(values.size, values.mean(), ((values - values.mean()) ** 2).sum(), clips, None)
    return SplitStatistics(
        FeatureStatistics(**{**vars(moments), "lengths": lengths(*[1.0] * clips)}), 10 * clips, clips, None, False
    )


@pytest.mark.parametrize("times", [(1, 1), (3, 1), (1, 5)])
def test_statistics__are_those_of_all_clips_each_as_often_as_it_is_drawn(times):
    rng = np.random.default_rng(0)
    values = [rng.normal(-6, 2, 4000), rng.normal(1, 4, 2000)]  # 20 and 10 clips of 200 values
    everything = np.concatenate([np.tile(v, n) for v, n in zip(values, times, strict=True)])
    drawn = [20 * times[0], 10 * times[1]]
    shares = [n / sum(drawn) for n in drawn]
    joint = joint_statistics([of_values(values[0], 20), of_values(values[1], 10)], shares)
    assert joint.statistics.mean == pytest.approx(everything.mean(), rel=1e-4)
    assert joint.statistics.std == pytest.approx(everything.std(), rel=1e-4)
    assert (joint.num_listed, joint.num_sampled) == (300, 30)
    assert joint.describe().endswith(": of 30 clips of 2 folders, by their shares")


def test_statistics__of_one_folder_are_its_own():
    own = of_values(np.arange(5.0), 1)
    assert joint_statistics([own], [1.0]) is own


def test_lengths__have_the_shares_of_their_folders():
    joint = joint_lengths([lengths(*[1.0] * 99), lengths(10.0)], [0.3, 0.7])
    assert joint.counts[100] / len(joint) == pytest.approx(0.3) and joint.counts[1000] / len(joint) == pytest.approx(
        0.7
    )
    assert joint.quantile_s(0.25) == 1.0 and joint.quantile_s(0.5) == 10.0


def test_lengths__by_their_numbers_are_those_of_all_clips():
    first, second = lengths(1.0, 2.0, 2.0), lengths(3.0)
    joint, merged = joint_lengths([first, second], [0.75, 0.25]), first.merge(second)
    for length, count in merged.counts.items():
        assert joint.counts[length] / len(joint) == pytest.approx(count / 4, abs=1e-6)
