"""Mean and standard deviation of log-mel features over a manifest: streaming, and mergeable over shards."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ...atomic import atomic_writer
from ...audio.front_end import FrontEnd
from ...audio.io import AudioError
from ..bad_clips import BadClips
from ..containers import ClipReader
from ..excerpt import excerpt_s
from ..manifest import Manifest, ManifestError
from .lengths import LengthDistribution
from .parallel import InProcesses, never, parallel_map


@dataclass(frozen=True)
class FeatureStatistics:
    """Moments of all log-mel values of some clips, before normalisation and without padding.

    Args:
        num_values: how many values went in.
        mean: their mean.
        sum_of_squares: sum of the squared deviations from the mean.
        num_clips: how many clips they came from.
        target_length_frames: frames of each clip that were used; None for all of them.
        lengths: of the whole clips, and of those whose header can be read but not their sound.
    """

    num_values: int = 0
    mean: float = 0.0
    sum_of_squares: float = 0.0
    num_clips: int = 0
    target_length_frames: int | None = None
    lengths: LengthDistribution = field(default_factory=LengthDistribution)

    @property
    def std(self) -> float:
        """Standard deviation of the values."""
        return math.sqrt(self.sum_of_squares / self.num_values) if self.num_values else math.nan

    @classmethod
    def of_frames(cls, frames: torch.Tensor, target_length_frames: int | None = None) -> FeatureStatistics:
        """Statistics of one clip's features (T, F)."""
        if frames.numel() == 0:
            return cls(num_clips=1, target_length_frames=target_length_frames)
        values = frames.double()
        mean = values.mean()
        squares = float((values - mean).square().sum())
        return cls(values.numel(), float(mean), squares, 1, target_length_frames)

    def merge(self, other: FeatureStatistics) -> FeatureStatistics:
        """Statistics of both together (the parallel formula of Chan, Golub and LeVeque, 1979).

        Raises:
            ManifestError: they were made with different clip lengths.
        """
        if self.target_length_frames != other.target_length_frames:
            both = f"{self.target_length_frames} and {other.target_length_frames}"
            raise ManifestError(f"cannot merge statistics of {both} frames per clip")
        num_values = self.num_values + other.num_values
        num_clips, lengths = self.num_clips + other.num_clips, self.lengths
        if other.lengths.counts:  # those of single clips are counted where they are read
            lengths = lengths.merge(other.lengths)
        if num_values == 0:
            return replace(self, num_clips=num_clips, lengths=lengths)
        delta = other.mean - self.mean
        return FeatureStatistics(
            num_values=num_values,
            mean=self.mean + delta * other.num_values / num_values,
            sum_of_squares=self.sum_of_squares
            + other.sum_of_squares
            + delta**2 * self.num_values * other.num_values / num_values,
            num_clips=num_clips,
            target_length_frames=self.target_length_frames,
            lengths=lengths,
        )

    def require_usable(self, source: str) -> None:
        """Refuses moments that nothing can be normalised by.

        Args:
            source: the files that they were taken of, for the message.

        Raises:
            ManifestError: no value, or values that are all the same.
        """
        if self.num_values == 0:
            raise ManifestError(f"{source}: no clip is as long as one window, so there are no features to normalise by")
        if self.std == 0:
            raise ManifestError(
                f"{source}: all features have one value, as those of silence do; there is nothing to normalise by"
            )

    @property
    def overrides(self) -> str:
        """The settings of a run, to paste into its command."""
        return f"task.norm_mean={self.mean:.4f} task.norm_std={self.std:.4f}"

    def write(self, file: str | os.PathLike, more: Mapping[str, Any] | None = None) -> None:
        """Writes a json file: the fields, `norm_mean` and `norm_std` for people, `lengths` in steps of 10 ms.

        Args:
            more: what else to write, which `read` passes over.
        """
        values: dict[str, Any] = {"norm_mean": self.mean, "norm_std": self.std}
        values |= {entry.name: getattr(self, entry.name) for entry in fields(self)}
        values["lengths"] = self.lengths.to_dict()
        values |= more or {}
        with atomic_writer(file) as handle:
            json.dump(values, handle, indent=1, allow_nan=False)
            handle.write("\n")

    @classmethod
    def read(cls, file: str | os.PathLike) -> FeatureStatistics:
        """Reads what `write` wrote.

        Raises:
            ManifestError: the file is missing or holds something else.
        """
        try:
            values = json.loads(Path(file).read_text(encoding="utf-8"))
            found = cls(
                **{entry.name: values[entry.name] for entry in fields(cls) if entry.name != "lengths"},
                lengths=LengthDistribution.from_dict(values.get("lengths", {})),  # earlier files have none
            )
            whole = (found.num_values, found.num_clips)
            if not all(type(number) is int and number >= 0 for number in whole):
                raise ValueError(f"num_values and num_clips are {whole}, expected whole numbers")
            if not (math.isfinite(found.mean) and math.isfinite(found.sum_of_squares) and found.sum_of_squares >= 0):
                raise ValueError(f"mean {found.mean} and sum_of_squares {found.sum_of_squares} are no finite moments")
            return found
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ManifestError(f"{file}: not a file of feature statistics ({error!r})") from error


def feature_statistics(
    manifest: Manifest,
    target_length_frames: int | None = None,
    shard: tuple[int, int] = (1, 1),
    workers: int = 0,
    max_bad_fraction: float = 0.01,
    h5_sample_rate_hz: int = 32_000,
    rows: Sequence[int] | None = None,
    front_end: FrontEnd | None = None,
    in_processes: InProcesses = never,
) -> tuple[FeatureStatistics, BadClips]:
    """Passes over a manifest once; memory does not grow with it, and the result not depend on the workers.

    Args:
        target_length_frames: use only this many frames of each clip, as training does; None for all.
        shard: (k, n): the k-th of n interleaved parts of the manifest, counted from 1.
        rows: those of the manifest to read; None for all.
        front_end: what the features are, by default the published ones; its length and normalisation do not matter.
        in_processes: whether the workers are processes, which pays for many short clips.

    Returns:
        The statistics, and the clips that could not be read.

    Raises:
        TooManyBadClipsError: more than `max_bad_fraction` of the clips cannot be read.
    """
    part, num_parts = shard
    if not 1 <= part <= num_parts:
        raise ManifestError(f"expected a shard k/n with 1 <= k <= n, got {part}/{num_parts}")
    rows = (range(len(manifest)) if rows is None else rows)[part - 1 :: num_parts]
    bad_clips = BadClips(manifest, max_bad_fraction, len(rows))
    make = partial(_reader_of_moments, front_end or FrontEnd(), target_length_frames, h5_sample_rate_hz)
    total, lengths = FeatureStatistics(target_length_frames=target_length_frames), LengthDistribution()
    paths = map(manifest.path, rows)
    read = parallel_map(make, paths, workers, "statistics", total=len(rows), processes=in_processes(manifest, rows))
    for row, (found, length_s) in zip(rows, read, strict=True):
        if isinstance(found, AudioError):
            bad_clips.add(row, found)
        else:
            total = total.merge(found)
        if length_s is not None:
            lengths.add(length_s)
    return replace(total, lengths=lengths), bad_clips


def _reader_of_moments(
    front_end: FrontEnd, target_length_frames: int | None, h5_sample_rate_hz: int
) -> Callable[[str], tuple[FeatureStatistics | AudioError, float | None]]:
    """A worker's function: a clip's statistics, or what is wrong with it, and its length if that can be read."""
    reader = ClipReader(front_end.sample_rate_hz, h5_sample_rate_hz)
    features = replace(front_end, target_length_frames=None, norm_mean=0.0, norm_std=0.5)  # (x - 0) / (2 * 0.5)
    duration_s = None if target_length_frames is None else excerpt_s(target_length_frames)

    def of_clip(path: str) -> tuple[FeatureStatistics | AudioError, float | None]:
        length_s = None
        try:
            with reader.open(path) as audio:
                length_s = audio.info.duration_s
                waveform = audio.load(duration_s=duration_s)
            frames = features(waveform)[:target_length_frames]
            if not torch.isfinite(frames).all():
                raise AudioError(path, "its log-mel features hold NaN or infinity")
        except AudioError as error:
            return error, length_s
        return FeatureStatistics.of_frames(frames, target_length_frames), length_s

    return of_clip
