"""The bytes of a file, on disk or in memory, read by position."""

import io
import os
from typing import BinaryIO, Union

_HEAD_BYTES = 1024


class FileBytes:
    """An open file; reading here does not move the position of those that decode it.

    Its first bytes are kept, where parsers look a few at a time.

    Args:
        descriptor: of a file opened for reading; stays the caller's.
    """

    def __init__(self, descriptor: int):
        self._descriptor = descriptor
        self.num_bytes = os.fstat(descriptor).st_size
        self._head = self._read(0, _HEAD_BYTES)

    def read(self, start: int, size: int) -> bytes:
        """Up to `size` bytes from `start`; fewer only at the end of the file."""
        if start + size <= len(self._head):
            return self._head[start : start + size]
        size = min(size, self.num_bytes - start)  # the system would provide for all that was asked for
        return self._read(start, size) if size > 0 else b""

    def decoded_to(self) -> int:
        """How far the decoder that shares the descriptor has read; 0 where that is not known."""
        return os.lseek(self._descriptor, 0, os.SEEK_CUR) if os.name == "posix" else 0

    def _read(self, start: int, size: int) -> bytes:
        if hasattr(os, "pread"):
            return os.pread(self._descriptor, size, start)
        os.lseek(self._descriptor, start, os.SEEK_SET)
        return os.read(self._descriptor, size)


class MemoryBytes:
    """An encoded file that is held in memory.

    Args:
        stream: its position is left as it was.
    """

    def __init__(self, stream: BinaryIO):
        self._stream = stream
        if isinstance(stream, io.BytesIO):
            self._data = stream.getvalue()  # which copies nothing
        else:
            position = stream.tell()
            stream.seek(0)
            self._data = stream.read()
            stream.seek(position)
        self.num_bytes = len(self._data)

    def read(self, start: int, size: int) -> bytes:
        """Up to `size` bytes from `start`; fewer only at the end of the file."""
        return self._data[start : start + size]

    def decoded_to(self) -> int:
        """How far the decoder of the stream has read."""
        return self._stream.tell()


Source = Union[FileBytes, MemoryBytes]
