"""Parquet files with embedded audio, as the Hugging Face hub keeps data sets: labels from a column."""

from __future__ import annotations

import os
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from ..manifest import ManifestError
from ..parquet_layout import PARQUET_SUFFIX, AudioColumn, ParquetError, ParquetLayout, listed
from ..parquet_pages import ChunkPages, PageError
from ..parquet_rows import name_in, read_rows
from .container_files import container_names, note_left_out
from .finding import FoundClip
from .given_labels import Choice, Sample, as_text, divide_samples
from .hub_splits import split_files
from .plan import Plan, Problem

_MUCH_PER_CLIP = 8
"""Times the bytes of a clip: what has to be read for one may be this much before it is warned of."""


@dataclass(frozen=True)
class _Source:
    """The columns of one file that are read; `label` is None where there is none."""

    file: Path
    name: str
    audio: AudioColumn
    label: str | None
    class_names: list[str] | None


def plan_parquet(root: Path, choice: Choice) -> Plan:
    """Reads the rows of all Parquet files below a folder, without their clips.

    Raises:
        ManifestError: no such files, one that is damaged or lacks a column, files of different classes, a label or
            split that cannot be told.
        MissingPyarrowError: pyarrow is not installed.
    """
    plan = Plan(root, {})
    names = container_names(root, PARQUET_SUFFIX, plan.problems)
    split_of = split_files(names, choice.splits)
    note_left_out(plan, names, split_of)
    samples: list[Sample] = []
    first: _Source | None = None
    large: list[str] = []
    for name in split_of:
        try:
            layout = _opened(root / name)
            if first is None:
                choice = choice.with_usual_folds(layout.columns)
            source = _source(root / name, name, layout, choice)
            _require_alike(source, first)
            first = first or source
            samples += _samples(source, split_of[name], choice, plan.problems)
        except ParquetError as error:
            raise ManifestError(f"{root / name}: {error}") from error
        large += [name] if _reads_much(source.file, source.audio) else []
    if first is None or not samples:
        raise ManifestError(f"{root}: the {len(names)} Parquet files have no row")
    said_by = f"column {first.label!r}" if first.label else ""
    divide_samples(plan, samples, choice.labels, first.class_names, said_by)
    if large:
        plan.warnings.append(
            f"{large[0]}{f' and {len(large) - 1} more' if large[1:] else ''}: to read one clip at random much more has "
            "to be read and decompressed; without compression each is one read away (docs/own_data.md)"
        )
    return plan


def _opened(file: Path) -> ParquetLayout:
    try:
        return ParquetLayout.open(file)
    except OSError as error:
        raise ParquetError(error.strerror or str(error)) from error


def _source(file: Path, name: str, layout: ParquetLayout, choice: Choice) -> _Source:
    audio, given = layout.audio_column(choice.audio), choice.labels
    wanted = [*choice.columns, *filter(None, [given.folds, given.source])]
    missing = [column for column in wanted if column not in layout.columns]
    if missing:
        raise ParquetError(f"expected a column {missing[0]!r}, the columns are {listed(layout.columns)}")
    label = None
    if given.wanted:
        label = given.source or given.usual_in(layout.columns) or _only_classes(layout)
    return _Source(file, name, audio, label, layout.class_names(label) if label else None)


def _only_classes(layout: ParquetLayout) -> str | None:
    """The one column that `datasets` calls one of classes."""
    found = [column for column in layout.columns if layout.class_names(column)]
    return found[0] if len(found) == 1 else None


def _require_alike(source: _Source, first: _Source | None) -> None:
    if first is None:
        return
    for what, got, expected in (
        ("column of clips", source.audio.name, first.audio.name),
        ("column of labels", source.label, first.label),
    ):
        if got != expected:
            raise ParquetError(f"expected {expected or 'no'!r} as {what}, as in {first.name}, got {got!r}")
    if source.class_names != first.class_names:
        place, expected, got = next(
            (place, expected, got)
            for place, (expected, got) in enumerate(zip_longest(first.class_names or (), source.class_names or ()))
            if expected != got
        )
        raise ParquetError(f"expected {expected!r} as class {place}, as in {first.name}, got {got!r}")


def _samples(source: _Source, split: str, choice: Choice, problems: list[Problem]) -> list[Sample]:
    """The rows of a file; columns that are neither numbers nor text cannot be grouped by."""
    extra = choice.beside_labels
    leaves = list(dict.fromkeys([*filter(None, [source.audio.path_leaf, source.label]), *extra]))
    rows: Any = read_rows(source.file, leaves) if leaves else ({} for _ in range(source.audio.num_rows))
    column, samples = source.audio.name, []
    said_by = f"column {source.label!r}" if source.label else ""
    for number, row in enumerate(rows):
        key = f"{source.name}/{column}[{number}]"
        name = name_in(row.get(column)) if source.audio.path_leaf else None
        clip = FoundClip(key, f"{source.name}/{name}" if name else key)
        columns = {wanted: as_text(row[wanted]) for wanted in extra} if extra else None
        label = row[source.label] if source.label else None
        samples.append(Sample(split, clip, source.file, number, label, said_by, columns))
    if len(samples) != source.audio.num_rows:
        problems.append(Problem("incomplete", source.name, f"{len(samples)} of {source.audio.num_rows} rows"))
    return samples


def _reads_much(file: Path, audio: AudioColumn) -> bool:
    """Whether the page that a clip stands in holds many, as in the hub's older files: one page for a row group."""
    if not audio.chunks:
        return False
    chunk = audio.chunks[0]
    if chunk is None or chunk.codec is None:
        return chunk is None
    with open(file, "rb") as handle:
        try:
            pages = ChunkPages(chunk, lambda offset, num_bytes: os.pread(handle.fileno(), num_bytes, offset))
        except PageError:
            return True
    return pages.largest_page_bytes >= _MUCH_PER_CLIP * chunk.num_bytes / max(1, chunk.num_rows)
