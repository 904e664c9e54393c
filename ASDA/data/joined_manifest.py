"""The same split of several folders as one list of clips."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .folders import joined
from .manifest import Manifest, Part


class JoinedManifest(Manifest):
    """The rows of several manifests, one after the other.

    A clip's number, and so all that is drawn for it, does not change when another manifest is added behind its own.

    Args:
        manifests: in their order; at least one.
    """

    def __init__(self, manifests: Sequence[Manifest]):
        self._manifests = tuple(manifests)
        self._starts = np.cumsum([0, *map(len, self._manifests)])
        self.file = Path(joined([manifest.file for manifest in self._manifests]))  # as messages name it

    @classmethod
    def read_split(cls, folders: Sequence[str | os.PathLike], split: str) -> Manifest:
        """A split of one folder as it is, or of several joined.

        Raises:
            ManifestError: of any of the manifests, as `Manifest.read` raises it.
        """
        manifests = [Manifest.read(os.path.join(folder, f"{split}.tsv")) for folder in folders]
        return manifests[0] if len(manifests) == 1 else cls(manifests)

    def __reduce__(self):
        return JoinedManifest, (self._manifests,)

    def __len__(self) -> int:
        return int(self._starts[-1])

    @property
    def parts(self) -> tuple[Part, ...]:
        starts = self._starts.tolist()
        return tuple(
            Part(manifest, range(start, stop))
            for manifest, start, stop in zip(self._manifests, starts, starts[1:], strict=False)
        )

    def parts_of(self, indices: np.ndarray) -> np.ndarray:
        return np.searchsorted(self._starts, indices, side="right") - 1

    def line(self, index: int) -> int:
        manifest, row = self._find(index)
        return manifest.line(row)

    def where(self, index: int) -> str:
        """`/data/speech/train.tsv:17`: the manifests have the same name."""
        manifest, row = self._find(index)
        return f"{manifest.file}:{manifest.line(row)}"

    def relative_path(self, index: int) -> str:
        manifest, row = self._find(index)
        return manifest.relative_path(row)

    def path(self, index: int) -> str:
        manifest, row = self._find(index)
        return manifest.path(row)

    def num_samples(self, index: int) -> int:
        manifest, row = self._find(index)
        return manifest.num_samples(row)

    @property
    def all_num_samples(self) -> np.ndarray:
        return np.concatenate([manifest.all_num_samples for manifest in self._manifests])

    def _find(self, index: int) -> tuple[Manifest, int]:
        """The manifest of a clip, and the clip's row in it."""
        index = int(index)
        if not 0 <= index < len(self):
            raise IndexError(f"clip {index} of {len(self)} in {len(self._manifests)} manifests")
        number = int(self.parts_of(np.asarray(index)))
        return self._manifests[number], index - int(self._starts[number])
