"""The folder that checkpoints go to: is there room, is the file to continue from whole, what did a killed run leave?"""

from __future__ import annotations

import errno
import os
import shutil
import zipfile
from pathlib import Path

import torch

PARTIAL_SUFFIX = ".pt.tmp"
"""Ending of a checkpoint that is being written; it gets its own name when it is complete."""


class SaveFolderError(RuntimeError):
    """Checkpoints cannot be written to a folder, or the one to continue from is damaged."""


def require_room(folder: str | os.PathLike, num_bytes: int) -> None:
    """Finds out, before training, whether a checkpoint can be written: by reserving its space for a moment.

    Reserving asks the file system itself, so that quotas count too, which the free space it reports does not show.

    Raises:
        SaveFolderError: the folder is read-only, or has no room.
    """
    trial = Path(folder) / f"room{PARTIAL_SUFFIX}"
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        trial.touch()
        try:
            with open(trial, "wb") as handle:
                _reserve(handle.fileno(), folder, num_bytes)
        finally:
            trial.unlink()
    except OSError as error:
        raise SaveFolderError(
            f"checkpoints cannot be written to {folder}: {error.strerror} (a checkpoint and its successor take "
            f"{num_bytes / 1e9:.2f} GB). Free some space or set checkpoint.save_dir to another folder"
        ) from error


def _reserve(descriptor: int, folder: str | os.PathLike, num_bytes: int) -> None:
    try:
        os.posix_fallocate(descriptor, 0, num_bytes)
        return
    except AttributeError:  # macOS, Windows
        pass
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):  # a file system that cannot reserve
            raise
    if shutil.disk_usage(folder).free < num_bytes:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def remove_partial_checkpoints(folder: str | os.PathLike) -> list[Path]:
    """Deletes what a run that was killed while writing has left, and says what that was."""
    partial = sorted(Path(folder).glob(f"*{PARTIAL_SUFFIX}"))
    for file in partial:
        file.unlink()
    return partial


def damage(file: str | os.PathLike) -> str:
    """Why a checkpoint cannot be read, or nothing. Reads the whole file, to compare its checksums."""
    try:
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                member = archive.testzip()
            return f"the checksum of its part {member} is wrong" if member else ""
        torch.load(file, map_location="cpu", weights_only=True)  # the format of old versions of PyTorch
    except Exception as error:  # noqa: BLE001 - whatever the reader stumbles over is the answer
        return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no details'}"
    return ""


def require_whole(file: str | os.PathLike) -> None:
    """Checks the checkpoint that a run is to continue from.

    Raises:
        SaveFolderError: it is damaged; the message names the newest older checkpoint beside it that is not.
    """
    file = Path(file)
    reason = damage(file)
    if not reason:
        return
    older = newest_whole_checkpoint(file)
    if older is None:
        advice = f"There is no other checkpoint in {file.parent}: remove it to start from the beginning"
    else:
        path, num_updates = older
        advice = (
            f"The newest whole one beside it is {path} (update {num_updates}); to continue from that: cp {path} {file}"
        )
    raise SaveFolderError(f"the checkpoint {file} is damaged ({reason}). {advice}")


def newest_whole_checkpoint(damaged: Path) -> tuple[Path, int] | None:
    """The undamaged checkpoint of the most updates in the folder of a damaged one, and its number of updates."""
    found = []
    for file in damaged.parent.glob("*.pt"):
        if file == damaged or damage(file):
            continue
        state = torch.load(file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file))
        if isinstance(state, dict) and state.get("optimizer_history"):
            found.append((int(state["optimizer_history"][-1]["num_updates"]), file))
    if not found:
        return None
    num_updates, file = max(found)
    return file, num_updates


def checkpoint_bytes(model: torch.nn.Module, half_precision: bool) -> int:
    """About how large a training checkpoint of a model gets: its tensors in float32, Adam's two, and master weights.

    Args:
        model: with its teacher among its state.
        half_precision: whether the optimiser keeps float32 weights beside the model's.
    """
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return 4 * (_num_values(model.state_dict()) + (3 if half_precision else 2) * trained)


def _num_values(state: object) -> int:
    if isinstance(state, torch.Tensor):
        return state.numel()
    return sum(map(_num_values, state.values())) if isinstance(state, dict) else 0
