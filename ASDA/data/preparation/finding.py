"""Finding the clips under a folder, in files and in containers."""

from __future__ import annotations

import logging
import os
import posixpath
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ...audio.finding import AUDIO_SUFFIXES, PassedOver, visible_files
from ..h5_layout import not_sound
from ..h5_tables import Known, Table, table_of
from ..manifest import ManifestError
from ..parquet_layout import MissingPyarrowError, ParquetLayout
from ..parquet_rows import clip_names
from ..tar_index import scan_and_index
from .plan import Problem

logger = logging.getLogger(__name__)

_ZIP_LOCAL_HEADER_BYTES = 30
"""Fixed part of the header before a member's data; its last four bytes are the lengths of the two parts that follow."""

_ZIP_MEMBER = b"PK\3\4"
_ZIP_ENCRYPTED = 0x1
_UNREADABLE = (OSError, RuntimeError, LookupError, TypeError, ValueError, tarfile.TarError, zipfile.BadZipFile)
"""What the readers of damaged containers raise."""


@dataclass(frozen=True)
class FoundClip:
    """A clip below a folder.

    Args:
        row: how a manifest names it, relative to the folder.
        name: its path as a reader of the folder would say it; the same as `row` but for zip members, which manifests
            name by position, and for rows of HDF5 tables that have names of their own.
    """

    row: str
    name: str


def find_clips(root: str | os.PathLike, problems: list[Problem] | None = None) -> list[FoundClip]:
    """Every audio file below a folder and every member of its h5, tar and zip files, sorted by name.

    Hidden files are skipped: they are left-overs of other programs. Links to folders are followed. Beside each tar an
    index is written where that is allowed.

    Args:
        root: the folder.
        problems: gets what is passed over: recordings that cannot be decoded, folders that cannot be entered, what in
            a container is no clip. It is logged too.

    Raises:
        ManifestError: no such folder, or a container that cannot be opened.
    """
    root = Path(root)
    if not root.is_dir():
        raise ManifestError(f"{root}: no such folder")
    clips, problems, passed_over = [], [] if problems is None else problems, PassedOver()
    for path in visible_files(root, passed_over):
        relative = path.relative_to(root).as_posix()
        kind = path.suffix.lower()
        if kind in AUDIO_SUFFIXES:
            clips.append(FoundClip(relative, relative))
        elif kind in _MEMBERS:
            search = _Search(path, relative, passed_over, problems)
            try:
                clips.extend(
                    FoundClip(f"{relative}{key}", f"{relative}/{name}") for key, name in _MEMBERS[kind](search)
                )
            except ManifestError:
                raise
            except _UNREADABLE as error:
                raise ManifestError(f"{path}: the container cannot be opened ({error})") from error
        else:
            passed_over.count(path.name)
    report_passed_over(root, passed_over, problems)
    return sorted(clips, key=lambda clip: clip.name)


def report_passed_over(root: Path, passed_over: PassedOver, problems: list[Problem]) -> None:
    """Logs what a search did not look at, and notes it."""
    for message in passed_over.messages(root):
        logger.warning("%s", message)
    for ending, count in sorted(passed_over.files.items()):
        problems.append(Problem("undecodable", f"*{ending}", f"{count} files of this kind are left out"))
    for folder, reason in passed_over.folders:
        problems.append(Problem("closed", os.path.relpath(folder, root), f"the folder cannot be entered ({reason})"))


@dataclass(frozen=True)
class _Search:
    """A container that is looked through, and where to note what is no clip."""

    path: Path
    relative: str
    passed_over: PassedOver
    problems: list[Problem]

    def is_audio(self, name: str) -> bool:
        base = name.rsplit("/", 1)[-1]
        if base.startswith("."):
            return False
        if os.path.splitext(base)[1].lower() in AUDIO_SUFFIXES:
            return True
        self.passed_over.count(base)
        return False

    def note(self, kind: str, detail: str, member: str = "") -> None:
        self.problems.append(Problem(kind, f"{self.relative}{member}", detail))


def _h5_members(search: _Search) -> Iterator[tuple[str, str]]:
    import h5py  # only those who have h5 data pay for its import

    found: list[tuple[str, str]] = []
    left_out: list[tuple[str, str]] = []  # beside the clips there may be labels, times and the like

    known = Known()

    with h5py.File(search.path, "r") as file:

        def collect(name: str, item) -> None:
            if not isinstance(item, h5py.Dataset):
                return
            try:
                reason = not_sound(file, item, known)
                table = table_of(item) if reason is None else None
            except _UNREADABLE as error:
                reason, table = f"damaged ({error})", None
            if reason is not None:
                left_out.append((name, reason))
            elif table is None:
                found.append((f"/{name}", name))
            else:
                found.extend(_rows(name, table))

        file.visititems(collect)
    if left_out and not found:
        name, reason = left_out[0]
        left_out = []
        search.note("no clip", detail := f"none of its data sets is a clip; {name}: {reason}")
        logger.warning("%s: %s", search.path, detail)
    for name, reason in left_out:
        search.note("no clip", reason, f"/{name}")
    yield from found


def _rows(name: str, table: Table) -> Iterator[tuple[str, str]]:
    """The clips of a table, by the names that the file gives them if those are different."""
    folder = name.rpartition("/")[0]
    has_names = len(set(table.names)) == len(table.lengths)
    for row in range(len(table.lengths)):
        yield f"/{name}[{row}]", posixpath.join(folder, table.names[row]) if has_names else f"{name}[{row}]"


def _parquet_members(search: _Search) -> Iterator[tuple[str, str]]:
    """The clips of its columns of audio, by the names that the file gives them if those are different."""
    try:
        layout = ParquetLayout.open(search.path)
    except MissingPyarrowError as error:  # there may be tables beside the clips
        search.note("no clip", f"left out: {error}")
        logger.warning("%s: left out: %s", search.path, error)
        return
    columns = layout.audio_columns()
    if not columns:
        search.note("no clip", "none of its columns holds audio")
    for column in columns:
        names = clip_names(search.path, layout.audio_column(column))
        has_names = None not in names and len(set(names)) == len(names)
        for row, name in enumerate(names):
            yield f"/{column}[{row}]", name if has_names and name else f"{column}[{row}]"


def _tar_members(search: _Search) -> Iterator[tuple[str, str]]:
    """Also writes the tar's index, so that training need not scan the tar again."""
    content = scan_and_index(str(search.path))
    if content.problem:
        search.note("incomplete", content.problem)
    for member in content.members:
        if not search.is_audio(member.name):
            continue
        if member.problem:
            search.note("unreadable", member.problem, f"/{member.name}")
        else:
            yield f"/{member.name}", member.name


def _zip_members(search: _Search) -> Iterator[tuple[str, str]]:
    path = search.path
    with zipfile.ZipFile(path) as archive, path.open("rb") as raw:
        members = archive.infolist()
        if raw.read(4) == _ZIP_MEMBER and members and min(member.header_offset for member in members) > 0:
            raise ManifestError(
                f"{path}: several zips joined to one, of which only the last lists its members; join anew"
            )
        for member in members:
            if not search.is_audio(member.filename):
                continue
            if member.flag_bits & _ZIP_ENCRYPTED:
                raise ManifestError(f"{path}: {member.filename} is encrypted")
            if member.compress_type != zipfile.ZIP_STORED:
                raise ManifestError(
                    f"{path}: {member.filename} is compressed; only zips that store their members as they are (zip -0) "
                    "can be read at random"
                )
            raw.seek(member.header_offset)
            header = raw.read(_ZIP_LOCAL_HEADER_BYTES)
            if not header.startswith(_ZIP_MEMBER) or len(header) < _ZIP_LOCAL_HEADER_BYTES:
                raise ManifestError(f"{path}: damaged: no member where {member.filename} should begin")
            name_and_extra = int.from_bytes(header[-4:-2], "little") + int.from_bytes(header[-2:], "little")
            offset = member.header_offset + _ZIP_LOCAL_HEADER_BYTES + name_and_extra
            yield f":{offset}:{member.file_size}", posixpath.normpath(member.filename).lstrip("/")


_MEMBERS = {
    ".h5": _h5_members,
    ".hdf5": _h5_members,
    ".parquet": _parquet_members,
    ".tar": _tar_members,
    ".zip": _zip_members,
}
