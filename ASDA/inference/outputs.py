"""Where features go: single .npy files, a tree of them, or one .h5. Nothing is ever left half written."""

from __future__ import annotations

import json
import os
import shutil
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np

from ..audio.io import AUDIO_SUFFIXES
from ..data.atomic import atomic_path, atomic_writer
from .clips import Clip, Clips, InputError
from .features import ClipFeatures

SETTINGS_FILE = "extraction.json"
_TIMES = ".times"
CLIPS_PER_PART = 256


class OutputError(ValueError):
    """Features cannot go where they were to go."""


class FeatureStore(ABC):
    """Takes the features of clips, inside a `with` block."""

    @abstractmethod
    def done(self, clip: Clip) -> bool:
        """Whether an earlier run has written a clip."""

    @abstractmethod
    def write(self, clip: Clip, features: ClipFeatures) -> None:
        """Takes the features of one clip."""

    def flush(self) -> None:  # noqa: B027 (most stores hold nothing back)
        """Saves what is held back; also when the run is interrupted."""

    def close(self) -> None:  # noqa: B027
        """Ends a run that went through all its clips."""

    def __enter__(self) -> FeatureStore:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, traceback: object) -> None:
        self.flush()
        if kind is None:
            self.close()


def _save(path: Path, values: np.ndarray) -> None:
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        np.save(file, values)


class NpyFile(FeatureStore):
    """One clip, one file (and `NAME.times.npy` with the time stamps)."""

    def __init__(self, path: Path, timestamps: bool):
        self.path = path if path.suffix == ".npy" else path.with_name(f"{path.name}.npy")  # as numpy.save names it
        self.timestamps = timestamps

    def done(self, clip: Clip) -> bool:
        return self.path.exists()

    def write(self, clip: Clip, features: ClipFeatures) -> None:
        if self.timestamps:
            _save(times_path(self.path), features.times_s.numpy())
        _save(self.path, features.values.numpy())


class NpyTree(FeatureStore):
    """One .npy for each clip, in folders that mirror those of the clips.

    `sub/dog.wav` becomes `sub/dog.npy`; where `sub/dog.flac` is there too, both keep their ending (`sub/dog.wav.npy`).
    So does any other clip whose file would bear the name of another's.

    Args:
        folder: made if it does not exist.
        clips: all clips of the run, of every shard.
        settings: what the features depend on; recorded, and compared when a run is resumed.
        timestamps: write `NAME.times.npy` too.
        resume: keep what an earlier run with the same settings has written.

    Raises:
        OutputError: resuming with other settings; a clip's name that would lead out of the folder.
    """

    def __init__(self, folder: Path, clips: Clips, settings: dict[str, Any], timestamps: bool, resume: bool):
        if folder.is_file():
            raise OutputError(f"{folder}: expected a folder (or a name that ends in .h5), this is a file")
        self.folder = folder
        self.timestamps = timestamps
        self.resume = resume
        self._ambiguous = _ambiguous_stems(clips, timestamps)
        record = folder / SETTINGS_FILE
        different = _differences(record, settings) if record.exists() else ["no record"]
        if different:
            if resume and record.exists():
                _refuse_to_mix(record, different)
            with atomic_writer(record) as file:
                json.dump(settings, file, indent=2)
                file.write("\n")
        # What is older than the record was made with other settings, by a run that this one replaces.
        self._valid_since_ns = record.stat().st_mtime_ns

    def path(self, clip: Clip) -> Path:
        """Where the features of a clip go."""
        stem = _stem(clip.name)
        return self.folder / f"{clip.name if stem in self._ambiguous else stem}.npy"

    def done(self, clip: Clip) -> bool:
        path = self.path(clip)
        return self.resume and self._valid(path) and (not self.timestamps or self._valid(times_path(path)))

    def _valid(self, path: Path) -> bool:
        try:
            return path.stat().st_mtime_ns >= self._valid_since_ns
        except FileNotFoundError:
            return False

    def write(self, clip: Clip, features: ClipFeatures) -> None:
        NpyFile(self.path(clip), self.timestamps).write(clip, features)


class H5File(FeatureStore):
    """All clips in one .h5: `features/NAME` and `times_s/NAME`, NAME being the clip's path with its ending.

    While the run lasts, complete parts of it stand in `FILE.parts/`; they are joined at the end. A run that was killed
    loses at most the part it was at.

    Args:
        path: the file.
        clips: all clips of the run.
        settings: see NpyTree; stored as the attribute `settings`.
        resume: keep what an earlier run with the same settings has written, and add to it.

    Raises:
        OutputError: see NpyTree.
    """

    def __init__(self, path: Path, clips: Clips, settings: dict[str, Any], resume: bool):
        _ambiguous_stems(clips)  # which refuses names that are no paths inside
        self.path = path
        self.parts = path.with_name(path.name + ".parts")
        self.settings = settings
        self._pending: list[tuple[str, ClipFeatures]] = []
        self._done: set[str] = set()
        self._earlier = [path] if resume and path.exists() else []
        if not resume:
            shutil.rmtree(self.parts, ignore_errors=True)
        self._earlier += sorted(self.parts.glob("*.h5"))
        self._next_part = 1 + max((int(part.stem) for part in self._earlier if part != path), default=0)
        for file in self._earlier:
            self._done |= self._names(file)

    def done(self, clip: Clip) -> bool:
        return _h5_key(clip.name) in self._done

    def write(self, clip: Clip, features: ClipFeatures) -> None:
        self._pending.append((_h5_key(clip.name), features))
        if len(self._pending) >= CLIPS_PER_PART:
            self.flush()

    def flush(self) -> None:
        import h5py  # only those who want h5 files pay for its import

        if not self._pending:
            return
        part = self.parts / f"{self._next_part:06d}.h5"
        with atomic_path(part) as temporary, h5py.File(temporary, "w") as file:
            self._describe(file)
            for name, features in self._pending:
                file[f"features/{name}"] = features.values.numpy()
                file[f"times_s/{name}"] = features.times_s.numpy()
        self._earlier.append(part)
        self._next_part += 1
        self._pending.clear()

    def close(self) -> None:
        import h5py

        with atomic_path(self.path) as temporary:
            with h5py.File(temporary, "w") as target:
                self._describe(target)
                for earlier in self._earlier:
                    with h5py.File(earlier, "r") as source:
                        _copy_datasets(source, target)
        shutil.rmtree(self.parts, ignore_errors=True)

    def _describe(self, file) -> None:
        file.attrs["settings"] = json.dumps(self.settings)
        file.require_group("features")
        file.require_group("times_s")

    def _names(self, path: Path) -> set[str]:
        import h5py

        names: set[str] = set()
        with h5py.File(path, "r") as file:
            if different := _differences_from(json.loads(file.attrs.get("settings", "{}")), self.settings):
                _refuse_to_mix(path, different)
            file["features"].visititems(lambda name, item: names.add(name) if isinstance(item, h5py.Dataset) else None)
        return names


def _h5_key(name: str) -> str:
    """The name under which a clip stands in an .h5, where names are UTF-8 and file names need not be."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def _copy_datasets(source, target) -> None:
    import h5py

    def copy(name: str, item) -> None:
        if isinstance(item, h5py.Dataset) and name not in target:
            source.copy(item, target.require_group(os.path.dirname(name)), os.path.basename(name))

    source.visititems(copy)


def times_path(path: Path) -> Path:
    """`dog.npy` -> `dog.times.npy`."""
    return path.with_name(f"{path.name.removesuffix('.npy')}{_TIMES}.npy")


def _stem(name: str) -> str:
    stem, suffix = os.path.splitext(name)
    return stem if suffix.lower() in AUDIO_SUFFIXES else name


def _ambiguous_stems(clips: Clips, timestamps: bool = False) -> set[str]:
    """Stems under which the files of several clips would have one name.

    Raises:
        InputError: two clips have one name, or a name would lead out of the output folder.
    """
    names: set[str] = set()
    stems: set[str] = set()
    ambiguous: set[str] = set()
    for clip in clips:
        if ".." in clip.name.split("/"):
            raise InputError(
                f'the clip "{clip.name}" ({clip.path}) would be written outside the output; name it without ..'
            )
        if clip.name in names:
            raise InputError(
                f'two clips are called "{clip.name}", the second is {clip.path}; give them in separate runs'
            )
        names.add(clip.name)
        stem = _stem(clip.name)
        (ambiguous if stem in stems else stems).add(stem)
    if timestamps:  # dog.times.wav beside dog.wav, whose time stamps go to dog.times.npy
        ambiguous |= {stem for stem in stems if stem.endswith(_TIMES) and stem.removesuffix(_TIMES) in stems}
    # dog.wav.mp3 beside dog.wav, which keeps its ending because there is a dog.flac
    while more := {stem for stem in stems if stem in names and stem not in ambiguous and _stem(stem) in ambiguous}:
        ambiguous |= more
    return ambiguous


def _differences(record: Path, wanted: dict[str, Any]) -> list[str]:
    try:
        recorded = json.loads(record.read_text(encoding="utf-8"))
    except ValueError:
        return ["it cannot be read"]
    return _differences_from(recorded, wanted)


def _differences_from(recorded: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    wanted = json.loads(json.dumps(wanted))  # tuples become lists, as they did in the record
    return [
        f"{name} was {recorded.get(name)}, now {wanted.get(name)}"
        for name in sorted({*recorded, *wanted})
        if recorded.get(name) != wanted.get(name)
    ]


def _refuse_to_mix(where: Path, different: list[str]) -> None:
    raise OutputError(f"{where}: --resume would mix different features: {'; '.join(different)}")
