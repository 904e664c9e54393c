"""What lies at a path, opened once, for the layouts to look at."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .files import CheckpointError, is_there, load_torch_file

CONFIG = "config.json"
PEFT_CONFIG = "adapter_config.json"


@dataclass(frozen=True)
class Contents:
    """A file of torch, or a directory with a `config.json` or, of the peft library, an `adapter_config.json`.

    Attributes:
        path: the file or directory.
        state: what the file holds; None for a directory.
        config: what the directory's json holds; None for a file.
        trust: see :func:`ASDA.checkpoints.files.load_torch_file`; of files of the directory that are opened later.
    """

    path: Path
    state: Any = None
    config: Any = None
    trust: bool = False

    @classmethod
    def open(cls, path: str | Path, *, trust: bool = False) -> Contents:
        """Opens a path.

        Args:
            path: a file or directory.
            trust: see :func:`ASDA.checkpoints.files.load_torch_file`.

        Raises:
            CheckpointError: there is nothing, or it cannot be read.
        """
        path = Path(path)
        if is_there(path) and path.is_dir():
            name = PEFT_CONFIG if (path / PEFT_CONFIG).is_file() and not (path / CONFIG).is_file() else CONFIG
            return cls(path, config=read_json(path / name), trust=trust)
        return cls(path, state=_plain(load_torch_file(path, trust=trust)))

    @property
    def is_fairseq(self) -> bool:
        """Whether this is a checkpoint of fairseq's trainer: a configuration with a model part, and tensors."""
        state = self.state
        return (
            isinstance(state, dict)
            and isinstance(state.get("model"), dict)
            and isinstance(state.get("cfg"), dict)
            and isinstance(state["cfg"].get("model"), dict)
        )

    @property
    def model_name(self) -> Any:
        """The name under which fairseq knows the model of such a checkpoint."""
        return self.state["cfg"]["model"].get("_name") if self.is_fairseq else None

    @property
    def description(self) -> str:
        """What was found, for an error message."""
        if isinstance(self.config, dict):
            return f"a {CONFIG} with model_type={self.config.get('model_type')} and the keys {_names(self.config)}"
        found = self.config if self.state is None else self.state
        if not isinstance(found, dict):
            return f"a {type(found).__name__}"
        if isinstance(found.get("cfg"), dict) and "model" not in found["cfg"]:
            return f"a configuration with the keys {_names(found['cfg'])}"
        return f"the keys {_names(found)}"


def read_json(path: Path) -> Any:
    """What a json file holds.

    Raises:
        CheckpointError: it is missing, or not json.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # not UTF-8 is a ValueError too
        raise CheckpointError(f"{path}: truncated, corrupt or not json ({error})") from error


def _plain(state: Any) -> Any:
    if isinstance(state, dict) and type(state.get("cfg")).__module__.startswith("omegaconf"):
        from omegaconf import OmegaConf  # only reached with trust=True

        state["cfg"] = OmegaConf.to_container(state["cfg"], resolve=True, enum_to_str=True)
    return state


def _names(table: dict, most: int = 8) -> str:
    names = [str(name) for name in table]
    return ", ".join(names[:most]) + (" ..." if len(names) > most else "") or "none"
