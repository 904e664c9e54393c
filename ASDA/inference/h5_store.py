"""Features of all clips in one .h5."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from ..atomic import atomic_path
from .clips import Clip, Clips
from .features import ClipFeatures
from .store import FeatureStore, _ambiguous_stems, _differences_from, _refuse_to_mix

CLIPS_PER_PART = 256
BYTES_PER_PART = 256 * 2**20


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
        held = sum(pending.values.nbytes for _, pending in self._pending)
        if len(self._pending) >= CLIPS_PER_PART or held >= BYTES_PER_PART:
            self.flush()

    def flush(self) -> None:
        import h5py  # only those who want h5 files pay for its import

        if not self._pending:
            return
        part = self.parts / f"{self._next_part:06d}.h5"
        with atomic_path(part) as temporary, h5py.File(temporary, "w") as file:
            self._describe(file)
            for name, features in self._pending:
                values = file.create_dataset(
                    f"features/{name}", tuple(features.values.shape), features.values.numpy().dtype
                )
                for place, block in features.blocks():
                    values[place] = block
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
