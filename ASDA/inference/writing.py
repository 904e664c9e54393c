"""Writing on a thread of its own, so that the network does not wait for files."""

from __future__ import annotations

import threading
from collections import deque
from typing import Protocol

from ..atomic import signals_held
from .features import ClipFeatures
from .store import FeatureStore, UnwritableClipError
from .windows import BadClip, LoadedClip

WAITING_BYTES = 64 * 2**20
"""So much may wait to be written; a clip with more waits alone."""


class Finished(Protocol):
    """A clip of which all is computed."""

    clip: LoadedClip

    @property
    def num_bytes(self) -> int:
        """Room that its features take."""

    def features(self) -> ClipFeatures:
        """They."""


class FeatureWriter:
    """Hands clips' features to a store, inside a `with` block; what has been given is written when the block ends.

    A failure of the store ends the writing, and is raised where the next clip is given, or at the end of the block.

    Args:
        store: entered already; nothing else may use it inside the block.

    Attributes:
        bad: clips whose features are not finite or cannot be written; complete when the block has ended.
    """

    def __init__(self, store: FeatureStore):
        self.bad: list[BadClip] = []
        self._store = store
        self._waiting: deque[tuple[Finished, int]] = deque()
        self._num_bytes = 0  # of those that wait and the one that is being written
        self._changed = threading.Condition()
        self._is_over = False
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._write_all, name="features")

    def write(self, result: Finished) -> None:
        """Takes the features of a clip; waits while there is too much to be written.

        Raises:
            Exception: the store has failed on an earlier clip.
        """
        num_bytes = result.num_bytes
        with self._changed:
            while self._failure is None and self._num_bytes and self._num_bytes + num_bytes > WAITING_BYTES:
                self._changed.wait()
            self._raise_failure()
            self._waiting.append((result, num_bytes))
            self._num_bytes += num_bytes
            self._changed.notify_all()

    def __enter__(self) -> FeatureWriter:
        self._thread.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, traceback: object) -> None:
        with signals_held():  # whoever asks to end once more must not find the store in use
            with self._changed:
                self._is_over = True
                self._changed.notify_all()
            self._thread.join()
        if kind is None:
            self._raise_failure()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _write_all(self) -> None:
        while (entry := self._next()) is not None:
            result, num_bytes = entry
            try:
                self._write(result)
            except BaseException as failure:  # noqa: BLE001 (raised where the next clip is given)
                with self._changed:
                    self._failure = failure
                    self._waiting.clear()
                    self._changed.notify_all()
                return
            del result, entry
            with self._changed:
                self._num_bytes -= num_bytes
                self._changed.notify_all()

    def _next(self) -> tuple[Finished, int] | None:
        with self._changed:
            while not self._waiting and not self._is_over:
                self._changed.wait()
            return self._waiting.popleft() if self._waiting else None

    def _write(self, result: Finished) -> None:
        clip = result.clip
        features = result.features()
        if not features.is_finite():
            reason = "a feature is beyond what float16 holds; extract without --half"
            self.bad.append(BadClip(clip.index, clip.clip, reason, not_finite=True))
            return
        try:
            self._store.write(clip.clip, features)
        except UnwritableClipError as error:
            self.bad.append(BadClip(clip.index, clip.clip, str(error)))
