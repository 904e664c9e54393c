"""Reads a checkpoint of any layout this project knows."""

from __future__ import annotations

from pathlib import Path

from .checkpoint import Checkpoint
from .layouts.project import describe_state, read_state


def read_checkpoint(path: str | Path, *, trust: bool = False) -> Checkpoint:
    """Reads a checkpoint of any layout this project knows, file or directory.

    Args:
        path: a `.pt` file of ASDA, EAT or this project, or a directory with `config.json` and `model.safetensors`.
        trust: see :func:`ASDA.inference.files.load_torch_file`.

    Raises:
        CheckpointError: it cannot be read, or its layout is not known; then with what was expected and found.
    """
    path = Path(path)
    if path.is_dir():
        from .layouts.directory import read_directory  # which builds on this module

        return read_directory(path)
    return describe_state(path, read_state(path, trust=trust))
