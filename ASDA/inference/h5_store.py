"""Features of all clips in one .h5."""

from __future__ import annotations

import json
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..atomic import OutputLock, atomic_binary, fitting_name
from ..checkpoints.files import first_line
from .clips import Clip, Clips
from .features import ClipFeatures
from .inventory import Source, source_of
from .store import FeatureStore, OutputError, _ambiguous_stems, _differences_from, _refuse_to_mix, _utf8

CLIPS_PER_PART = 256
BYTES_PER_PART = 256 * 2**20

_SETTINGS, _SOURCE = "settings", "source"
_PART = re.compile(r"(\d{6})\.h5")
_OF_A_PART = re.compile(r"\d{6}\.h5|\.\d{6}\.h5\..*\.part")


class H5File(FeatureStore):
    """All clips in one .h5: `features/NAME` and `times_s/NAME`, NAME being the clip's path with its ending.

    While the run lasts, complete parts of it stand in `FILE.parts/`; they are joined at the end. A run that was killed
    loses at most the part it was at. Any other file is neither replaced nor removed.

    Args:
        path: the file.
        clips: all clips of the run.
        settings: see NpyTree; stored as the attribute `settings`.
        resume: keep what an earlier run with the same settings has written of clips that are still the same, and add.

    Raises:
        OutputError: see NpyTree; a file that holds something else.
    """

    def __init__(self, path: Path, clips: Clips, settings: dict[str, Any], resume: bool):
        _ambiguous_stems(clips)  # which refuses names that are no paths inside
        self.path = path
        self.parts = path.with_name(fitting_name(path.name, ".parts"))
        self.settings = settings
        self.resume = resume
        self._lock = OutputLock(path)
        self._pending: list[tuple[str, Source | None, ClipFeatures]] = []
        self._pending_bytes = 0
        self._read_earlier()

    def begin(self) -> None:
        self._lock.acquire()
        if not self.resume:
            self._remove_parts()
        self._read_earlier()  # again, as another process may have written meanwhile

    def end(self) -> None:
        with suppress(OSError):  # there is something in it
            self.parts.rmdir()
        self._lock.release()

    def done(self, clip: Clip) -> bool:
        key = _utf8(clip.name)
        if key not in self._done:
            return False
        source = source_of(clip.path)
        return source is None or source == self._done[key]

    def write(self, clip: Clip, features: ClipFeatures) -> None:
        self._pending.append((_utf8(clip.name), source_of(clip.path), features))
        self._pending_bytes += features.values.nbytes
        if len(self._pending) >= CLIPS_PER_PART or self._pending_bytes >= BYTES_PER_PART:
            self.flush()

    def flush(self) -> None:
        import h5py  # only those who want h5 files pay for its import

        if not self._pending:
            return
        part = self.parts / f"{self._next_part:06d}.h5"
        with atomic_binary(part) as raw, h5py.File(raw, "w") as file:
            self._describe(file)
            for name, source, features in self._pending:
                values = features.values.numpy()
                if features.in_memory:
                    stored = file.create_dataset(f"features/{name}", data=values)
                else:
                    stored = file.create_dataset(f"features/{name}", values.shape, values.dtype)
                    for place, block in features.blocks():
                        stored[place] = block
                file.create_dataset(f"times_s/{name}", data=features.times_s.numpy())
                if source is not None:
                    stored.attrs[_SOURCE] = source
        self._earlier.append(part)
        self._next_part += 1
        self._pending.clear()
        self._pending_bytes = 0

    def close(self) -> None:
        if self._earlier == [self.path]:  # all was done before: there is nothing to join
            return
        import h5py

        with atomic_binary(self.path) as raw, h5py.File(raw, "w") as target:
            self._describe(target)
            for earlier in reversed(self._earlier):  # the latest features of a clip count
                with h5py.File(earlier, "r") as source:
                    _copy_datasets(source, target, raw.require_going_on)
        self._remove_parts()

    def _read_earlier(self) -> None:
        """Finds out what there is already.

        Raises:
            OutputError: something else, features of another kind, or a damaged file.
        """
        self._done: dict[str, Source | None] = {}
        self._earlier: list[Path] = []
        if os.path.lexists(self.path) and (not self.path.is_file() or self.path.stat().st_size):
            names = self._names(self.path)
            if self.resume:
                self._earlier.append(self.path)
                self._done |= names
        parts = sorted(part for part in self.parts.glob("*.h5") if _PART.fullmatch(part.name)) if self.resume else []
        for part in parts:
            self._done |= self._names(part)
        self._earlier += parts
        self._next_part = 1 + max((int(part.stem) for part in parts), default=0)

    def _names(self, path: Path) -> dict[str, Source | None]:
        import h5py

        names: dict[str, Source | None] = {}

        def collect(name: str, item) -> None:
            if isinstance(item, h5py.Dataset):
                source = item.attrs.get(_SOURCE)
                names[name] = None if source is None else Source(*map(int, source))

        try:
            with h5py.File(path, "r") as file:
                recorded = json.loads(file.attrs.get(_SETTINGS, "null"))
                if not isinstance(recorded, dict) or "features" not in file:
                    raise OutputError(
                        f"{path}: exists and holds no features, so it is left as it is; name another or remove it"
                    )
                if self.resume:
                    if different := _differences_from(recorded, self.settings):
                        _refuse_to_mix(path, different)
                    file["features"].visititems(collect)
        except (OSError, RuntimeError, KeyError, TypeError, json.JSONDecodeError) as error:
            raise OutputError(
                f"{path}: cannot be read as an .h5 with features ({first_line(error)}); remove it or name another "
                "output"
            ) from error
        return names

    def _describe(self, file) -> None:
        file.attrs[_SETTINGS] = json.dumps(self.settings)
        file.require_group("features")
        file.require_group("times_s")

    def _remove_parts(self) -> None:
        if not self.parts.is_dir() or self.parts.is_symlink():
            return
        for path in self.parts.iterdir():
            if _OF_A_PART.fullmatch(path.name):
                path.unlink()
        with suppress(OSError):  # there is something else in it
            self.parts.rmdir()


def _copy_datasets(source, target, require_going_on) -> None:
    """Copies the datasets of a group, and of the groups in it, that the target has not."""
    import h5py

    for name in source:
        if source.get(name, getclass=True) is h5py.Group:
            _copy_datasets(source[name], target.require_group(name), require_going_on)
        elif name not in target:
            require_going_on()
            source.copy(name, target, name)
