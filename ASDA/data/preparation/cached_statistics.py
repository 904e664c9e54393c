"""A split's statistics and lengths, taken once and kept beside its manifest.

`train.stats.json` is a file of feature statistics as `asda-manifest stats --out` writes it, with what it was made from:
the manifest's contents, sizes and dates of the clips' files, the front end. It is used as long as all of that is the
same. Of a large split a sample is read, so that it takes no longer than of a small one.
"""

from __future__ import annotations

import json
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...audio.front_end import FrontEnd
from ..manifest import ManifestError
from .lengths import LengthDistribution
from .sample import ManifestSample
from .statistics import FeatureStatistics, feature_statistics

SUFFIX = ".stats.json"
MAX_CLIPS = 2000
FEATURES_VERSION = 1
"""Raise it when the same front end makes other values of a clip, so that what was kept is taken anew."""

_MADE_FROM = "made_from"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SplitStatistics:
    """What is known about the clips of a split.

    Attributes:
        statistics: of the features and lengths of the clips that were read.
        num_listed: clips of the manifest.
        num_sampled: how many of them were to be read.
        file: where it is kept; None if it cannot be.
        was_kept: whether it was read from there.
    """

    statistics: FeatureStatistics
    num_listed: int
    num_sampled: int
    file: Path | None
    was_kept: bool

    @property
    def lengths(self) -> LengthDistribution:
        """Of the clips whose header can be read, which `cached_lengths` gives too."""
        return self.statistics.lengths

    def describe(self) -> str:
        """Where the numbers come from, in one line."""
        number = f"{self.statistics.num_clips:,} clips"
        if self.num_sampled < self.num_listed:
            number = f"{self.statistics.num_clips:,} clips, drawn from {self.num_listed:,}"
        if unreadable := self.num_sampled - self.statistics.num_clips:
            number += f" ({unreadable:,} more could not be read)"
        how = f"read from {self.file}" if self.was_kept else "taken now"
        if self.file is not None and not self.was_kept:
            how += f" and kept in {self.file}"
        return f"{self.statistics.overrides}: of {number}; {how}"


def cached_statistics(
    data: str | os.PathLike,
    front_end: FrontEnd,
    split: str = "train",
    *,
    max_clips: int = MAX_CLIPS,
    max_bad_fraction: float = 0.01,
    h5_sample_rate_hz: int = 32_000,
    workers: int = 0,
) -> SplitStatistics:
    """Statistics of a split's features: those beside its manifest if they still hold, else taken and kept there.

    Where the folder cannot be written to, a warning says so, and the next call takes them again.

    Args:
        data: the folder of the manifests, `task.data`.
        front_end: what a run hears; its normalisation does not matter.
        max_clips: of a larger split so many clips are read, always the same ones.
        max_bad_fraction: share of these clips that may be unreadable; they are left out.

    Raises:
        ManifestError: no such manifest, too many unreadable clips, nothing to take statistics of.
    """
    sample = ManifestSample.of(Path(data) / f"{split}.tsv", max_clips)
    file = sample.manifest.file.with_suffix(SUFFIX)
    made_from = {**_made_from(sample, h5_sample_rate_hz), "front_end": _without_normalisation(front_end)}
    kept = _kept(file, made_from)
    if kept is not None:
        return SplitStatistics(kept, len(sample.manifest), len(sample.rows), file, was_kept=True)
    statistics, _ = feature_statistics(
        sample.manifest,
        target_length_frames=front_end.target_length_frames,
        workers=workers,
        max_bad_fraction=max_bad_fraction,
        h5_sample_rate_hz=h5_sample_rate_hz,
        rows=sample.rows,
        front_end=front_end,
    )
    statistics.require_usable(str(sample.manifest.file))
    is_kept = _keep(file, statistics, made_from)
    return SplitStatistics(
        statistics, len(sample.manifest), len(sample.rows), file if is_kept else None, was_kept=False
    )


def cached_lengths(
    data: str | os.PathLike,
    split: str = "train",
    *,
    max_clips: int = MAX_CLIPS,
    max_bad_fraction: float = 0.01,
    h5_sample_rate_hz: int = 32_000,
    workers: int = 0,
) -> LengthDistribution:
    """Lengths of the same clips, to choose a window before statistics can be taken with it.

    Those that `cached_statistics` has kept, whatever its window; else only headers are read, and nothing is kept.

    Raises:
        ManifestError: no such manifest, too many unreadable clips.
    """
    sample = ManifestSample.of(Path(data) / f"{split}.tsv", max_clips)
    kept = _kept(sample.manifest.file.with_suffix(SUFFIX), _made_from(sample, h5_sample_rate_hz))
    return kept.lengths if kept is not None else sample.read_lengths(max_bad_fraction, h5_sample_rate_hz, workers)


def is_cached(file: Path) -> bool:
    """Whether a file is what `cached_statistics` keeps, and not somebody's own statistics."""
    return _MADE_FROM in (_read_json(file) or {})


def _without_normalisation(front_end: FrontEnd) -> dict[str, Any]:
    return {name: value for name, value in front_end.to_dict().items() if name not in ("norm_mean", "norm_std")}


def _made_from(sample: ManifestSample, h5_sample_rate_hz: int) -> dict[str, Any]:
    """What the clips' lengths and features depend on, but for the front end."""
    return {
        "version": FEATURES_VERSION,
        "manifest": sample.digest_of_manifest(),
        "files": sample.digest_of_files(),
        "num_listed": len(sample.manifest),
        "num_sampled": len(sample.rows),
        "h5_sample_rate_hz": h5_sample_rate_hz,
    }


def _kept(file: Path, made_from: dict[str, Any]) -> FeatureStatistics | None:
    """The statistics that are there, if they were made from this (and maybe more)."""
    found = _read_json(file)
    if found is None or not isinstance(known := found.get(_MADE_FROM), dict):
        return None
    if any(known.get(name) != value for name, value in made_from.items()):
        return None
    try:
        statistics = FeatureStatistics.read(file)
        statistics.require_usable(str(file))
    except ManifestError:  # edited
        return None
    return statistics if len(statistics.lengths) >= statistics.num_clips else None


def _keep(file: Path, statistics: FeatureStatistics, made_from: dict[str, Any]) -> bool:
    """Writes the file; returns whether that was possible."""
    if file.exists() and not is_cached(file):
        logger.warning("%s: not written by a run, so it stays; each run takes its statistics anew", file)
        return False
    try:
        statistics.write(file, {_MADE_FROM: made_from})
    except OSError as error:
        logger.warning("%s: cannot be written (%s); each run takes its statistics anew", file, error.strerror or error)
        return False
    return True


def _read_json(file: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
