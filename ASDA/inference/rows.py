"""Rows of features that come one part after the other: in memory or, if they are many, in a temporary file."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

IN_MEMORY_BYTES = 256 * 2**20
"""More than this goes to a file, in the folder that TMPDIR names."""

_BLOCK_BYTES = 16 * 2**20


class Rows:
    """(layers, rows, ...) values, filled in parts and read in blocks.

    Args:
        shape: layers, rows, and the shape of a row.
        dtype: float32 or float16.

    Raises:
        OSError: there is no room for the file.
    """

    def __init__(self, shape: tuple[int, ...], dtype: torch.dtype):
        self.shape = shape
        self._values: Tensor | None = None
        self._numpy_dtype = np.dtype({torch.float32: "float32", torch.float16: "float16"}[dtype])
        self._row_bytes = math.prod(shape[2:]) * self._numpy_dtype.itemsize
        self.num_bytes = num_bytes = shape[0] * shape[1] * self._row_bytes
        if num_bytes <= IN_MEMORY_BYTES:
            self._values = torch.empty(shape, dtype=dtype)
            return
        self._file = tempfile.TemporaryFile(prefix="asda-rows-")
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(self._file.fileno(), 0, num_bytes)

    @property
    def in_memory(self) -> bool:
        return self._values is not None

    def put(self, first: int, part: Tensor) -> None:
        """Fills the rows from ``first`` on with ``part`` (layers, r, ...)."""
        if self._values is not None:
            self._values[:, first : first + part.shape[1]] = part
            return
        for layer, rows in enumerate(part.numpy()):
            self.put_block(layer, first, rows)

    def put_block(self, layer: int, first: int, rows: np.ndarray) -> None:
        """Fills the rows (r, ...) of one layer from ``first`` on."""
        if self._values is not None:
            self._values[layer, first : first + len(rows)] = torch.from_numpy(rows)
            return
        self._file.seek((layer * self.shape[1] + first) * self._row_bytes)
        self._file.write(np.ascontiguousarray(rows, self._numpy_dtype).tobytes())

    def values(self) -> Tensor:
        """All of them; those of a file are mapped, not read."""
        if self._values is not None:
            return self._values
        self._file.flush()
        return torch.from_numpy(np.memmap(self._file, self._numpy_dtype, "r+", shape=self.shape))

    def blocks(self) -> Iterator[tuple[int, int, np.ndarray]]:
        """Layer, first row and values (r, ...) of blocks of a few megabytes, in their order in memory."""
        step = max(1, _BLOCK_BYTES // max(self._row_bytes, 1))
        for layer in range(self.shape[0]):
            for first in range(0, self.shape[1], step):
                yield layer, first, self._read(layer, first, min(step, self.shape[1] - first))

    def _read(self, layer: int, first: int, count: int) -> np.ndarray:
        if self._values is not None:
            return self._values[layer, first : first + count].numpy()
        self._file.seek((layer * self.shape[1] + first) * self._row_bytes)
        content = self._file.read(count * self._row_bytes)
        return np.frombuffer(content, self._numpy_dtype).reshape(count, *self.shape[2:])
