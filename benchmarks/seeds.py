"""Results that differ by the seed alone: their mean, their spread, and whether they tell two things apart."""

from __future__ import annotations

import statistics

# Two-sided 95 % of Student's t by degrees of freedom, for means over a few seeds.
_STUDENT_T = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}


def percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def mean_and_deviation(shares: list[float]) -> str:
    if len(shares) == 1:
        return percent(shares[0])
    return f"{100 * statistics.fmean(shares):.1f} ± {100 * statistics.stdev(shares):.1f} %"


def mean_and_interval(shares: list[float]) -> str:
    """The mean and its 95 % interval."""
    if len(shares) == 1:
        return percent(shares[0])
    low, high = interval(shares)
    return f"{100 * statistics.fmean(shares):.1f} ({100 * low:.1f} to {100 * high:.1f}) %"


def interval(numbers: list[float]) -> tuple[float, float]:
    """The 95 % interval of the mean of numbers from as many seeds."""
    mean = statistics.fmean(numbers)
    half = _STUDENT_T[len(numbers) - 1] * statistics.stdev(numbers) / len(numbers) ** 0.5
    return mean - half, mean + half


def compared(what: str, before: list[float], after: list[float]) -> str:
    """A sentence: what is gained seed by seed, and whether the seeds tell it from nothing."""
    gains = [100 * (b - a) for a, b in zip(before, after, strict=True)]
    sentence = f"* {what}: {statistics.fmean(gains):+.1f} points"
    if len(gains) < 2:
        return f"{sentence}, by one seed."
    low, high = interval(gains)
    told = "" if low > 0 or high < 0 else ", which includes 0: these seeds do not tell it from nothing"
    return f"{sentence}, 95 % interval {low:+.1f} to {high:+.1f} over {len(gains)} seeds{told}."
