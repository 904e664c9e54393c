"""Which files of a folder are features, and of what: so that a later run knows what it may replace or remove."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from io import FileIO
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..data.containers import split_container

_NAME = "extraction.files"
_SUFFIX = ".jsonl"


class Source(NamedTuple):
    """What a clip was read from: another size or time of the file means another sound, wherever it lies."""

    num_bytes: int
    modified_s: int


def source_of(path: str) -> Source | None:
    """The source of a clip; that of a container is the container. None where it cannot be told."""
    try:
        status = os.stat(split_container(path)[0])
    except (OSError, ValueError):
        return None
    return Source(status.st_size, int(status.st_mtime))


class Inventory:
    """A list of `[file, clip, bytes, seconds]` in json, one per line; of each shard its own, as each is only added to.

    A file is listed before it is written: what is not listed was never ours.

    Args:
        folder: where the features lie.
        shard: number and count.
    """

    def __init__(self, folder: Path, shard: tuple[int, int] = (1, 1)):
        number, count = shard
        part = "" if count == 1 else f".{number}-of-{count}"
        self.folder = folder
        self._start = f"{folder.as_posix()}/"
        self.path = folder / f"{_NAME}{part}{_SUFFIX}"
        self._sources: dict[str, Source | None] = {}
        self._handle: FileIO | None = None

    def read(self) -> None:
        """Reads what all shards of earlier runs have listed; this one's own list has the last word."""
        self._sources = {}
        for path in sorted(self.folder.glob(f"{_NAME}*{_SUFFIX}"), key=lambda path: (path == self.path, path.name)):
            with open(path, encoding="utf-8", errors="surrogateescape") as lines:
                self._sources.update(entry for line in lines if (entry := _entry(line)) is not None)

    def __contains__(self, file: Path) -> bool:
        return self._key(file) in self._sources

    def source(self, file: Path) -> Source | None:
        """From what a listed file was made."""
        return self._sources.get(self._key(file))

    def add(self, file: Path, clip_name: str, source: Source | None) -> None:
        """Lists a file that is about to be written."""
        if self._handle is None:
            self._handle = open(self.path, "a+b", buffering=0)
            if self._handle.tell() and _last_byte(self._handle) != b"\n":  # of a run that was killed
                self._handle.write(b"\n")
        key = self._key(file)
        self._handle.write(f"{json.dumps([key, clip_name, *(source or ())])}\n".encode())
        self._sources[key] = source

    def remove_files(self, keep: Iterable[Path] = ()) -> None:
        """Removes the listed files but some, and forgets them where none is kept."""
        kept = {self._key(file) for file in keep}
        for key in [key for key in self._sources if key not in kept]:
            file = self.folder / key
            if file.is_file() and not file.is_symlink():
                file.unlink()
            del self._sources[key]
        if not kept:
            for path in self.folder.glob(f"{_NAME}*{_SUFFIX}"):
                path.unlink()

    def close(self) -> None:
        """Ends adding."""
        if self._handle is not None:
            self._handle.close()
            self._handle = None

    def _key(self, file: Path) -> str:
        path = file.as_posix()
        if path.startswith(self._start):  # pathlib takes many times as long, and each clip asks three times
            return path[len(self._start) :]
        return file.relative_to(self.folder).as_posix()  # of the folders / and .


def _entry(line: str) -> tuple[str, Source | None] | None:
    try:
        key, _, *source = json.loads(line)
        if not key.endswith(".npy") or key.startswith("/") or ".." in key.split("/"):
            return None
        return key, Source(*source) if source else None
    except (ValueError, TypeError, AttributeError, RecursionError):  # the last line of a run that was killed
        return None


def _last_byte(handle) -> bytes:
    handle.seek(-1, os.SEEK_END)
    return handle.read(1)


def array_header(path: Path) -> tuple[tuple[int, ...], np.dtype] | None:
    """Shape and type of the array in a .npy file; None where it holds none, or not all of it."""
    try:
        with open(path, "rb") as file:
            version = np.lib.format.read_magic(file)
            read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
            shape, _, dtype = read(file)
            whole = file.tell() + dtype.itemsize * int(np.prod(shape, dtype=np.int64))
            return (shape, dtype) if os.fstat(file.fileno()).st_size == whole else None
    except (OSError, ValueError, KeyError, EOFError, SyntaxError):
        return None
