"""Which line of a file is about which clip of a manifest: by the clip's id, never by the number of the line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ..audio.finding import AUDIO_SUFFIXES
from ..audio.spelling import same_name
from .manifest import Manifest, ManifestError


class LabelError(ManifestError):
    """A label file or table that cannot be used; the message names the file, the line and the label or clip."""


def match_by_id(
    file: Path, manifest: Manifest, expected: str, no_tab: str = "", max_fields: int = 1
) -> tuple[np.ndarray, list[str]]:
    """Finds, for each clip of a manifest, its line in a file of `clip-id<TAB>field` lines.

    Args:
        expected: the form of a line, for messages.
        no_tab: what a message about a line without a tab ends with.
        max_fields: columns behind the id.

    Returns:
        (n,) int64 line positions, counted from 0, and what stands behind the id in every line, with the tabs between.

    Raises:
        LabelError: missing file, a line of another form, a clip without a line, an id that stands twice or fits
            several clips.
    """
    if not file.is_file():
        raise LabelError(f"{file}: no such file")
    ids, fields = [], []
    for number, line in _lines(file):
        name, tab, field = line.partition("\t")
        if not tab or not name or field.count("\t") >= max_fields:
            raise LabelError(f"{file}:{number}: expected `{expected}`, got {line!r}{no_tab if not tab else ''}")
        ids.append(same_name(name))
        fields.append(field)
    return _match(file, manifest, ids), fields


def _lines(file: Path) -> Iterator[tuple[int, str]]:
    with file.open(encoding="utf-8-sig", errors="surrogateescape", newline="\n") as handle:
        blank = 0
        for number, line in enumerate(handle, start=1):
            line = line.rstrip("\r\n")
            if not line:
                blank = blank or number
                continue
            if blank:
                raise LabelError(f"{file}:{blank}: the line is empty")
            yield number, line


def _match(file: Path, manifest: Manifest, ids: list[str]) -> np.ndarray:
    """(n,) the line of each row: the one whose id says most of the row's path. An id that two clips share is refused.

    Where names repeat (`yes/a.wav`, `no/a.wav`), lines and rows that happen to agree one by one prove nothing: a
    manifest that was filtered or sorted again may agree with the lines of other clips.
    """
    line_of_id: dict[str, int] = {}
    for index, name in enumerate(ids):
        if name in line_of_id:
            raise LabelError(
                f'id "{name}" stands twice in {file}, in lines {line_of_id[name] + 1} and {index + 1}, and does not '
                "say which clip each is about; use relative paths as ids"
            )
        line_of_id[name] = index
    max_folders = max((name.count("/") for name in ids), default=0)
    row_of_line = np.full(len(ids), -1, dtype=np.int64)
    result = np.empty(len(manifest), dtype=np.int64)
    for row in range(len(manifest)):
        path = same_name(manifest.relative_path(row))
        line = next((line_of_id[name] for name in _ids_of(path, max_folders) if name in line_of_id), None)
        if line is None:
            there = (
                f'; line {row + 1} there is about "{ids[row]}"' if row < len(ids) else f", which has {len(ids)} lines"
            )
            raise LabelError(f'clip "{path}" ({manifest.where(row)}) has no line in {file}{there}')
        if row_of_line[line] >= 0:
            _refuse_shared_id(file, manifest, ids[line], line, int(row_of_line[line]), row)
        row_of_line[line] = row
        result[row] = line
    return result


def _ids_of(path: str, max_folders: int) -> list[str]:
    """What may stand for a clip, most of its path first: ends at a folder border, with and without the audio ending.

    Args:
        max_folders: no id says more of them.
    """
    *folders, name = path.rsplit("/", max_folders + 1)
    if len(folders) > max_folders:  # the first is all that no id can say
        folders = folders[1:]
    stem, dot, suffix = name.rpartition(".")
    names = (name, stem) if stem and f".{suffix.lower()}" in AUDIO_SUFFIXES else (name,)
    starts = ["/".join(folders[first:]) + "/" for first in range(len(folders))] + [""]
    return [start + end for start in starts for end in names]


def _refuse_shared_id(file: Path, manifest: Manifest, name: str, line: int, first: int, second: int) -> None:
    path, other = manifest.relative_path(second), manifest.relative_path(first)
    if path == other:
        raise LabelError(
            f'clip "{path}" stands twice in {manifest.file} (lines {manifest.line(first)} and '
            f"{manifest.line(second)}); remove one"
        )
    raise LabelError(
        f'id "{name}" ({file.name}:{line + 1}) fits two clips: "{other}" ({manifest.where(first)}) and "{path}" '
        f"({manifest.where(second)}); use relative paths as ids"
    )
