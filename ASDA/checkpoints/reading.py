"""Reads a checkpoint of any layout this project knows: asks the layouts in turn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .checkpoint import Checkpoint
from .consistency import require_consistent
from .contents import Contents
from .files import CheckpointError
from .layouts import ast, directory, mae_ast, project, published, ssast, ssast_file

LAYOUTS = (directory, ast, mae_ast, ssast, ssast_file, published, project)


def read_checkpoint(path: str | Path, *, trust: bool = False) -> Checkpoint:
    """What a checkpoint holds.

    Args:
        path: a file of ASDA, EAT, MAE-AST, SSAST, AST or this project, or a directory of this project's or of AST's.
        trust: see :func:`ASDA.checkpoints.files.load_torch_file`.

    Raises:
        CheckpointError: it cannot be read; its layout is not known, then with what was expected and found; or it names
            more or fewer classes than its head has.
    """
    contents = Contents.open(path, trust=trust)
    return require_consistent(_layout_of(contents).read(contents))


def read_with_run(path: str | Path, *, trust: bool = False) -> tuple[Checkpoint, dict[str, Any] | None]:
    """What a checkpoint holds, and the checkpoint of fairseq's trainer that it is, in this project's spelling.

    Args:
        path: as of :func:`read_checkpoint`.
        trust: see :func:`ASDA.checkpoints.files.load_torch_file`.

    Returns:
        The second is None where no run of such a trainer is recorded.

    Raises:
        CheckpointError: see :func:`read_checkpoint`.
    """
    contents = Contents.open(path, trust=trust)
    layout = _layout_of(contents)
    checkpoint = require_consistent(layout.read(contents))
    return checkpoint, layout.training_state(contents)


def _layout_of(contents: Contents):
    for layout in LAYOUTS:
        if layout.knows(contents):
            return layout
    expected = "; ".join(layout.EXPECTED for layout in LAYOUTS)
    raise CheckpointError(
        f"{contents.path}: unknown checkpoint layout: expected {expected}; found {contents.description}"
    )
