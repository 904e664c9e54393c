"""Features as .npy files: one, or a tree that mirrors that of the clips."""

from __future__ import annotations

import errno
import json
import os
import time
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from ..atomic import OutputLock, atomic_binary, atomic_writer, fitting_name, is_stream
from .clips import Clip, Clips
from .features import ClipFeatures
from .inventory import Inventory, array_header, source_of
from .store import (
    _TIMES,
    SETTINGS_FILE,
    FeatureStore,
    OutputError,
    UnwritableClipError,
    _ambiguous_stems,
    _differences,
    _refuse_to_mix,
    _stem,
)

_SUFFIX = ".npy"
# What is wrong with the one file, and no other: its name, or what stands in its way.
_OF_ONE_FILE = (errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL, errno.ENOTDIR, errno.EISDIR, errno.EEXIST)
_LONGEST_START_S = 20.0
"""How long a shard waits for others that are just setting the folder up."""


class NpyFile(FeatureStore):
    """One clip, one file (and `NAME.times.npy` with the time stamps). Where another kind of file is, it is kept.

    Args:
        path: the file; as numpy.save does, `.npy` is added to other names, but to none of a device or a pipe.
        timestamps: write the time stamps too.

    Raises:
        OutputError: time stamps beside what is no file.
    """

    def __init__(self, path: Path, timestamps: bool):
        stream = is_stream(path)
        if stream and timestamps:
            raise OutputError(f"{path}: no file, so time stamps have no place beside it; leave --timestamps away")
        self.path = path if stream or path.suffix == _SUFFIX else path.with_name(f"{path.name}{_SUFFIX}")
        self.timestamps = timestamps

    def done(self, clip: Clip) -> bool:
        """Always False: the file does not say what its features depend on, and one clip is soon done again."""
        return False

    def write(self, clip: Clip, features: ClipFeatures) -> None:
        to_write = _files(self.path, features, self.timestamps)
        for path, values in to_write.items():
            if not _may_replace(path, values):
                raise OutputError(_kept(path))
        for path, values in to_write.items():
            _save(path, values)


class NpyTree(FeatureStore):
    """One .npy for each clip, in folders that mirror those of the clips.

    `sub/dog.wav` becomes `sub/dog.npy`; where `sub/dog.flac` is there too, both keep their ending (`sub/dog.wav.npy`).
    So does any other clip whose file would bear the name of another's. Names that would be too long are shortened.

    Beside them stand `extraction.json`, what the features depend on, and `extraction.files.jsonl`, which files were
    written. A run that does not resume removes those; files that are not listed there are neither replaced nor removed,
    unless they look like features of the same kind.

    Args:
        folder: made if it does not exist.
        clips: all clips of the run, of every shard.
        settings: what the features depend on; recorded, and compared when a run is resumed.
        timestamps: write `NAME.times.npy` too.
        resume: keep what an earlier run with the same settings has written of clips that are still the same.
        shard: number and count; shards work at the same time, other runs do not.

    Raises:
        OutputError: resuming with other settings; a folder that is none, or has a record of something else.
        InputError: a clip's name that would lead out of the folder.
    """

    def __init__(
        self,
        folder: Path,
        clips: Clips,
        settings: dict[str, Any],
        timestamps: bool,
        resume: bool,
        shard: tuple[int, int] = (1, 1),
    ):
        if folder.exists() and not folder.is_dir():
            raise OutputError(f"{folder}: expected a folder (or a name that ends in .h5), this is a file")
        self.folder = folder
        self.clips = clips
        self.settings = settings
        self.timestamps = timestamps
        self.resume = resume
        self.shard = shard
        self._record = folder / SETTINGS_FILE
        self._ambiguous = _ambiguous_stems(clips, timestamps)
        self._inventory = Inventory(folder, shard)
        self._lock = OutputLock(folder, folder / ".extraction.lock")
        self._shard_lock = OutputLock(folder, folder / f".extraction.{shard[0]}-of-{shard[1]}.lock")
        self._replaced = bool(self._different())
        self._inventory.read()

    def begin(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._shard_lock.acquire()
        self._acquire()
        different = self._different()
        self._inventory.read()
        if different:
            self._inventory.remove_files()
            with atomic_writer(self._record) as file:
                json.dump(self.settings, file, indent=2)
                file.write("\n")
        elif not self.resume:
            self._inventory.remove_files(keep=self._of_other_shards())
        self._replaced = False
        if self.shard[1] > 1:
            self._lock.acquire(shared=True)

    def end(self) -> None:
        self._inventory.close()
        self._lock.release()
        self._shard_lock.release()

    def path(self, clip: Clip) -> Path:
        """Where the features of a clip go."""
        stem = _stem(clip.name)
        *folders, name = (clip.name if stem in self._ambiguous else stem).split("/")
        longest = f"{_TIMES}{_SUFFIX}" if self.timestamps else _SUFFIX
        return self.folder.joinpath(*map(fitting_name, folders), fitting_name(name, _SUFFIX, longest))

    def done(self, clip: Clip) -> bool:
        if not self.resume or self._replaced:
            return False
        path = self.path(clip)
        source = source_of(clip.path)
        return all(
            file in self._inventory
            and (source is None or self._inventory.source(file) == source)
            and array_header(file) is not None
            for file in ((path, times_path(path)) if self.timestamps else (path,))
        )

    def write(self, clip: Clip, features: ClipFeatures) -> None:
        path, source = self.path(clip), source_of(clip.path)
        to_write = _files(path, features, self.timestamps)
        try:
            for file in (times_path(path), path):
                if file in self._inventory and not file.is_symlink():  # of an earlier sound
                    file.unlink(missing_ok=True)
                elif file in to_write and not _may_replace(file, to_write[file]):
                    raise UnwritableClipError(_kept(file))
            for file, values in to_write.items():
                self._inventory.add(file, clip.name, source)
                # So many files that waiting for the disk would take longer than computing them. After a loss of power
                # the last may be incomplete, which `done` notices.
                _save(file, values, durable=False)
        except OSError as error:
            if error.errno in _OF_ONE_FILE:
                raise UnwritableClipError(f"{file}: the features cannot be written: {error.strerror}") from error
            raise

    def _different(self) -> list[str]:
        different = _differences(self._record, self.settings) if self._record.exists() else ["no record"]
        if different and self.resume and self._record.exists():
            _refuse_to_mix(self._record, different)
        return different

    def _acquire(self) -> None:
        """Alone, or with the other shards of the same run once one of them has set the folder up."""
        if self.shard[1] == 1:
            self._lock.acquire()
            return
        give_up = time.monotonic() + _LONGEST_START_S
        while not self._lock.try_acquire():
            if self._lock.try_acquire(shared=True):
                if not self._different():
                    return
                self._lock.release()
            if time.monotonic() > give_up:
                self._lock.acquire()
            time.sleep(0.1)

    def _of_other_shards(self) -> list[Path]:
        """Files of this run that other shards write, or have written."""
        number, count = self.shard
        others = (self.path(clip) for index, clip in enumerate(self.clips) if index % count != number - 1)
        return [file for path in others for file in (path, times_path(path))] if count > 1 else []


def times_path(path: Path) -> Path:
    """`dog.npy` -> `dog.times.npy`."""
    return path.with_name(f"{path.name.removesuffix(_SUFFIX)}{_TIMES}{_SUFFIX}")


def _files(path: Path, features: ClipFeatures, timestamps: bool) -> dict[Path, ClipFeatures | np.ndarray]:
    """What goes where, the time stamps first."""
    return ({times_path(path): features.times_s.numpy()} if timestamps else {}) | {path: features}


def _save(path: Path, values: ClipFeatures | np.ndarray, durable: bool = True) -> None:
    """Writes a .npy file, of features block by block as they may be too large to be held."""
    if isinstance(values, np.ndarray):
        like, blocks = values, iter([values])
    else:
        like, blocks = values.values.numpy(), (block for _, block in values.blocks())
    with atomic_binary(path, durable=durable) as file:
        file.write(_header(like.shape, like.dtype))
        for block in blocks:
            file.write(np.ascontiguousarray(block))


@lru_cache(maxsize=64)
def _header(shape: tuple[int, ...], dtype: np.dtype) -> bytes:
    """What numpy.save writes before an array in C order; the clips of a run have few shapes."""
    file = BytesIO()
    described = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, described)
    return file.getvalue()


def _may_replace(path: Path, values: ClipFeatures | np.ndarray) -> bool:
    """Whether nothing is lost: no file, an empty one, or an array that only differs in the number of rows."""
    if not os.path.lexists(path) or is_stream(path) or not path.exists():
        return True
    if path.is_file() and path.stat().st_size == 0:
        return True
    found = array_header(path)
    if found is None or not found[0] or found[1].kind != "f":
        return False
    shape = values.shape if isinstance(values, np.ndarray) else values.values.shape
    return found[0][-1] == shape[-1]


def _kept(path: Path) -> str:
    return f"{path}: exists and holds no such features, so it is left as it is; name another output or remove it"
