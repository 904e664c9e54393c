"""Adapters apart from their base: what a run trained, the checksum of the encoder it belongs to, and where that was."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..adaptation.adapting import fold, split_added
from ..adaptation.method import Method
from ..audio.front_end import FrontEnd
from ..core.config import EncoderConfig, HeadConfig
from .checkpoint import Base, Checkpoint
from .files import CheckpointError
from .regridding import regridded

BASE_KEY = "adapter_base_sha256"
"""Among the tensors of a run's checkpoint: its 32 bytes are the checksum of the encoder that the others belong to."""


@dataclass(frozen=True)
class Adapter:
    """What is trained of an encoder that is otherwise frozen, without that encoder.

    Attributes:
        path: where it came from.
        layout: the name of its layout.
        methods: how the encoder is adapted.
        tensors: of the adapted encoder: those that are added, and those of its own that were trained.
        base: the encoder; None if the file does not say.
        encoder_config: the architecture; None: the base's.
        front_end: what it hears; None: what the base hears.
        head_config, head, label_names, multi_label, independent_scores, training_config, num_updates: as of Checkpoint.
    """

    path: Path
    layout: str
    methods: tuple[Method, ...]
    tensors: dict[str, Tensor]
    base: Base | None = None
    encoder_config: EncoderConfig | None = None
    front_end: FrontEnd | None = None
    head_config: HeadConfig | None = None
    head: dict[str, Tensor] = field(default_factory=dict)
    label_names: list[str] = field(default_factory=list)
    multi_label: bool | None = None
    independent_scores: bool = True
    training_config: dict[str, Any] | None = None
    num_updates: int | None = None


def encoder_checksum(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of an encoder's tensors, whatever the layout of the file that holds them."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def base_of(checkpoint: Checkpoint) -> Base:
    """A checkpoint as the base of adapters."""
    return Base(encoder_checksum(plain_encoder(checkpoint).encoder), str(checkpoint.path.resolve()))


def merged(checkpoint: Checkpoint) -> Checkpoint:
    """The same as one whole model: what folds computed into the encoder's weights, other adapters beside them."""
    if not checkpoint.adaptation:
        return checkpoint
    encoder, adapters, methods = fold(checkpoint.encoder, checkpoint.adapters, checkpoint.adaptation)
    return replace(checkpoint, encoder=encoder, adapters=adapters, adaptation=methods, base=None, trained=())


def plain_encoder(checkpoint: Checkpoint) -> Checkpoint:
    """The same without adapters.

    Raises:
        CheckpointError: it has some that do not fold into its weights.
    """
    whole = merged(checkpoint)
    if whole.adaptation:
        names = ", ".join(method.kind for method in whole.adaptation)
        raise CheckpointError(
            f"{checkpoint.path}: an adapted encoder, whose {names} do not fold into its weights; expected a plain one"
        )
    return whole


def require_base(file: str | Path, wanted: Base | None, found: Base) -> None:
    """Refuses to put adapters on another encoder than their own.

    Raises:
        CheckpointError: it is another one; with both checksums.
    """
    if wanted is not None and wanted.sha256 != found.sha256:
        raise CheckpointError(
            f"{file}: adapters of the encoder with the checksum {wanted.sha256} ({wanted.path}), but that of "
            f"{found.path} is {found.sha256}; give the checkpoint that they were trained on"
        )


def on_base(checkpoint: Checkpoint, adapter: Adapter) -> Checkpoint:
    """The adapted encoder.

    Args:
        checkpoint: the base.
        adapter: what belongs to it.

    Raises:
        CheckpointError: it is another base, or the adapters do not fit it.
    """
    plain = plain_encoder(checkpoint)
    base = base_of(plain)
    require_base(adapter.path, adapter.base, base)
    config = adapter.encoder_config or plain.encoder_config
    grids = [(found.patches.stride, found.max_rows) for found in (config, plain.encoder_config)]
    if grids[0] != grids[1]:
        plain = regridded(plain, {"patches": {"stride": list(grids[0][0])}, "max_rows": grids[0][1]})
    own, added = split_added(adapter.tensors)
    strange = [name for name in own if name not in plain.encoder]
    if strange:
        names = ", ".join(list(plain.encoder)[:8])
        raise CheckpointError(
            f"{adapter.path}: holds {strange[0]}, which {checkpoint.path} has not; it has {names} ..."
        )
    heads = adapter if adapter.head_config else replace(plain, head=adapter.head or plain.head)
    if adapter.head and heads.head_config is None:
        raise CheckpointError(
            f"{adapter.path}: holds a head, but not how it pools, and {checkpoint.path} has none to be like; give a "
            "fine-tuned base"
        )
    return Checkpoint(
        path=adapter.path,
        layout=adapter.layout,
        encoder_config=config,
        encoder={**plain.encoder, **own},
        front_end=adapter.front_end or plain.front_end,
        front_end_recorded=adapter.front_end is not None or plain.front_end_recorded,
        head_config=heads.head_config,
        head=heads.head,
        label_names=heads.label_names,
        multi_label=heads.multi_label,
        independent_scores=heads.independent_scores,
        training_config=adapter.training_config,
        num_updates=adapter.num_updates,
        adaptation=adapter.methods,
        adapters=added,
        base=base,
        trained=tuple(own),
    )


def of_checkpoint(checkpoint: Checkpoint) -> Adapter:
    """What :func:`on_base` has put on a base.

    Raises:
        CheckpointError: the checkpoint is whole, so that nobody knows its base.
    """
    if checkpoint.base is None:
        raise CheckpointError(
            f"{checkpoint.path}: a whole model; adapters are written from a base and its adapters (--adapter), or from "
            "the checkpoint of a run with model.adaptation"
        )
    return Adapter(
        path=checkpoint.path,
        layout=checkpoint.layout,
        methods=checkpoint.adaptation,
        tensors={**{name: checkpoint.encoder[name] for name in checkpoint.trained}, **checkpoint.adapters},
        base=checkpoint.base,
        encoder_config=checkpoint.encoder_config,
        front_end=checkpoint.front_end,
        head_config=checkpoint.head_config,
        head=checkpoint.head,
        label_names=checkpoint.label_names,
        multi_label=checkpoint.multi_label,
        independent_scores=checkpoint.independent_scores,
        num_updates=checkpoint.num_updates,
    )
