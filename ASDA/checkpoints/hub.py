"""Checkpoints by their names on the Hugging Face hub: `owner/name`, or `owner/name@revision`.

The package `huggingface_hub` (the extra `hub`) downloads them once and keeps them in its cache, where transformers
looks too; its settings hold (`HF_HOME`, `HF_HUB_OFFLINE=1`, tokens, mirrors). Only what a layout reads is fetched: json
and safetensors, neither code nor pickles.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path

from .contents import CONFIG, PEFT_CONFIG
from .files import CheckpointError, is_there

logger = logging.getLogger(__name__)

_NAME = re.compile(r"(?P<name>[\w.-]+/[\w.-]+?)(?:@(?P<revision>[^@]+))?", re.ASCII)
_MOST_CHARACTERS = 96  # of a name, as the hub has it
_REVISION = re.compile(r"[\w][\w./+-]*", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_FILE_SUFFIXES = (".pt", ".pth", ".bin", ".ckpt", ".safetensors", ".h5")
_MODEL = ("model.safetensors", "model.safetensors.index.json")
_ADAPTERS = ("adapter.safetensors", "adapter_model.safetensors")
_FILES = (
    *(CONFIG, PEFT_CONFIG, "preprocessor_config.json", "training.json", "asda_adapter.json"),
    *(*_MODEL, "model-*-of-*.safetensors", "pretraining.safetensors", *_ADAPTERS),
)


def local_path(path: str | Path, revision: str | None = None) -> Path:
    """Where a checkpoint lies on this machine, once it is there.

    Args:
        path: a file or directory; or, where there is none of this name, that of a model on the hub.
        revision: commit, tag or branch on the hub; None: what the name says behind an `@`, else the newest.

    Raises:
        CheckpointError: it is not on the hub either, cannot be fetched, or holds no safetensors; or a revision is given
            for what lies here.
    """
    here = Path(path)
    found = _NAME.fullmatch(str(path))
    if is_there(here) or found is None or here.suffix.lower() in _FILE_SUFFIXES:
        if revision is not None:
            raise CheckpointError(f"{path}: revision={revision} goes with a name on the Hugging Face hub, owner/name")
        return here
    name, named = found["name"], found["revision"]
    if revision is not None and named not in (None, revision):
        raise CheckpointError(f"{path}: names the revision {named}, but revision={revision}")
    revision = named if revision is None else revision
    _require_harmless(path, name, revision)
    folder = _fetched(path, name, revision)
    if not _COMMIT.fullmatch(folder.name) or ".." in folder.parts:
        raise CheckpointError(
            f"{path}: the cache of the Hugging Face hub is damaged: {folder} is not a commit's folder"
        )
    if not _holds_safetensors(folder):
        raise CheckpointError(
            f"{path}: holds no .safetensors on the Hugging Face hub; pickles are not taken from there"
        )
    if revision is None or not _COMMIT.fullmatch(revision):
        logger.info("%s is commit %s; %s@%s stays the same", name, folder.name, name, folder.name)
    return folder


def _require_harmless(path: str | Path, name: str, revision: str | None) -> None:
    """Names become parts of paths in the cache."""
    strange = any(part[0] in ".-" or part[-1] in ".-" for part in name.split("/"))
    if strange or len(name) > _MOST_CHARACTERS or ".." in name or "--" in name:
        raise CheckpointError(f"{path}: no such file or directory, and no name that the Hugging Face hub could have")
    if revision is not None and (not _REVISION.fullmatch(revision) or ".." in revision or "//" in revision):
        raise CheckpointError(f"{path}: {revision!r} is no revision: expected a commit, a tag or a branch")


def _holds_safetensors(folder: Path) -> bool:
    """Whether reading the folder will open safetensors, rather than pickles that another program has put there."""
    if any((folder / name).is_file() for name in _MODEL):
        return True
    return any((folder / name).is_file() for name in _ADAPTERS) and not any(folder.glob("*.bin"))


def _fetched(path: str | Path, name: str, revision: str | None) -> Path:
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise CheckpointError(
            f"{path}: no such file or directory; to load a model by its name on the Hugging Face hub, install "
            "huggingface_hub (pip install huggingface_hub)"
        ) from None
    try:
        folder = snapshot_download(name, revision=revision, allow_patterns=list(_FILES), library_name="asda")
    except Exception as error:  # of the package, of what it talks http with, of the system
        lines = str(error).strip().splitlines() or [""]
        raise CheckpointError(
            f"{path}: no such file or directory, and not to be had from the Hugging Face hub "
            f"({type(error).__name__}: {lines[0]})"
        ) from error
    return Path(folder)
