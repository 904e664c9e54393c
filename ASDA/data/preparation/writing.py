"""From a plan to files: read the headers, leave out what cannot be used, report it, write everything at once."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...audio.io import AudioError, AudioInfo
from ..containers import ClipReader, split_container
from ..labels import ClipLabels, LabelTable
from ..manifest import ManifestError, check_writable, clip_id, write_manifest
from ..sampling import class_balanced_weights
from .parallel import parallel_map
from .plan import Plan, PlannedClip, Problem

REPORT_NAME = "report.txt"
TABLE_NAME = "label_descriptors.csv"
WEIGHTS_NAME = "weight_{split}_all.csv"
"""EAT's name for the file of clip weights, which its configs expect."""


@dataclass(frozen=True)
class SplitSummary:
    """What was written for one split."""

    name: str
    num_clips: int
    hours: float


def write_plan(plan: Plan, out: str | os.PathLike, workers: int = 0, overwrite: bool = False) -> list[SplitSummary]:
    """Writes the manifests of a plan, with labels, class table, weights and a report of every problem.

    Clips whose header cannot be read are left out. If a split keeps no clip, nothing at all is written.

    Raises:
        ManifestError: a split without clips, a name that a manifest cannot hold, or manifests that are there already.
    """
    refuse_existing(out, overwrite)
    for clips in plan.splits.values():
        for clip in clips:
            check_writable(clip.row)
    infos = _read_headers(plan, workers)
    earlier = _manifest_files(Path(out))
    with staged_folder(out) as folder:
        summaries = [_write_split(plan, name, clips, infos, folder) for name, clips in plan.splits.items()]
        write_report(folder / REPORT_NAME, plan.problems)
        # A split of an earlier call that this one does not make would be of another division and another class table.
        stale = [file for file in earlier if not (folder / file.relative_to(out)).exists()]
    for file in stale:
        file.unlink()
    return summaries


def _manifest_files(out: Path) -> list[Path]:
    """Manifests in a folder and its folds, with the labels and weights that belong to them."""
    found = []
    for manifest in [*out.glob("*.tsv"), *out.glob("fold*/*.tsv")]:
        weights = manifest.with_name(WEIGHTS_NAME.format(split=manifest.stem))
        found += [file for file in (manifest, manifest.with_suffix(".lbl"), weights) if file.exists()]
    return found


def refuse_existing(out: str | os.PathLike, overwrite: bool) -> None:
    """Raises `ManifestError` if a folder holds manifests already."""
    out = Path(out)
    if overwrite or not out.exists():
        return
    if not out.is_dir():
        raise ManifestError(f"{out}: is a file; the manifests need a folder")
    existing = sorted(path.relative_to(out).as_posix() for path in _manifest_files(out) if path.suffix == ".tsv")
    if existing:
        raise ManifestError(
            f"{out}: holds {', '.join(existing[:3])} already; pass --overwrite to replace what is there"
        )


@contextmanager
def staged_folder(out: str | os.PathLike) -> Iterator[Path]:
    """A temporary folder whose files move to `out` when the block ends without an error, and vanish otherwise."""
    out = Path(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}."))
    try:
        yield folder
        for source in sorted(path for path in folder.rglob("*") if path.is_file()):
            target = out / source.relative_to(folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(source, target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_report(file: Path, problems: list[Problem]) -> None:
    """One line `kind<TAB>clip<TAB>detail` for each problem."""
    with file.open("w", encoding="utf-8", errors="surrogateescape") as handle:
        for problem in problems:
            detail = " ".join(problem.detail.split())
            handle.write(f"{problem.kind}\t{problem.clip}\t{detail}\n")


def write_table(file: Path, table: LabelTable) -> None:
    """Writes `index,mid,"display name"` rows."""
    with file.open("w", encoding="utf-8", errors="surrogateescape") as handle:
        for index, (mid, name) in enumerate(zip(table.mids, table.names, strict=True)):
            quoted = name.replace('"', '""')
            handle.write(f'{index},{mid},"{quoted}"\n')


def _read_headers(plan: Plan, workers: int) -> dict[str, AudioInfo]:
    """Header of each usable clip; the others become problems of the plan."""
    rows = list(dict.fromkeys(clip.row for clips in plan.splits.values() for clip in clips))
    readers = threading.local()

    def read(row: str) -> AudioInfo | AudioError:
        if not hasattr(readers, "reader"):
            readers.reader = ClipReader()
        try:
            return readers.reader.probe(os.path.join(plan.root, row))
        except AudioError as error:
            return error

    infos = {}
    for row, result in zip(rows, parallel_map(read, rows, workers, "reading headers"), strict=True):
        if isinstance(result, AudioError):
            there = os.path.exists(split_container(result.path)[0])
            plan.problems.append(Problem("unreadable" if there else "missing", row, result.reason))
        elif result.num_samples == 0:
            plan.problems.append(Problem("unreadable", row, "holds no samples"))
        else:
            infos[row] = result
            if result.duration_s < plan.short_below_s:
                plan.problems.append(Problem("short", row, f"{result.duration_s:.3f} s; kept"))
    return infos


def _write_split(
    plan: Plan, name: str, clips: list[PlannedClip], infos: dict[str, AudioInfo], folder: Path
) -> SplitSummary:
    usable = [clip for clip in clips if clip.row in infos]
    if not usable:
        raise ManifestError(
            f"split {name!r} has no usable clip: {len(clips)} are listed under {plan.root}, none can be read"
            + (f"; the first: {plan.problems[0].clip}: {plan.problems[0].detail}" if plan.problems else "")
        )
    base = folder / name
    base.parent.mkdir(parents=True, exist_ok=True)
    rows = ((clip.row, infos[clip.row].num_samples) for clip in usable)
    write_manifest(base.with_name(f"{base.name}.tsv"), plan.root.resolve(), rows)
    if plan.table is not None:
        write_table(base.with_name(TABLE_NAME), plan.table)
        _write_labels(base, usable, plan.table, weighted=name in plan.weighted_splits)
    hours = sum(infos[clip.row].duration_s for clip in usable) / 3600
    return SplitSummary(name, len(usable), hours)


def _write_labels(base: Path, clips: list[PlannedClip], table: LabelTable, weighted: bool) -> None:
    counts = Counter(clip_id(clip.row) for clip in clips)
    ids = [clip_id(clip.row) if counts[clip_id(clip.row)] == 1 else clip.row for clip in clips]
    lines = (f"{name}\t{','.join(clip.labels)}\n" for name, clip in zip(ids, clips, strict=True))
    _write_lines(base.with_name(f"{base.name}.lbl"), lines)
    if weighted:
        offsets = np.cumsum([0] + [len(clip.labels) for clip in clips])
        classes = np.array([table.index(label) for clip in clips for label in clip.labels], dtype=np.int32)
        weights = class_balanced_weights(ClipLabels(offsets, classes, len(table)))
        lines = (f"{name}\t{weight:.9g}\n" for name, weight in zip(ids, weights, strict=True))
        _write_lines(base.with_name(WEIGHTS_NAME.format(split=base.name)), lines)


def _write_lines(file: Path, lines: Iterator[str]) -> None:
    with file.open("w", encoding="utf-8", errors="surrogateescape") as handle:
        handle.writelines(lines)
