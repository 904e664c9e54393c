"""Reads a checkpoint of any layout this project knows: asks the layouts in turn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .adapters import Adapter, on_base
from .checkpoint import Checkpoint
from .consistency import require_consistent
from .contents import Contents
from .files import CheckpointError, is_there
from .hub import local_path
from .layouts import (
    adapter_directory,
    adapter_file,
    ast,
    directory,
    eat,
    mae_ast,
    peft_directory,
    project,
    published,
    ssast,
    ssast_file,
)

LAYOUTS = (directory, ast, eat, mae_ast, ssast, ssast_file, published, project)
ADAPTER_LAYOUTS = (adapter_directory, adapter_file, peft_directory)
"""Of which the encoder lies in another file."""


def read_checkpoint(
    path: str | Path, *, trust: bool = False, adapter: str | Path | None = None, revision: str | None = None
) -> Checkpoint:
    """What a checkpoint holds.

    Args:
        path: a file of ASDA, EAT, MAE-AST, SSAST, AST or this project, or a directory of this project's, of EAT's or of
            AST's, or the name of such a directory on the Hugging Face hub (see :mod:`.hub`); or adapters, whose base is
            then read from where it was.
        trust: see :func:`ASDA.checkpoints.files.load_torch_file`.
        adapter: adapters to put on it: a run's checkpoint, or a directory of this project's or of peft's.
        revision: of a name on the hub: a commit, a tag or a branch.

    Raises:
        CheckpointError: it cannot be read; its layout is not known, then with what was expected and found; it names
            more or fewer classes than its head has; or the adapters are another encoder's.
    """
    return _read(Contents.open(local_path(path, revision), trust=trust), adapter)[0]


def read_with_run(
    path: str | Path, *, trust: bool = False, adapter: str | Path | None = None
) -> tuple[Checkpoint, dict[str, Any] | None]:
    """What a checkpoint holds, and the checkpoint of fairseq's trainer that it is, in this project's spelling.

    Args:
        path: as of :func:`read_checkpoint`, and so the others.

    Returns:
        The second is None where no run of such a trainer is recorded, and of adapted encoders.

    Raises:
        CheckpointError: see :func:`read_checkpoint`.
    """
    contents = Contents.open(local_path(path), trust=trust)
    checkpoint, layout = _read(contents, adapter)
    return checkpoint, layout.training_state(contents) if layout else None


def _read(contents: Contents, adapter: str | Path | None) -> tuple[Checkpoint, Any]:
    """What is there with the adapters on it, and the layout of the whole of it; None where there are adapters."""
    layout = _layout_of(contents)
    if layout in ADAPTER_LAYOUTS:
        if adapter is not None:
            raise CheckpointError(f"{contents.path}: adapters, not their base; two adapters cannot be put together")
        found = layout.read_adapter(contents)
        return _adapted(read_checkpoint(_place_of_base(found), trust=contents.trust), found), None
    checkpoint = require_consistent(layout.read(contents))
    if adapter is None:
        return checkpoint, layout
    return _adapted(checkpoint, read_adapter(adapter, trust=contents.trust)), None


def read_adapter(path: str | Path, *, trust: bool = False) -> Adapter:
    """The adapters at a path.

    Args:
        path: a run's checkpoint, or a directory of this project's or of peft's.
        trust: see :func:`ASDA.checkpoints.files.load_torch_file`.

    Raises:
        CheckpointError: it cannot be read, or holds no adapters.
    """
    contents = Contents.open(local_path(path), trust=trust)
    for layout in ADAPTER_LAYOUTS:
        if layout.knows(contents):
            return layout.read_adapter(contents)
    expected = "; ".join(layout.EXPECTED for layout in ADAPTER_LAYOUTS)
    raise CheckpointError(f"{contents.path}: no adapters: expected {expected}; found {contents.description}")


def _adapted(base: Checkpoint, adapter: Adapter) -> Checkpoint:
    return require_consistent(on_base(base, adapter))


def _place_of_base(adapter: Adapter) -> Path:
    """Where the base is: where it was, or beside the adapters.

    Raises:
        CheckpointError: neither.
    """
    recorded = Path(adapter.base.path) if adapter.base and adapter.base.path else None
    if recorded is not None:
        for place in (recorded, adapter.path.parent / recorded.name):
            if is_there(place) and place.resolve() != adapter.path.resolve():
                return place
    known = f"which is not at {recorded}" if recorded else "which they do not record"
    raise CheckpointError(
        f"{adapter.path}: adapters without their base, {known}; name the base as the checkpoint, and this as --adapter"
    )


def _layout_of(contents: Contents):
    for layout in (*ADAPTER_LAYOUTS, *LAYOUTS):
        if layout.knows(contents):
            return layout
    expected = "; ".join(layout.EXPECTED for layout in LAYOUTS)
    raise CheckpointError(
        f"{contents.path}: unknown checkpoint layout: expected {expected}; found {contents.description}"
    )
