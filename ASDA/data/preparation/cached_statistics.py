"""A split's statistics and lengths, taken once and kept beside its manifest.

`train.stats.json` is a file of feature statistics as `asda-manifest stats --out` writes it, with what it was made from:
the manifest's contents, sizes and dates of the clips' files, the front end. It is used as long as all of that is the
same. Of a large split a sample is read, so that it takes seconds.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...audio.errors import AudioError
from ...audio.front_end import FrontEnd
from ...audio.spelling import existing_spelling
from ..bad_clips import BadClips
from ..containers import ClipReader, split_container
from ..manifest import Manifest, ManifestError
from ..sampling import shuffled_order
from .lengths import LengthDistribution
from .parallel import parallel_map
from .statistics import FeatureStatistics, feature_statistics

SUFFIX = ".stats.json"
MAX_CLIPS = 2000
FEATURES_VERSION = 1
"""Raise it when the same front end makes other values of a clip, so that what was kept is taken anew."""

_SAMPLE_SEED = 1
_BLOCK_BYTES = 1 << 20
_MADE_FROM = "made_from"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SplitStatistics:
    """What is known about the clips of a split.

    Attributes:
        statistics: of the features and lengths of the clips that were read.
        num_listed: clips of the manifest.
        num_sampled: how many of them were to be read.
        file: where it is kept.
        was_kept: whether it was read from there.
    """

    statistics: FeatureStatistics
    num_listed: int
    num_sampled: int
    file: Path
    was_kept: bool

    @property
    def lengths(self) -> LengthDistribution:
        """Of the clips that were read."""
        return self.statistics.lengths

    def describe(self) -> str:
        """Where the numbers come from, in one line."""
        number = f"{self.statistics.num_clips:,} clips"
        if self.num_sampled < self.num_listed:
            number = f"{self.statistics.num_clips:,} clips, drawn from {self.num_listed:,}"
        if unreadable := self.num_sampled - self.statistics.num_clips:
            number += f" ({unreadable:,} more could not be read)"
        how = "read from" if self.was_kept else "taken now; see"
        return f"{self.statistics.overrides}: of {number}; {how} {self.file}"


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
    sample = _Sample.of(data, split, max_clips, h5_sample_rate_hz)
    made_from = {**sample.made_from(), "front_end": _without_normalisation(front_end)}
    kept = sample.kept(made_from)
    if kept is not None:
        return sample.result(kept, was_kept=True)
    statistics, _ = feature_statistics(
        sample.manifest,
        target_length_frames=front_end.target_length_frames,
        workers=workers,
        max_bad_fraction=max_bad_fraction,
        h5_sample_rate_hz=h5_sample_rate_hz,
        rows=sample.rows,
        front_end=front_end,
    )
    statistics.require_usable()
    sample.keep(statistics, made_from)
    return sample.result(statistics, was_kept=False)


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
    sample = _Sample.of(data, split, max_clips, h5_sample_rate_hz)
    kept = sample.kept(sample.made_from())
    return kept.lengths if kept is not None else sample.read_lengths(max_bad_fraction, workers)


def is_cached(file: Path) -> bool:
    """Whether a file is what `cached_statistics` keeps, and not somebody's own statistics."""
    return _MADE_FROM in (_read_json(file) or {})


def _without_normalisation(front_end: FrontEnd) -> dict[str, Any]:
    return {name: value for name, value in front_end.to_dict().items() if name not in ("norm_mean", "norm_std")}


@dataclass(frozen=True)
class _Sample:
    """The clips of a manifest that are read."""

    manifest: Manifest
    rows: Sequence[int]
    file: Path
    h5_sample_rate_hz: int

    @classmethod
    def of(cls, data: str | os.PathLike, split: str, max_clips: int, h5_sample_rate_hz: int) -> _Sample:
        manifest = Manifest.read(Path(data) / f"{split}.tsv")
        rows: Sequence[int] = range(len(manifest))
        if len(manifest) > max_clips:  # at random: rows at equal distances could all be of one kind
            rows = sorted(shuffled_order(len(manifest), _SAMPLE_SEED, epoch=1)[:max_clips].tolist())
        return cls(manifest, rows, manifest.file.with_suffix(SUFFIX), h5_sample_rate_hz)

    def made_from(self) -> dict[str, Any]:
        """What the clips' lengths and features depend on, but for the front end."""
        return {
            "version": FEATURES_VERSION,
            "manifest": _digest(self.manifest.file),
            "files": self._digest_of_files(),
            "num_listed": len(self.manifest),
            "num_sampled": len(self.rows),
            "h5_sample_rate_hz": self.h5_sample_rate_hz,
        }

    def _digest_of_files(self) -> str:
        """Of sizes and dates: clips may be replaced without a change of the manifest."""
        states: dict[str, str] = {}
        digest = hashlib.blake2b(digest_size=16)
        for row in self.rows:
            file = split_container(self.manifest.path(row))[0]
            if file not in states:
                states[file] = _state(file)
            digest.update(states[file].encode())
        return digest.hexdigest()

    def kept(self, made_from: dict[str, Any]) -> FeatureStatistics | None:
        """The statistics that are there, if they were made from this (and maybe more)."""
        found = _read_json(self.file)
        if found is None or not isinstance(known := found.get(_MADE_FROM), dict):
            return None
        if any(known.get(name) != value for name, value in made_from.items()):
            return None
        try:
            statistics = FeatureStatistics.read(self.file)
            statistics.require_usable()
        except ManifestError:  # edited
            return None
        return statistics if len(statistics.lengths) == statistics.num_clips else None

    def keep(self, statistics: FeatureStatistics, made_from: dict[str, Any]) -> None:
        if self.file.exists() and not is_cached(self.file):
            logger.warning("%s: not written by a run, so it stays; each run takes its statistics anew", self.file)
            return
        try:
            statistics.write(self.file, {_MADE_FROM: made_from})
        except OSError as error:
            reason = error.strerror or error
            logger.warning("%s: cannot be written (%s); each run takes its statistics anew", self.file, reason)

    def result(self, statistics: FeatureStatistics, was_kept: bool) -> SplitStatistics:
        return SplitStatistics(statistics, len(self.manifest), len(self.rows), self.file, was_kept)

    def read_lengths(self, max_bad_fraction: float, workers: int) -> LengthDistribution:
        bad_clips, lengths = BadClips(self.manifest, max_bad_fraction, len(self.rows)), LengthDistribution()
        readers = threading.local()

        def duration_s(row: int) -> float | None:
            if not hasattr(readers, "reader"):
                readers.reader = ClipReader(h5_sample_rate_hz=self.h5_sample_rate_hz)
            try:
                return readers.reader.probe(self.manifest.path(row)).duration_s
            except AudioError as error:
                bad_clips.add(row, error)
                return None

        for seconds in parallel_map(duration_s, self.rows, workers, "lengths"):
            if seconds is not None:
                lengths.add(seconds)
        if not lengths.counts:
            raise ManifestError(f"{self.manifest.file}: none of its clips can be read")
        return lengths


def _read_json(file: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _state(file: str) -> str:
    try:
        status = os.stat(existing_spelling(file))
    except OSError:
        return "absent;"
    return f"{status.st_size} {status.st_mtime_ns};"


def _digest(file: Path) -> str:
    digest = hashlib.blake2b(digest_size=16)
    with file.open("rb") as handle:
        while block := handle.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()
