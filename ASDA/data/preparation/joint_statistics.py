"""Statistics and lengths of several folders that a run draws its clips from, each in the share that it is heard."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce

from .cached_statistics import SplitStatistics
from .lengths import LengthDistribution
from .statistics import FeatureStatistics

_RESOLUTION = 1_000_000
"""Clips that a distribution stands for at least, so that shares are rounded finely enough."""


@dataclass(frozen=True)
class JointStatistics(SplitStatistics):
    """Of the clips of several folders, as one."""

    num_folders: int = 0

    def describe(self) -> str:
        return (
            f"{self.statistics.overrides}: of {self.num_sampled:,} clips of {self.num_folders} folders, by their shares"
        )


def joint_lengths(lengths: Sequence[LengthDistribution], shares: Sequence[float]) -> LengthDistribution:
    """One distribution in which each has its share, whatever its number of clips.

    Raises:
        ValueError: a distribution without a clip.
    """
    total = max(_RESOLUTION, sum(map(len, lengths)))
    joint: Counter = Counter()
    for distribution, share in zip(lengths, shares, strict=True):
        if not distribution.counts:
            raise ValueError("there is no clip")
        for length, count in distribution.counts.items():
            joint[length] += max(1, round(total * share * count / len(distribution)))
    return LengthDistribution(joint)


def joint_statistics(found: Sequence[SplitStatistics], shares: Sequence[float]) -> SplitStatistics:
    """One for the run: moments and lengths of the clips in the share that each folder has of the drawn ones."""
    if len(found) == 1:
        return found[0]
    moments = [_scaled(each.statistics, share) for each, share in zip(found, shares, strict=True)]
    merged = reduce(FeatureStatistics.merge, moments)
    return JointStatistics(
        statistics=replace(merged, lengths=joint_lengths([each.lengths for each in found], shares)),
        num_listed=sum(each.num_listed for each in found),
        num_sampled=sum(each.num_sampled for each in found),
        file=None,
        was_kept=all(each.was_kept for each in found),
        num_folders=len(found),
    )


def _scaled(statistics: FeatureStatistics, share: float) -> FeatureStatistics:
    """The same moments, as if of more or fewer clips."""
    factor = _RESOLUTION * share / statistics.num_clips
    num_values = max(1, round(statistics.num_values * factor))
    return replace(
        statistics,
        num_values=num_values,
        sum_of_squares=statistics.sum_of_squares * num_values / statistics.num_values,
        lengths=LengthDistribution(),
    )
