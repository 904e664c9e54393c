"""What do a few seeds tell? Means, intervals and comparisons over runs that differ in their seed, in words."""

from __future__ import annotations

import json
import statistics
from pathlib import Path

from scipy.special import stdtrit


def percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def mean_and_deviation(numbers: list[float]) -> str:
    """Of shares, in per cent; the deviation is the sample's."""
    if len(numbers) == 1:
        return percent(numbers[0])
    return f"{100 * statistics.fmean(numbers):.1f} ± {100 * statistics.stdev(numbers):.1f} %"


def mean_and_interval(numbers: list[float]) -> str:
    """Of shares, in per cent; the interval ends where shares end, and one seed has none."""
    if len(numbers) == 1:
        return percent(numbers[0])
    low, high = interval(numbers)
    return f"{percent(statistics.fmean(numbers))} ({100 * max(low, 0.0):.1f} to {100 * min(high, 1.0):.1f})"


def interval(numbers: list[float]) -> tuple[float, float]:
    """The 95 % interval of the mean of at least two numbers, by Student's t: they are few."""
    mean, n = statistics.fmean(numbers), len(numbers)
    half = float(stdtrit(n - 1, 0.975)) * statistics.stdev(numbers) / n**0.5
    return mean - half, mean + half


def overlap(first: list[float], second: list[float]) -> bool:
    """Whether the intervals of two means have a point in common."""
    (low, high), (other_low, other_high) = interval(first), interval(second)
    return low <= other_high and other_low <= high


def gain_and_interval(before: list[float], after: list[float]) -> str:
    """What is gained pair by pair, in points, for a table."""
    return points_and_interval([b - a for a, b in zip(before, after, strict=True)])


def points_and_interval(gains: list[float]) -> str:
    """The mean of gains, which are shares, in points, with its interval; one gain has none."""
    mean = f"{100 * statistics.fmean(gains):+.1f}"
    if len(gains) < 2:
        return mean
    low, high = interval(gains)
    return f"{mean} ({100 * low:+.1f} to {100 * high:+.1f})"


def compared(what: str, before: list[float], after: list[float], over: str = "seeds") -> str:
    """A sentence on shares: what is gained seed by seed (or fold by fold), in points, and whether they tell it from
    nothing."""
    gains = [100 * (b - a) for a, b in zip(before, after, strict=True)]
    sentence = f"* {what}: {statistics.fmean(gains):+.1f} points"
    if len(gains) < 2:
        return f"{sentence}, by one {over.removesuffix('s')}."
    low, high = interval(gains)
    told = "" if low > 0 or high < 0 else f", which includes 0: these {over} do not tell it from nothing"
    return f"{sentence}, 95 % interval {low:+.1f} to {high:+.1f} over {len(gains)} {over}{told}."


def probed(file: Path, weights: str) -> list[float]:
    """Accuracies by seed, from what ASDA.cli.probe --json wrote: of "pre-trained" or of "random" weights."""
    return [row["accuracy"] for row in json.loads(file.read_text()) if row["weights"] == weights]
