"""Finding the clips under a folder, in files and in containers."""

from __future__ import annotations

import logging
import os
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ...audio.finding import AUDIO_SUFFIXES, visible_files
from ..manifest import ManifestError
from ..tar_index import TarIndex, scan_members

logger = logging.getLogger(__name__)

_ZIP_LOCAL_HEADER_BYTES = 30
"""Fixed part of the header before a member's data; its last four bytes are the lengths of the two parts that follow."""


@dataclass(frozen=True)
class FoundClip:
    """A clip below a folder.

    Args:
        row: how a manifest names it, relative to the folder.
        name: its path as a reader of the folder would say it; the same as `row` but for zip members, which manifests
            name by position.
    """

    row: str
    name: str


def find_clips(root: str | os.PathLike) -> list[FoundClip]:
    """Every audio file below a folder and every member of its h5, tar and zip files, sorted by name.

    Hidden files are skipped: they are left-overs of other programs. Links to folders are followed. Beside each tar an
    index is written where that is allowed.

    Raises:
        ManifestError: no such folder, or a container that cannot be opened.
    """
    root = Path(root)
    if not root.is_dir():
        raise ManifestError(f"{root}: no such folder")
    clips = []
    for path in visible_files(root):
        relative = path.relative_to(root).as_posix()
        kind = path.suffix.lower()
        if kind in AUDIO_SUFFIXES:
            clips.append(FoundClip(relative, relative))
        elif kind in _MEMBERS:
            try:
                clips.extend(FoundClip(f"{relative}{key}", f"{relative}/{name}") for key, name in _MEMBERS[kind](path))
            except (OSError, tarfile.TarError, zipfile.BadZipFile) as error:
                raise ManifestError(f"{path}: the container cannot be opened ({error})") from error
    return sorted(clips, key=lambda clip: clip.name)


def _h5_members(path: Path) -> Iterator[tuple[str, str]]:
    import h5py  # only those who have h5 data pay for its import

    names: list[str] = []

    def collect(name: str, item) -> None:
        # Beside the clips there may be labels, times and the like.
        if isinstance(item, h5py.Dataset) and item.ndim in (1, 2) and item.dtype.kind in "iuf":
            names.append(name)

    with h5py.File(path, "r") as file:
        file.visititems(collect)
    for name in names:
        yield f"/{name}", name


def _tar_members(path: Path) -> Iterator[tuple[str, str]]:
    """Also writes the tar's index, so that training need not scan the tar again."""
    members = scan_members(str(path))
    try:
        TarIndex.of_members(str(path), members).write(str(path))
    except OSError as error:
        logger.warning("%s: no index is written beside it (%s); each worker will scan it", path, error)
    for name, _, _ in members:
        if _is_audio(name):
            yield f"/{name}", name


def _zip_members(path: Path) -> Iterator[tuple[str, str]]:
    with zipfile.ZipFile(path) as archive, path.open("rb") as raw:
        for member in archive.infolist():
            if not _is_audio(member.filename):
                continue
            if member.compress_type != zipfile.ZIP_STORED:
                raise ManifestError(
                    f"{path}: {member.filename} is compressed; only zips that store their members as they are (zip -0) "
                    "can be read at random"
                )
            raw.seek(member.header_offset + _ZIP_LOCAL_HEADER_BYTES - 4)
            lengths = raw.read(4)
            name_and_extra = int.from_bytes(lengths[:2], "little") + int.from_bytes(lengths[2:], "little")
            offset = member.header_offset + _ZIP_LOCAL_HEADER_BYTES + name_and_extra
            yield f":{offset}:{member.file_size}", member.filename


def _is_audio(name: str) -> bool:
    base = name.rsplit("/", 1)[-1]
    return not base.startswith(".") and os.path.splitext(base)[1].lower() in AUDIO_SUFFIXES


_MEMBERS = {".h5": _h5_members, ".hdf5": _h5_members, ".tar": _tar_members, ".zip": _zip_members}
CONTAINER_SUFFIXES = frozenset(_MEMBERS)
