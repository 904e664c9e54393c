"""The class tables that come with the project, and reading the lists and folders in which data sets are published."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from pathlib import Path

from ..labels import LabelTable
from ..manifest import ManifestError, open_table
from .corpus import Corpus

_DATA_MANIFEST = Path(__file__).resolve().parents[3] / "data_manifest"


def official_table(corpus: Corpus) -> LabelTable:
    """The classes of a known data set in their official order, from `data_manifest/`.

    Raises:
        ValueError: the data set brings its own table.
    """
    if corpus.class_table is None:
        raise ValueError(f"{corpus.title} brings its own class table; there is none in {_DATA_MANIFEST}")
    return LabelTable.read(_DATA_MANIFEST / corpus.class_table / "label_descriptors.csv")


def read_csv(file: str | os.PathLike, columns: tuple[str, ...]) -> list[tuple[str, dict[str, str]]]:
    """Rows of a csv file by column name, each with its place `file:line`.

    Raises:
        ManifestError: missing file, a column that the heading lacks, a row with too few fields.
    """
    file = Path(file)
    if not file.is_file():
        raise ManifestError(f"{file}: no such file")
    rows = []
    with open_table(file) as handle:
        reader = csv.DictReader(handle, skipinitialspace=True)
        heading = reader.fieldnames or []
        missing = [column for column in columns if column not in heading]
        if missing:
            raise ManifestError(f"{file}:1: the heading lacks {', '.join(missing)}; it reads {','.join(heading)!r}")
        for row in reader:
            where = f"{file}:{reader.line_num}"
            if any(row[column] is None for column in columns):
                raise ManifestError(f"{where}: expected {len(heading)} fields, got fewer")
            rows.append((where, row))
    return rows


def read_lines(file: Path) -> Iterator[tuple[str, str]]:
    """The lines of a list without the space around them, each with its place `file:line`; empty ones are passed over.

    Raises:
        ManifestError: missing file, or not UTF-8.
    """
    if not file.is_file():
        raise ManifestError(f"{file}: no such file")
    with open_table(file) as handle:
        for number, line in enumerate(handle, start=1):
            if line.strip():
                yield f"{file}:{number}", line.strip()


def mids_of(text: str, table: LabelTable, where: str) -> tuple[str, ...]:
    """The mids of a field `mid,mid,...`, each once.

    Raises:
        LabelError: one that the table does not have.
    """
    return tuple(dict.fromkeys(table.mids[table.index(mid.strip(), where)] for mid in text.split(",")))


def require_layout(root: Path, names: tuple[str, ...], dataset: str) -> None:
    """Raises `ManifestError` if a folder does not look like the data set."""
    missing = [name for name in names if not (root / name).exists()]
    if missing:
        raise ManifestError(f"{root}: not the {dataset} folder, it lacks {', '.join(missing)}")


def unpacked(root: Path, name: str, layout: tuple[str, ...]) -> Path:
    """The folder of a data set: the root, or the folder that its archive unpacks to in it.

    Args:
        root: what the user names.
        name: of the archive's folder.
        layout: what lies in the data set's folder; any of it tells that the root is it.
    """
    inside = root / name
    return inside if inside.is_dir() and not any((root / part).exists() for part in layout) else root
