"""What tests play a stranger's files with: code that must not run, a secret that must not be read, and their limits."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

MARK = "code of the file has run"
SECRET = "the words of another file"
MOST_BYTES = 3 * 2**30
"""Of address space, beside what the process has: far above what any of these small files needs."""
MOST_SECONDS = 20.0


class Code:
    """Touches a file when it is unpickled."""

    def __init__(self, marker: Path):
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.marker,))


def code_file(marker: Path) -> str:
    """The text of a module that touches a file when it is imported."""
    return f"import pathlib\npathlib.Path({str(marker)!r}).touch()\n"


@contextmanager
def bounded() -> Iterator[None]:
    """Memory and time are limited inside the block: what asks for more gets a MemoryError, as on a full machine."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    start = time.monotonic()
    resource.setrlimit(resource.RLIMIT_AS, (in_use + MOST_BYTES, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    assert time.monotonic() - start < MOST_SECONDS


def refused(run: Callable[..., SimpleNamespace], main: Callable, *arguments: Any, code: int = 1) -> str:
    """Runs a program on a hostile file, and returns the one line with which it is refused."""
    with bounded():
        result = run(main, *arguments)
    lines = [line for line in result.err.splitlines() if line.strip()]
    assert result.code == code, (result.code, lines)
    assert len(lines) == 1 or code == 2, lines
    assert "memory is full" not in result.err, result.err  # refused before memory was asked for
    assert SECRET not in result.err + result.out and "Traceback" not in result.err
    return result.err
