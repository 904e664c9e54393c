"""The clips of a manifest that its statistics are taken of, and what these depend on."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ...audio.errors import AudioError
from ...audio.io import AudioInfo
from ...audio.spelling import existing_spelling
from ..bad_clips import BadClips
from ..containers import ClipReader, split_container
from ..manifest import Manifest, ManifestError
from ..sampling import shuffled_order
from .lengths import LengthDistribution
from .parallel import parallel_map

_SEED = 1
_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class ManifestSample:
    """All clips of a manifest, or some of them."""

    manifest: Manifest
    rows: Sequence[int]

    @classmethod
    def of(cls, file: Path, max_clips: int) -> ManifestSample:
        """At most so many clips, always the same ones; at random, as rows at equal distances could be of one kind.

        Raises:
            ManifestError: no such manifest.
        """
        manifest = Manifest.read(file)
        rows: Sequence[int] = range(len(manifest))
        if len(manifest) > max_clips:
            rows = sorted(shuffled_order(len(manifest), _SEED, epoch=1)[:max_clips].tolist())
        return cls(manifest, rows)

    def digest_of_manifest(self) -> str:
        """Of its contents."""
        digest = hashlib.blake2b(digest_size=16)
        with self.manifest.file.open("rb") as handle:
            while block := handle.read(_BLOCK_BYTES):
                digest.update(block)
        return digest.hexdigest()

    def digest_of_files(self) -> str:
        """Of sizes and dates: clips may be replaced without a change of the manifest."""
        states: dict[str, str] = {}
        digest = hashlib.blake2b(digest_size=16)
        for row in self.rows:
            file = split_container(self.manifest.path(row))[0]
            if file not in states:
                states[file] = _state(file)
            digest.update(states[file].encode())
        return digest.hexdigest()

    def read_lengths(self, max_bad_fraction: float, h5_sample_rate_hz: int, workers: int) -> LengthDistribution:
        """From the clips' headers.

        Raises:
            ManifestError: too many unreadable clips, or nothing else.
        """
        bad_clips, lengths = BadClips(self.manifest, max_bad_fraction, len(self.rows)), LengthDistribution()
        paths = map(self.manifest.path, self.rows)
        read = parallel_map(
            partial(reader_of_headers, h5_sample_rate_hz), paths, workers, "lengths", total=len(self.rows)
        )
        for row, found in zip(self.rows, read, strict=True):
            if isinstance(found, AudioError):
                bad_clips.add(row, found)
            else:
                lengths.add(found.duration_s)
        if not lengths.counts:
            raise ManifestError(f"{self.manifest.file}: none of its clips can be read")
        return lengths


def reader_of_headers(h5_sample_rate_hz: int = 32_000) -> Callable[[str], AudioInfo | AudioError]:
    """A worker's function: what the header of a clip says, or what is wrong with it."""
    reader = ClipReader(h5_sample_rate_hz=h5_sample_rate_hz)

    def read(path: str) -> AudioInfo | AudioError:
        try:
            return reader.probe(path)
        except AudioError as error:
            return error

    return read


def _state(file: str) -> str:
    try:
        status = os.stat(existing_spelling(file))
    except OSError:
        return "absent;"
    return f"{status.st_size} {status.st_mtime_ns};"
