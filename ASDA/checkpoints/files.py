"""Checkpoint files on disk: safe reading with one clear line for what is wrong, and atomic writing."""

from __future__ import annotations

import math
import os
import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..atomic import atomic_binary, atomic_path
from .safe_globals import allow_numpy_scalars

# What torch says when a file holds more than weights_only lets through, rather than being damaged.
_REFUSED = re.compile(r"WeightsUnpickler error: ((?:Unsupported (?:global|class)|Trying to (?:call|instantiate)).*)")
_PICKLE_PROTOCOL_MARK = b"\x80"


# How safetensors reports what the system has told it.
_SYSTEM_ERROR = re.compile(r"(?:os error|code:) (\d+)")


class CheckpointError(ValueError):
    """A file that cannot be used as a checkpoint; the message names it and says why, in one line whatever its name."""

    def __init__(self, message: str):
        super().__init__(message.replace("\n", "\\n").replace("\r", "\\r"))


def is_there(path: Path) -> bool:
    """Whether something lies at a path; a name that no file can have is that of nothing."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def load_torch_file(path: str | Path, *, trust: bool = False) -> Any:
    """`torch.load` with weights_only.

    The checksums of the file are verified first, as torch itself does not look at them.

    Args:
        path: the file.
        trust: allow arbitrary pickled objects. Such a file can run any code: only for files whose origin is known.

    Raises:
        CheckpointError: missing, truncated, corrupt, or in need of more than tensors, plain values and NumPy numbers.
    """
    path = Path(path)
    if not is_there(path) or not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint file")
    try:
        is_zip = _verified_zip(path)
        allow_numpy_scalars()
        # Mapped, because the optimiser's state, most of a training checkpoint, need not be read.
        return torch.load(path, map_location="cpu", weights_only=not trust, mmap=is_zip)
    except pickle.UnpicklingError as error:
        refused = _REFUSED.search(str(error))
        if refused is None:
            raise CheckpointError(f"{path}: corrupt, or not a checkpoint ({first_line(error)})") from error
        raise CheckpointError(
            f"{path}: holds more than tensors and plain values ({_first_sentence(refused[1])}); loading it could run "
            "code of whoever made it. If you trust its origin, add --trust-checkpoint (in Python: trust=True)"
        ) from error
    except CheckpointError:
        raise
    except Exception as error:  # the format before zip fails in any way at all when a byte of it is wrong
        raise CheckpointError(f"{path}: truncated, corrupt or not a checkpoint ({first_line(error)})") from error


def _verified_zip(path: Path) -> bool:
    """Whether the file is in torch's zip format, all of it intact; False for the format before it."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            _require_stored(path, archive)
            damaged = archive.testzip()
        if damaged is not None:
            raise CheckpointError(f"{path}: corrupt: the checksum of {damaged} does not fit its contents")
        return True
    with path.open("rb") as file:
        start = file.read(2)
    if not start:
        raise CheckpointError(f"{path}: the file has 0 bytes")
    if start == b"PK":
        raise CheckpointError(f"{path}: truncated: the end of the archive is missing")
    if start[:1] != _PICKLE_PROTOCOL_MARK:
        raise CheckpointError(f"{path}: not a checkpoint file: expected one written by torch.save")
    return False


def _require_stored(path: Path, archive: zipfile.ZipFile) -> None:
    """Refuses members that would unpack to more than the file holds: torch compresses nothing."""
    for member in archive.infolist():
        if member.compress_type != zipfile.ZIP_STORED:
            raise CheckpointError(f"{path}: {member.filename} is compressed, as torch.save writes none; save it anew")
    num_bytes, held = sum(member.file_size for member in archive.infolist()), path.stat().st_size
    if num_bytes > held:
        raise CheckpointError(f"{path}: corrupt: its members claim {num_bytes} bytes, the file has {held}")


def save_torch_file(state: Mapping[str, Any], path: str | Path) -> None:
    """`torch.save`; the file appears under its name only when it is complete."""
    with atomic_binary(path) as file:
        torch.save(state, file)  # type: ignore[arg-type]  # it takes any object with write and flush


def load_safetensors(path: str | Path) -> dict[str, Tensor]:
    """All tensors of a safetensors file.

    Raises:
        CheckpointError: missing, truncated or not such a file.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file")
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: truncated, corrupt or not a safetensors file ({first_line(error)})") from error


def safetensors_sizes(path: str | Path) -> dict[str, int]:
    """How many values each tensor of a safetensors file has; reads its header alone.

    Raises:
        CheckpointError: truncated or not such a file.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return {name: math.prod(file.get_slice(name).get_shape()) for name in file.keys()}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: truncated, corrupt or not a safetensors file ({first_line(error)})") from error


def save_safetensors(tensors: Mapping[str, Tensor], path: str | Path) -> None:
    """Writes a safetensors file; it appears under its name only when it is complete."""
    with atomic_path(path) as temporary:
        # The metadata is what transformers looks for.
        try:
            save_file({n: t.contiguous() for n, t in tensors.items()}, temporary, metadata={"format": "pt"})
        except SafetensorError as error:
            number = _SYSTEM_ERROR.search(str(error))
            if number is None:
                raise OSError(f"{path}: cannot be written ({first_line(error)})") from error
            raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from error


def first_line(error: Exception) -> str:
    """What an error says, without the lines that explain; its class, if it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _first_sentence(text: str) -> str:
    return text.split(". ")[0].strip().removesuffix(".")
