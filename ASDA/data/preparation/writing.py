"""From a plan to files: read the headers, leave out what cannot be used, report it, write everything at once."""

from __future__ import annotations

import os
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import numpy as np

from ...atomic import OutputLock
from ...atomic.names import is_temporary, temporary_name
from ...audio.io import AudioError, AudioInfo
from ..containers import split_container
from ..labels import ClipLabels, LabelTable, read_clip_labels
from ..manifest import Manifest, ManifestError, check_writable, clip_id, write_manifest
from ..sampling import class_balanced_weights
from .cached_statistics import SUFFIX, is_cached
from .parallel import parallel_map
from .plan import Plan, PlannedClip, Problem
from .sample import reader_of_headers

_ROW = re.compile(rb"[^\t]+\t[0-9]+\s*")
REPORT_NAME = "report.txt"
TABLE_NAME = "label_descriptors.csv"
WEIGHTS_NAME = "weight_{split}_all.csv"
"""EAT's name for the file of clip weights, which its configs expect."""


@dataclass(frozen=True)
class SplitSummary:
    """What was written for one split; `num_groups` is None where clips go by themselves."""

    name: str
    num_clips: int
    hours: float
    num_groups: int | None = None


def write_plan(plan: Plan, out: str | os.PathLike, workers: int = 0, overwrite: bool = False) -> list[SplitSummary]:
    """Writes the manifests of a plan, with labels, class table, weights and a report of every problem.

    Clips whose header cannot be read, or whose name a manifest cannot hold, are left out, of the plan as well. If a
    split keeps no clip, nothing at all is written. What is written is read again before it replaces anything.

    Raises:
        ManifestError: a split without clips, files that are there already, or what would not be read as it was meant.
        LockedOutputError: another process writes there.
    """
    out = Path(out)
    with OutputLock(out):
        refuse_existing(out, overwrite)
        _leave_out_unwritable(plan)
        infos = _read_headers(plan, workers)
        earlier = _manifest_files(out)
        with staged_folder(out) as folder:
            summaries = [_write_split(plan, name, clips, infos, folder) for name, clips in plan.splits.items()]
            write_report(folder / REPORT_NAME, plan.problems)
            _refuse_foreign(folder, out, overwrite)
            # A split of an earlier call that this one does not make would be of another division and another class
            # table. Manifests go first and come last: what is half replaced lacks them, and is not taken for whole.
            for file in earlier:
                if file.suffix == ".tsv" or not (folder / file.relative_to(out)).exists():
                    file.unlink()
    plan.splits = {name: [clip for clip in clips if clip.row in infos] for name, clips in plan.splits.items()}
    return summaries


def _leave_out_unwritable(plan: Plan) -> None:
    """Clips whose name a manifest cannot hold become problems of the plan."""
    wrong: dict[str, str] = {}
    for clip in (clip for clips in plan.splits.values() for clip in clips):
        try:
            check_writable(clip.row)
        except ManifestError as error:
            wrong[clip.row] = str(error)
    plan.problems += [Problem("unwritable", row, reason) for row, reason in wrong.items()]
    if wrong:
        plan.splits = {name: [c for c in clips if c.row not in wrong] for name, clips in plan.splits.items()}


def _manifest_files(out: Path) -> list[Path]:
    """Manifests in a folder and its folds, with the labels, weights and statistics that belong to them."""
    found = []
    for manifest in filter(_is_manifest, [*out.glob("*.tsv"), *out.glob("fold*/*.tsv")]):
        weights = manifest.with_name(WEIGHTS_NAME.format(split=manifest.stem))
        found += [file for file in (manifest, manifest.with_suffix(".lbl"), weights) if file.exists()]
        found += filter(is_cached, [manifest.with_suffix(SUFFIX)])
    return found


def _is_manifest(file: Path) -> bool:
    """Whether a `.tsv` is a manifest: other programs write tables of that name."""
    with open(file, "rb") as lines:
        root, row = lines.readline(), lines.readline()
    return b"\t" not in root and (not row or _ROW.fullmatch(row) is not None)


def _refuse_foreign(folder: Path, out: Path, overwrite: bool) -> None:
    for staged in sorted(path for path in folder.rglob("*") if path.is_file()):
        target = out / staged.relative_to(folder)
        if not target.exists():
            continue
        if not overwrite:
            raise ManifestError(f"{target}: is there already; pass --overwrite to replace it")
        if target.suffix == ".tsv" and not _is_manifest(target):
            raise ManifestError(f"{target}: is no manifest, so it is left as it is; name another --out")


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
    for leftover in out.parent.iterdir():  # of a run that was killed; the lock is held, so that none is going on
        if is_temporary(leftover.name, of=out.name) and leftover.is_dir():
            shutil.rmtree(leftover)
    folder = out.with_name(temporary_name(out.name))
    folder.mkdir()
    try:
        yield folder
        staged = (path for path in folder.rglob("*") if path.is_file())
        for source in sorted(staged, key=lambda path: (path.suffix == ".tsv", path)):
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
            handle.write(f"{problem.kind}\t{_one_line(problem.clip)}\t{detail}\n")


def write_table(file: Path, table: LabelTable) -> None:
    """Writes `index,mid,"display name"` rows."""
    with file.open("w", encoding="utf-8", errors="surrogateescape") as handle:
        for index, (mid, name) in enumerate(zip(table.mids, table.names, strict=True)):
            quoted = name.replace('"', '""')
            if any(character in mid for character in ',"\n\r'):
                mid = '"' + mid.replace('"', '""') + '"'
            handle.write(f'{index},{mid},"{quoted}"\n')


def _read_headers(plan: Plan, workers: int) -> dict[str, AudioInfo]:
    """Header of each usable clip, whose lengths the plan gets; the others become problems of the plan."""
    rows = list(dict.fromkeys(clip.row for clips in plan.splits.values() for clip in clips))
    paths = (os.path.join(plan.root, row) for row in rows)
    read = parallel_map(reader_of_headers, paths, workers, "reading headers", total=len(rows))
    infos = {}
    for row, result in zip(rows, read, strict=True):
        if isinstance(result, AudioError):
            there = os.path.exists(split_container(result.path)[0])
            plan.problems.append(Problem("unreadable" if there else "missing", row, result.reason))
        elif result.num_samples == 0:
            plan.problems.append(Problem("unreadable", row, "holds no samples"))
        else:
            infos[row] = result
            plan.lengths.add(result.duration_s)
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
            + (f"; the first: {_one_line(plan.problems[0].clip)}: {plan.problems[0].detail}" if plan.problems else "")
        )
    base = folder / name
    base.parent.mkdir(parents=True, exist_ok=True)
    rows = ((clip.row, infos[clip.row].num_samples) for clip in usable)
    write_manifest(base.with_name(f"{base.name}.tsv"), plan.root.resolve(), rows)
    if plan.table is not None:
        write_table(base.with_name(TABLE_NAME), plan.table)
        _write_labels(base, usable, plan.table, weighted=name in plan.weighted_splits)
    _read_again(base, usable, plan.table)
    hours = sum(infos[clip.row].duration_s for clip in usable) / 3600
    groups = {clip.group for clip in usable} - {None}
    return SplitSummary(name, len(usable), hours, len(groups) or None)


def _read_again(base: Path, clips: list[PlannedClip], table: LabelTable | None) -> None:
    """Reads a split as training will.

    Raises:
        ManifestError: it is not read as it was meant.
    """
    manifest = Manifest.read(base.with_name(f"{base.name}.tsv"))
    labels = None
    if table is not None:
        read = LabelTable.read(base.with_name(TABLE_NAME))
        labels = read_clip_labels(base.with_name(f"{base.name}.lbl"), manifest, read)
        if read.mids != table.mids:
            wrong = next((a, b) for a, b in zip_longest(table.mids, read.mids) if a != b)
            raise ManifestError(f"class {wrong[0]!r} would be read as {wrong[1]!r}; rename it")
    for index, clip in enumerate(clips):
        if manifest.relative_path(index) != clip.row:
            raise ManifestError(f"{clip.row!r}: would be read as {manifest.relative_path(index)!r}; rename it")
        if table is None or labels is None:
            continue
        for part, meant in ((labels, clip.labels), (labels.absent, clip.absent)):
            read_classes = None if part is None else part.targets(index)
            if read_classes != (None if meant is None else list(dict.fromkeys(map(table.index, meant)))):
                read_as = [table.mids[target] for target in read_classes or ()]
                raise ManifestError(f"{clip.row!r}: its labels {meant} would be read as {read_as}; rename them")


def _one_line(name: str) -> str:
    return name.replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")


def _write_labels(base: Path, clips: list[PlannedClip], table: LabelTable, weighted: bool) -> None:
    counts = Counter(clip_id(clip.row) for clip in clips)
    ids = [clip_id(clip.row) if counts[clip_id(clip.row)] == 1 else clip.row for clip in clips]
    lines = (f"{name}\t{_columns(clip)}\n" for name, clip in zip(ids, clips, strict=True))
    _write_lines(base.with_name(f"{base.name}.lbl"), lines)
    if weighted:
        offsets = np.cumsum([0] + [len(clip.labels) for clip in clips])
        classes = np.array([table.index(label) for clip in clips for label in clip.labels], dtype=np.int32)
        weights = class_balanced_weights(ClipLabels(offsets, classes, len(table)))
        lines = (f"{name}\t{weight:.9g}\n" for name, weight in zip(ids, weights, strict=True))
        _write_lines(base.with_name(WEIGHTS_NAME.format(split=base.name)), lines)


def _columns(clip: PlannedClip) -> str:
    """What a label file says of a clip behind its id."""
    return "\t".join(",".join(column) for column in (clip.labels, clip.absent) if column is not None)


def _write_lines(file: Path, lines: Iterator[str]) -> None:
    with file.open("w", encoding="utf-8", errors="surrogateescape") as handle:
        handle.writelines(lines)
