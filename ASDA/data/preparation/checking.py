"""Reading every clip of a manifest to find out beforehand what a run would trip on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Optional, Union

from ...audio.errors import AmplitudeError, AudioError
from ...audio.fbank import FRAME_LENGTH_MS
from ...audio.io import AudioInfo
from ...audio.samples import MIN_PLAUSIBLE_PEAK
from ..containers import ClipReader
from ..labels import LabelTable, read_clip_labels
from ..manifest import Manifest, ManifestError
from .identical import SplitContents, content_digest
from .lengths import LengthDistribution
from .parallel import InProcesses, never, parallel_map
from .plan import Problem
from .writing import TABLE_NAME


@dataclass
class CheckResult:
    """What was found.

    Args:
        problems: a run stumbles over these: unreadable and repeated clips, labels that do not fit.
        notes: worth knowing, but harmless: silent, very quiet, very short or identical clips, wrong numbers of samples.
        formats: how many clips have each (rate in Hz, channels).
        lengths: of the clips that can be read.
        contents: what each clip sounds like, for `identical_clips`; None if the manifest cannot be read.
    """

    num_clips: int = 0
    seconds: float = 0.0
    lengths: LengthDistribution = field(default_factory=LengthDistribution)
    contents: SplitContents | None = None
    problems: list[Problem] = field(default_factory=list)
    notes: list[Problem] = field(default_factory=list)
    formats: Counter = field(default_factory=Counter)


Heard = Union[tuple[AudioInfo, float, Optional[bytes]], AudioError]
"""A clip's header, its peak, what tells its samples from others; or what is wrong with it."""


def check_manifest(
    file: Path,
    workers: int = 0,
    h5_sample_rate_hz: int = 32_000,
    in_processes: InProcesses = never,
) -> CheckResult:
    """Decodes every clip of a manifest completely, and checks its labels if a label file lies beside it.

    Args:
        in_processes: whether the workers are processes, which pays for many short clips.
    """
    result = CheckResult()
    try:
        manifest = Manifest.read(file)
    except ManifestError as error:
        result.problems.append(Problem("manifest", file.name, str(error)))
        return result
    _check_labels(manifest, result)
    _check_repeats(manifest, result)
    contents = result.contents = SplitContents.of(manifest)
    rows = range(len(manifest))
    make, paths = partial(_reader_of_clips, h5_sample_rate_hz), map(manifest.path, rows)
    heard = parallel_map(make, paths, workers, file.name, total=len(rows), processes=in_processes(manifest, rows))
    for index, found in enumerate(heard):
        _judge_clip(manifest, index, found, result, contents)
    result.num_clips = len(manifest)
    return result


def _reader_of_clips(h5_sample_rate_hz: int) -> Callable[[str], Heard]:
    reader = ClipReader(h5_sample_rate_hz=h5_sample_rate_hz)

    def read(path: str) -> Heard:
        try:
            with reader.open(path) as audio:
                info, waveform = audio.info, audio.load()
        except AudioError as error:
            return error
        peak = float(waveform.abs().max())
        return info, peak, content_digest(waveform) if peak else None

    return read


def _judge_clip(manifest: Manifest, index: int, found: Heard, result: CheckResult, contents: SplitContents) -> None:
    clip = f"{manifest.relative_path(index)} ({manifest.where(index)})"
    if isinstance(found, AudioError):
        kind = "amplitude" if isinstance(found, AmplitudeError) else "unreadable"
        result.problems.append(Problem(kind, clip, found.reason))
        return
    info, peak, digest = found
    result.seconds += info.duration_s
    result.lengths.add(info.duration_s)
    result.formats[(info.sample_rate_hz, info.num_channels)] += 1
    if info.num_samples != manifest.num_samples(index):
        detail = f"the manifest says {manifest.num_samples(index)} samples, the clip has {info.num_samples}"
        result.notes.append(Problem("samples", clip, detail))
    if info.duration_s * 1000 < FRAME_LENGTH_MS:
        result.notes.append(Problem("short", clip, f"{info.duration_s * 1000:.1f} ms is less than one window"))
    if digest is None:
        result.notes.append(Problem("silent", clip, "every sample is 0"))
    else:
        contents.set(index, digest)
    if 0 < peak < MIN_PLAUSIBLE_PEAK:
        detail = "no sample is above 1/32768 of full scale, as when 16-bit values are kept in 32-bit integers"
        result.notes.append(Problem("amplitude", clip, detail))


def _check_repeats(manifest: Manifest, result: CheckResult) -> None:
    first: dict[str, int] = {}
    for index in range(len(manifest)):
        path = manifest.relative_path(index)
        if first.setdefault(path, index) != index:
            result.problems.append(
                Problem(
                    "repeated", f"{path} ({manifest.where(index)})", f"already in line {manifest.line(first[path])}"
                )
            )


def _check_labels(manifest: Manifest, result: CheckResult) -> None:
    labels, table = manifest.file.with_suffix(".lbl"), manifest.file.with_name(TABLE_NAME)
    if not labels.exists():
        return
    try:
        clip_labels = read_clip_labels(labels, manifest, LabelTable.read(table))
    except ManifestError as error:
        result.problems.append(Problem("labels", labels.name, str(error)))
        return
    if clip_labels.absent is not None:
        number = f"{clip_labels.judged_share:.1%} of the pairs of a clip and a class were judged"
        result.notes.append(Problem("partial", labels.name, f"{number}; only multi-label training takes such labels"))
    elif clip_labels.num_unlabelled:
        number = f"{clip_labels.num_unlabelled} of {len(clip_labels)} clips are of no class"
        result.notes.append(Problem("unlabelled", labels.name, f"{number}, which only multi-label training takes"))
    counts = clip_labels.class_counts()
    empty = int((counts == 0).sum())
    if empty:
        result.notes.append(Problem("classes", labels.name, f"{empty} of {len(counts)} classes have no clip in it"))
