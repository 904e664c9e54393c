"""Adapters as a directory that needs no fairseq, without the encoder that they belong to.

| file | what it holds |
|---|---|
| `config.json` | methods, architecture, front end, head, label names; checksum and place of the base |
| `adapter.safetensors` | `encoder.*` as far as it is added or trained, and `head.*` |
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...adaptation.adapting import from_dicts, to_dicts
from ...adaptation.method import AdaptationError
from ...core.config import ConfigError, EncoderConfig
from ..adapters import Adapter
from ..checkpoint import Base
from ..consistency import front_end_of
from ..contents import CONFIG, Contents
from ..files import CheckpointError, load_safetensors, save_safetensors
from ..validation import expect_key, expect_mapping, expect_text
from .directory import describe_head, part_of, read_head, write_json
from .transformers_config import is_model

MODEL_TYPE = "asda_adapter"
FORMAT_VERSION = 1
EXPECTED = f"a directory whose {CONFIG} says model_type={MODEL_TYPE}"
TENSORS = "adapter.safetensors"


def knows(contents: Contents) -> bool:
    """Whether the contents have this layout."""
    return is_model(contents, MODEL_TYPE)


def read_adapter(contents: Contents) -> Adapter:
    """What such a directory holds.

    Raises:
        CheckpointError: a file is missing, damaged or not of this layout.
    """
    tensors = load_safetensors(contents.path / TENSORS)
    parts = {part: part_of(tensors, f"{part}.") for part in ("encoder", "head")}
    if len(tensors) != sum(map(len, parts.values())):
        strange = [name for name in tensors if not name.startswith(("encoder.", "head."))]
        raise CheckpointError(f"{contents.path / TENSORS}: expected encoder.* and head.*, found {', '.join(strange)}")
    described = read_description(contents.path / CONFIG, contents.config)
    if bool(parts["head"]) != bool(described["head_config"]):
        raise CheckpointError(f"{contents.path}: of {CONFIG} and {TENSORS} one has a head and the other has none")
    return Adapter(contents.path, "adapter directory", tensors=parts["encoder"], head=parts["head"], **described)


def write(folder: Path, adapter: Adapter) -> None:
    """Writes adapters as a directory, which is made if it does not exist."""
    tensors = {f"encoder.{name}": tensor for name, tensor in adapter.tensors.items()}
    tensors |= {f"head.{name}": tensor for name, tensor in adapter.head.items()}
    save_safetensors(tensors, folder / TENSORS)
    write_json(folder / CONFIG, {"model_type": MODEL_TYPE, **describe(adapter)})


def describe(adapter: Adapter) -> dict[str, Any]:
    """All of an adapter but its tensors, as plain values."""
    return {
        "format_version": FORMAT_VERSION,
        "adaptation": to_dicts(adapter.methods),
        "base": adapter.base and {"sha256": adapter.base.sha256, "path": adapter.base.path},
        "encoder": adapter.encoder_config and adapter.encoder_config.to_dict(),
        "front_end": adapter.front_end and adapter.front_end.to_dict(),
        "head": describe_head(adapter),
        "num_updates": adapter.num_updates,
    }


def read_description(file: Path, values: Any) -> dict[str, Any]:
    """Inverse of :func:`describe`: fields of Adapter.

    Raises:
        CheckpointError: a value is missing, unknown or of another kind.
    """
    version = expect_key(file, "", values, "format_version")
    if version != FORMAT_VERSION:
        raise CheckpointError(f"{file}: format_version is {version!r}, this program knows {FORMAT_VERSION}; update it")
    base = expect_mapping(file, "base", expect_key(file, "", values, "base"))
    sums = {key: expect_text(file, f"base.{key}", expect_key(file, "base", base, key)) for key in ("sha256", "path")}
    head = expect_key(file, "", values, "head")
    if head is not None and not isinstance(head, Mapping):
        raise CheckpointError(f"{file}: head: expected a table of settings (or no head: null)")
    try:
        return {
            "methods": from_dicts(expect_key(file, "", values, "adaptation")),
            "base": Base(**sums),
            "encoder_config": EncoderConfig.from_dict(expect_key(file, "", values, "encoder")),
            "front_end": front_end_of(file, "front_end", expect_key(file, "", values, "front_end")),
            "num_updates": values.get("num_updates"),
            **read_head(file, head),
        }
    except (AdaptationError, ConfigError) as error:
        raise CheckpointError(f"{file}: {error}") from error
