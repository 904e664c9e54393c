"""Counting the clips that cannot be read, in all data-loader workers and processes of a run together."""

from __future__ import annotations

import logging
from collections.abc import Iterable

import torch

from ..audio.io import AudioError
from .manifest import Manifest, ManifestError

logger = logging.getLogger(__name__)

MAX_LISTED = 100


class TooManyBadClipsError(ManifestError):
    """More of a manifest's clips are unreadable than the run allows; the message lists them."""


class BadClips:
    """The clips of a manifest that could not be read.

    Of several that are joined each is held to the limit by itself: all clips of a small one may be few of all.

    One byte of shared memory per clip, so that workers (also persistent ones) and the main process see the same count.

    Args:
        max_fraction: share of a manifest's clips above which `add` stops the run.
        num_clips: how many of the manifest's clips are looked at; None: all.
    """

    def __init__(self, manifest: Manifest, max_fraction: float, num_clips: int | None = None):
        if not 0.0 <= max_fraction <= 1.0:
            raise ValueError(f"max_bad_fraction must lie between 0 and 1, got {max_fraction}")
        self._manifest = manifest
        self._num_clips = len(manifest) if num_clips is None else num_clips
        self._max_fraction = max_fraction
        self._is_bad = torch.zeros(len(manifest), dtype=torch.bool).share_memory_()
        self._news = torch.zeros(1, dtype=torch.bool).share_memory_()

    def add(self, index: int, error: AudioError) -> None:
        """Records a clip and logs it, once.

        Raises:
            TooManyBadClipsError: the clip is one more than the run allows.
        """
        if self._is_bad[index]:
            return
        self._is_bad[index] = True
        self._news[0] = True
        logger.warning("unreadable clip %s (%s): %s", error.path, self._manifest.where(index), error.reason)
        self._check(error)

    @property
    def news(self) -> bool:
        """Whether a clip was added since the last `merge`, on this process or its workers."""
        return bool(self._news)

    def merge(self, rows_of_processes: Iterable[list[int]]) -> None:
        """Counts what the other processes of a run could not read, too.

        Args:
            rows_of_processes: the `indices` of each process.

        Raises:
            TooManyBadClipsError: together these are more than the run allows.
        """
        self._news[0] = False
        for rows in rows_of_processes:
            self._is_bad[torch.tensor(rows, dtype=torch.int64)] = True
        self._check()

    def _check(self, cause: Exception | None = None) -> None:
        is_bad = self._is_bad.clone()  # others may add meanwhile, which makes torch's nonzero fail
        for part in self._manifest.parts:
            rows = part.rows.start + is_bad[part.rows.start : part.rows.stop].nonzero().flatten()
            num_clips = min(len(part.rows), self._num_clips)
            if len(rows) > self._max_fraction * num_clips:
                raise TooManyBadClipsError(self._message(rows.tolist(), num_clips, part.manifest)) from cause

    def __len__(self) -> int:
        return int(self._is_bad.sum())

    def indices(self) -> list[int]:
        """Rows of the manifest, in order."""
        return self._is_bad.clone().nonzero().flatten().tolist()

    def _message(self, rows: list[int], num_clips: int, manifest: Manifest) -> str:
        listed = [f"  {self._manifest.where(row)} {self._manifest.path(row)}" for row in rows[:MAX_LISTED]]
        if len(rows) > MAX_LISTED:
            listed.append(f"  ... and {len(rows) - MAX_LISTED} more; the log names each of them with its reason")
        return (
            f"{len(rows)} of the {num_clips} clips of {manifest.file} could not be read, more than "
            f"max_bad_fraction = {self._max_fraction:g} allows (`asda-manifest check` lists every one):\n"
        ) + "\n".join(listed)
