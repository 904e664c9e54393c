"""The architecture of an encoder as one value: what yaml, checkpoints, exports and programs read and write.

`EncoderConfig` holds what it takes to build the same function again. How that function is trained (dropout, stochastic
depth, recomputation) is `Regularisation`, and no part of it. `zoo.py` holds the known systems.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

from .attention_kinds import ATTENTIONS, AttentionConfig, Differential, DifferentialV2, Plain
from .config_error import LARGEST_SIZE, ConfigError, choose, require_positive

__all__ = [
    "ATTENTIONS",
    "ConfigError",
    "Differential",
    "DifferentialV2",
    "EncoderConfig",
    "HeadConfig",
    "PatchConfig",
    "Plain",
    "Regularisation",
    "StackConfig",
    "choose",
    "require_positive",
]

PREFIX_PLACES = ("head", "middle")


@dataclass(frozen=True)
class StackConfig:
    """Transformer blocks, of an encoder or of a decoder.

    Attributes:
        embed_dim: width ``D``.
        depth: layers ``L``.
        num_heads: heads ``H``; must divide ``embed_dim``.
        mlp_ratio: hidden width of the MLPs over ``embed_dim``.
        attention: the kind of attention with its constants.
        norm: ``post`` (a LayerNorm after each residual sum) or ``pre`` (before attention and MLP).
        norm_first: a LayerNorm before the first block.
        norm_last: a LayerNorm after the last block.
        norm_eps: eps of all these LayerNorms.
    """

    embed_dim: int = 768
    depth: int = 12
    num_heads: int = 12
    mlp_ratio: float = 3.5
    attention: AttentionConfig = Differential()
    norm: str = "post"
    norm_first: bool = True
    norm_last: bool = False
    norm_eps: float = 1e-6

    def __post_init__(self) -> None:
        for name in ("embed_dim", "depth", "num_heads"):
            require_positive(name, getattr(self, name))
        if self.embed_dim % self.num_heads:
            raise ConfigError(f"num_heads: expected a divisor of embed_dim ({self.embed_dim}), found {self.num_heads}")
        if not self.mlp_ratio <= LARGEST_SIZE or self.mlp_dim < 1:
            raise ConfigError(f"mlp_ratio: expected a positive number, found {str(self.mlp_ratio)[:20]}")
        if not self.norm_eps > 0:
            raise ConfigError(f"norm_eps: expected a positive number, found {self.norm_eps}")
        self.attention.require_depth(self.depth)

    @property
    def mlp_dim(self) -> int:
        """Hidden width of the MLPs."""
        return int(self.embed_dim * self.mlp_ratio + 1e-6)  # a ratio read off the tensors must give their size back


@dataclass(frozen=True)
class PatchConfig:
    """Patches of a spectrogram.

    Attributes:
        size: frames and mel bins of a patch.
        stride: frames and mel bins from a patch to the next; by default its size, so that patches do not overlap.
    """

    size: tuple[int, int] = (16, 16)
    stride: tuple[int, int] = None  # type: ignore[assignment] # never None once it is made

    def __post_init__(self) -> None:
        for name in ("size", "stride"):
            value = getattr(self, name)
            value = self.size if value is None else value
            if not isinstance(value, (tuple, list)) or len(value) != 2:
                raise ConfigError(f"{name}: expected two numbers, frames and mel bins, found {value!r}")
            for number in value:
                require_positive(name, number)
            object.__setattr__(self, name, tuple(value))
        if any(step > length for step, length in zip(self.stride, self.size, strict=True)):
            raise ConfigError(f"stride: {self.stride} is larger than the patch {self.size} and would skip sound")

    @property
    def overlap(self) -> bool:
        """Whether patches overlap."""
        return self.stride != self.size


@dataclass(frozen=True)
class EncoderConfig:
    """A spectrogram encoder.

    Attributes:
        stack: its transformer blocks.
        patches: how the spectrogram becomes patches.
        num_mel_bins: mel bins ``F``.
        positions: what is added to the patches: ``sincos_2d``, ``sincos_1d``, ``interleaved_1d``, ``learned``
            (see ASDA/core/positions.py).
        max_rows: patch rows of the position table. Fixed tables refuse longer clips, a learned one is interpolated.
        num_prefix_tokens: learned tokens before the patches: 0 (MAE-AST), 1 (CLS), 2 (AST: CLS and distillation).
        prefix_place: where the positions that count the whole sequence have the prefix tokens: ``head``, or ``middle``
            of the patches. ``sincos_2d`` gives them none, and as attention does not see order, both places are then
            the same function; a learned table has entries of their own. Outputs have the prefix tokens first in any
            case.
    """

    stack: StackConfig = field(default_factory=StackConfig)
    patches: PatchConfig = field(default_factory=PatchConfig)
    num_mel_bins: int = 128
    positions: str = "sincos_2d"
    max_rows: int = 768
    num_prefix_tokens: int = 1
    prefix_place: str = "head"

    def __post_init__(self) -> None:
        require_positive("num_mel_bins", self.num_mel_bins)
        require_positive("max_rows", self.max_rows)
        choose("prefix_place", self.prefix_place, PREFIX_PLACES)
        if self.num_prefix_tokens != 0:
            require_positive("num_prefix_tokens", self.num_prefix_tokens)
        bins = self.patches.size[1]
        if bins > self.num_mel_bins or (not self.patches.overlap and self.num_mel_bins % bins):
            raise ConfigError(
                f"patches.size: expected mel bins that divide num_mel_bins ({self.num_mel_bins}), found {bins}"
            )

    @property
    def columns(self) -> int:
        """Patch columns ``Q``."""
        return 1 + (self.num_mel_bins - self.patches.size[1]) // self.patches.stride[1]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for json and checkpoints."""
        return _to_dict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> EncoderConfig:
        """Inverse of :meth:`to_dict`.

        Raises:
            ConfigError: a key is missing, unknown or of another kind; the message names it, as ``stack.depth``.
        """
        values = _section(values, "", cls)
        stack = _section(values["stack"], "stack", StackConfig)
        stack["attention"] = _attention(stack["attention"], "stack.attention")
        values["stack"] = _build(StackConfig, stack, "stack")
        values["patches"] = _build(PatchConfig, _section(values["patches"], "patches", PatchConfig), "patches")
        return _build(cls, values, "")


@dataclass(frozen=True)
class HeadConfig:
    """A classification head on an encoder.

    Attributes:
        num_classes: classes ``C``.
        pooling: ``cls`` (the first prefix token), ``mean`` (of the patches) or ``prefix_mean`` (of the prefix tokens).
        norm: LayerNorm on the pooled vector.
        norm_eps: its eps; 1e-6 in the published fairseq programs, 1e-5 in EAT's Hugging Face directories.
    """

    num_classes: int
    pooling: str = "cls"
    norm: bool = True
    norm_eps: float = 1e-6

    def __post_init__(self) -> None:
        require_positive("num_classes", self.num_classes)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for json and checkpoints."""
        return _to_dict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> HeadConfig:
        """Inverse of :meth:`to_dict`; raises ConfigError as :meth:`EncoderConfig.from_dict` does."""
        return _build(cls, _section(values, "", cls), "")


@dataclass(frozen=True)
class Regularisation:
    """How an encoder is trained; nothing of it changes what it computes in evaluation mode.

    Attributes:
        attention_dropout: on the attention maps.
        projection_dropout: after the attention's projection.
        activation_dropout: inside the MLP.
        mlp_dropout: after the MLP.
        patch_dropout: on the embedded patches, before their positions are added.
        input_dropout: on the tokens that enter the first block.
        drop_path: stochastic depth of the first and of the last layer, linear in between.
        layerdrop: probability of leaving out a whole layer for a whole batch.
        checkpoint_activations: recompute the blocks in the backward pass instead of keeping their activations.
    """

    attention_dropout: float = 0.0
    projection_dropout: float = 0.0
    activation_dropout: float = 0.0
    mlp_dropout: float = 0.0
    patch_dropout: float = 0.0
    input_dropout: float = 0.0
    drop_path: tuple[float, float] = (0.0, 0.0)
    layerdrop: float = 0.0
    checkpoint_activations: bool = False


def _to_dict(value: Any) -> Any:
    if is_dataclass(value):
        kind = {"kind": value.kind} if hasattr(value, "kind") else {}
        return kind | {entry.name: _to_dict(getattr(value, entry.name)) for entry in fields(value)}
    return list(value) if isinstance(value, tuple) else value


def _section(values: Any, key: str, cls: type) -> dict[str, Any]:
    """The values of a part as a new dictionary, each with the type that the part's class has there."""
    if not isinstance(values, Mapping):
        raise ConfigError(f"{key or 'encoder'}: expected a table of settings, found {values!r}")
    expected = {entry.name: str(entry.type) for entry in fields(cls)}
    dot = f"{key}." if key else ""
    for name in [*expected, *values]:
        if name not in values:
            raise ConfigError(f"{dot}{name}: missing; expected {', '.join(expected)}, found {', '.join(values)}")
        if name not in expected:
            raise ConfigError(f"{dot}{name}: unknown; expected {', '.join(expected)}")
        _require_type(f"{dot}{name}", values[name], expected[name])
    return dict(values)


def _fits_a_float(number: Any) -> bool:
    """Whether a number is finite, and no integer beyond all floats."""
    return -sys.float_info.max <= number <= sys.float_info.max


_TYPES = {"int": (int,), "float": (int, float), "str": (str,), "bool": (bool,)}
_TYPE_WORDS = {"int": "a whole number", "float": "a number", "str": "a word", "bool": "true or false"}


def _require_type(key: str, value: Any, annotation: str) -> None:
    plain = annotation.removesuffix(" | None")
    if plain not in _TYPES or (value is None and plain != annotation):
        return  # a part of its own, or a pair, whose class looks at it
    if not isinstance(value, _TYPES[plain]) or (plain != "bool" and isinstance(value, bool)):
        or_null = "" if plain == annotation else " or null"
        raise ConfigError(f"{key}: expected {_TYPE_WORDS[plain]}{or_null}, found {value!r}")
    if plain == "float" and not _fits_a_float(value):
        raise ConfigError(f"{key}: expected a finite number, found {str(value)[:20]}")


def _attention(values: Any, key: str) -> AttentionConfig:
    kind = ATTENTIONS.get(str(values.get("kind"))) if isinstance(values, Mapping) else None
    if kind is None:
        raise ConfigError(f"{key}: expected a table with kind = {' or '.join(ATTENTIONS)}, found {values!r}")
    return _build(kind, _section({k: v for k, v in values.items() if k != "kind"}, key, kind), key)


def _build(cls: type, values: dict[str, Any], key: str):
    try:
        return cls(**values)
    except ConfigError as error:
        raise ConfigError(f"{key}.{error}" if key else str(error)) from None
