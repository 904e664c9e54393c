"""Do the parts of a checkpoint belong together? Compared before anything is built: an edited size is not allocated."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..adaptation.adapting import adapt, split_added
from ..adaptation.method import AdaptationError
from ..audio.front_end import LONGEST_WINDOW_FRAMES, FrontEnd
from ..core.config import ConfigError, EncoderConfig, choose
from ..core.encoder import SpectrogramEncoder
from ..core.positions import POSITIONS
from .checkpoint import Checkpoint
from .files import CheckpointError
from .validation import (
    expect_equal,
    expect_flag,
    expect_key,
    expect_mapping,
    expect_number,
    expect_shape,
    expect_tensors,
    expect_texts,
    refuse,
)

_TENSORS = "as the tensors have it"
_BLOCKS = "stack.blocks."


def require_consistent(checkpoint: Checkpoint) -> Checkpoint:
    """The checkpoint, if its sizes are those of its tensors and its names as many as its classes.

    Raises:
        CheckpointError: they are not; with the setting, what the tensors say, and what was recorded.
    """
    file, config = checkpoint.path, checkpoint.encoder_config
    _require_encoder(file, config, expect_tensors(file, "encoder", checkpoint.encoder))
    bins = checkpoint.front_end.num_mel_bins
    expect_equal(file, "front_end.num_mel_bins", bins, config.num_mel_bins, "as the encoder has it")
    head = checkpoint.head_config
    if head is not None:
        bias = expect_key(file, "", expect_tensors(file, "head", checkpoint.head), "linear.bias")
        num_classes = expect_shape(file, "head.linear.bias", bias, (None,)).shape[0]
        expect_equal(file, "head.num_classes", head.num_classes, num_classes, _TENSORS)
        expect_texts(file, "head.label_names", checkpoint.label_names, count=num_classes)
    expect_flag(file, "multi_label", checkpoint.multi_label, optional=True)
    expect_flag(file, "independent_scores", checkpoint.independent_scores)
    if checkpoint.adaptation or checkpoint.adapters:
        _require_adapters(checkpoint)
    return checkpoint


def _require_adapters(checkpoint: Checkpoint) -> None:
    """Holds the tensors that methods have added against those that they add to this encoder."""
    file = checkpoint.path
    kinds = ", ".join(method.kind for method in checkpoint.adaptation) or "no adaptation"
    try:
        with torch.device("meta"):
            encoder = SpectrogramEncoder(checkpoint.encoder_config)
            adapt(encoder, checkpoint.adaptation)
    except AdaptationError as error:
        raise CheckpointError(f"{file}: the adapters do not fit: {error}") from error
    except (ConfigError, ValueError) as error:
        raise CheckpointError(f"{file}: {error}") from error
    expected = split_added(encoder.state_dict())[1]
    for name in [*expected, *checkpoint.adapters]:
        if name not in checkpoint.adapters or name not in expected:
            found = ", ".join(list(checkpoint.adapters)[:4]) or "none"
            raise CheckpointError(
                f"{file}: adapters: {kinds} with {len(expected)} tensors on this encoder, found "
                f"{len(checkpoint.adapters)} ({found} ...); {name} is {'missing' if name in expected else 'unexpected'}"
            )
        expect_shape(file, f"encoder.{name}", checkpoint.adapters[name], tuple(expected[name].shape))


def _require_encoder(file: Path, config: EncoderConfig, tensors: Mapping[str, Tensor]) -> None:
    stack = config.stack
    projection = expect_key(file, "encoder", tensors, "patch_embed.proj.weight")
    embed_dim, _, *patch = expect_shape(file, "encoder.patch_embed.proj.weight", projection, (None,) * 4).shape
    expect_equal(file, "encoder.stack.embed_dim", stack.embed_dim, embed_dim, _TENSORS)
    expect_equal(file, "encoder.patches.size", list(config.patches.size), patch, _TENSORS)
    expect_equal(file, "encoder.stack.depth", stack.depth, num_blocks(file, tensors), _TENSORS)
    mlp = expect_key(file, "encoder", tensors, f"{_BLOCKS}0.mlp.fc1.weight")
    hidden = expect_shape(file, f"encoder.{_BLOCKS}0.mlp.fc1.weight", mlp, (None, embed_dim)).shape[0]
    if stack.mlp_dim != hidden:
        refuse(file, "encoder.stack.mlp_ratio", f"{hidden / embed_dim:g}, {_TENSORS}", stack.mlp_ratio)
    prefix = tensors.get("prefix_tokens")
    num_prefix = 0 if prefix is None else expect_shape(file, "encoder.prefix_tokens", prefix, (1, None, None)).shape[1]
    expect_equal(file, "encoder.num_prefix_tokens", config.num_prefix_tokens, num_prefix, _TENSORS)
    try:
        choose("encoder.positions", config.positions, POSITIONS)
    except ConfigError as error:
        raise CheckpointError(f"{file}: {error}") from error
    table = expect_shape(file, "encoder.positions", expect_key(file, "encoder", tensors, "positions"), (1, None, None))
    entries = config.max_rows * config.columns + num_prefix * POSITIONS[config.positions].counts_prefix
    if table.shape[1] != entries:
        found = f"max_rows={config.max_rows} of {config.columns} patches"
        refuse(file, "encoder.max_rows", f"what gives {table.shape[1]} positions, {_TENSORS}", found)


def num_blocks(file: str | Path, tensors: Mapping[str, Any]) -> int:
    """How many transformer blocks an encoder's tensors belong to.

    Raises:
        CheckpointError: none, or numbers with gaps.
    """
    numbers = {name.split(".")[2] for name in tensors if name.startswith(_BLOCKS)}
    if numbers != {str(number) for number in range(len(numbers))} or not numbers:
        refuse(file, f"encoder.{_BLOCKS}N", "blocks with the numbers 0, 1, ...", sorted(numbers))
    return len(numbers)


def front_end_of(file: str | Path, key: str, values: Any) -> FrontEnd:
    """The front end that a checkpoint records.

    Raises:
        CheckpointError: a setting is unknown, of another kind or out of range.
    """
    settings = expect_mapping(file, key, values)
    for name in ("sample_rate_hz", "num_mel_bins", "target_length_frames"):
        if name in settings:
            optional = name == "target_length_frames"
            high = LONGEST_WINDOW_FRAMES if optional else 10**9
            expect_number(file, f"{key}.{name}", settings[name], low=1, high=high, whole=True, optional=optional)
    if "norm_mean" in settings:
        expect_number(file, f"{key}.norm_mean", settings["norm_mean"], low=-1e9, high=1e9)
    if "norm_std" in settings:
        expect_number(file, f"{key}.norm_std", settings["norm_std"], above=0, high=1e9)
    try:
        return FrontEnd.from_dict(settings)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{file}: {key}: {error}") from error
