"""Writing files that appear complete or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO


@contextmanager
def atomic_path(file: str | os.PathLike) -> Iterator[Path]:
    """Gives a temporary path beside `file` to write to, and renames it when the block ends without an error.

    A reader (or a program that was interrupted) sees the old file or the complete new one, never half of it.
    """
    file = Path(file)
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name[-100:]}.", suffix=".part")
    os.close(descriptor)
    try:
        yield Path(temporary)
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, file)
    except BaseException:
        os.unlink(temporary)
        raise


@contextmanager
def atomic_writer(file: str | os.PathLike) -> Iterator[TextIO]:
    """Opens a text file for writing as :func:`atomic_path` does."""
    with atomic_path(file) as temporary:
        with open(temporary, "w", encoding="utf-8", errors="surrogateescape", newline="\n") as handle:
            yield handle


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
