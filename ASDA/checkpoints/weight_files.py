"""The weights of a Hugging Face directory: one file or several, of safetensors or of torch."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from .contents import read_json
from .files import CheckpointError, load_safetensors, load_torch_file
from .validation import expect_key, expect_mapping, expect_tensors, expect_text, refuse

_SINGLE = ("model.safetensors", "pytorch_model.bin")
_INDEX = ".index.json"


def weight_files(folder: Path) -> list[Path]:
    """The files that hold a directory's weights, as transformers looks for them: safetensors before pickles.

    Raises:
        CheckpointError: there are none; or an index names a file that is not in the directory.
    """
    for name in _SINGLE:
        if (folder / name).is_file():
            return [folder / name]
        if (folder / f"{name}{_INDEX}").is_file():
            return _shards(folder / f"{name}{_INDEX}")
    raise CheckpointError(f"{folder}: no weights: expected {' or '.join(_SINGLE)}, or an index of their parts")


def load_weights(folder: Path, *, trust: bool = False) -> dict[str, Tensor]:
    """All tensors of a directory, under the names that they have there.

    Args:
        folder: the directory.
        trust: see :func:`load_torch_file`.

    Raises:
        CheckpointError: a file is missing, damaged, or holds more than tensors.
    """
    tensors: dict[str, Tensor] = {}
    for file in weight_files(folder):
        is_pickle = file.suffix == ".bin"
        part = load_torch_file(file, trust=trust) if is_pickle else load_safetensors(file)
        tensors |= expect_tensors(file, "", part)
    return tensors


def _shards(index: Path) -> list[Path]:
    """The parts that an index names; a path in it could lead anywhere, so that only plain names are taken."""
    names = expect_mapping(index, "weight_map", expect_key(index, "", read_json(index), "weight_map"))
    files = []
    for key, value in names.items():
        name = expect_text(index, f"weight_map.{key}", value)
        if Path(name).name != name or Path(name).suffix != Path(index.name.removesuffix(_INDEX)).suffix:
            refuse(index, f"weight_map.{key}", "the name of a file beside the index, of the same kind", name)
        if index.parent / name not in files:
            files.append(index.parent / name)
    if not files:
        refuse(index, "weight_map", "names of tensors and files", names)
    return sorted(files)
