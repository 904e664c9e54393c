"""Files that hold encoded clips (wav, flac, ...) as they are."""

from __future__ import annotations

import io
import os
from contextlib import AbstractContextManager

from ..audio.errors import AudioError
from ..audio.io import OpenAudio, opened


class EncodedContainer:
    """A file that holds encoded clips as plain ranges of bytes."""

    def __init__(self, file: str):
        self._descriptor = os.open(file, os.O_RDONLY)

    def locate(self, key: str, path: str) -> tuple[int, int]:
        """Offset and length in bytes of a clip."""
        raise NotImplementedError

    def open(self, key: str, path: str) -> AbstractContextManager[OpenAudio]:
        return opened(path, self._encoded(key, path))

    def close(self) -> None:
        os.close(self._descriptor)

    def _encoded(self, key: str, path: str) -> io.BytesIO:
        offset, length = self.locate(key, path)
        num_bytes = os.fstat(self._descriptor).st_size
        if offset + length > num_bytes:  # asked before anything is read: memory is taken for all that is asked for
            present = max(0, num_bytes - offset)
            raise AudioError(path, f"expected {length} bytes at offset {offset}, the file holds {present} there")
        data = os.pread(self._descriptor, length, offset)  # no shared file position: threads may read side by side
        if len(data) != length:
            raise AudioError(path, f"expected {length} bytes at offset {offset}, {len(data)} could be read")
        return io.BytesIO(data)
