"""The kinds of attention as values: a word, its constants, what it costs, and the layer that it builds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, TypeVar, Union

from torch import nn

from .attention import LAMBDA_MODES, Attention, DifferentialAttention, depth_lambda_init
from .config_error import ConfigError, choose, require_shares
from .differential_v2 import DifferentialAttentionV2

Kind = TypeVar("Kind", bound="AttentionKind")


class AttentionKind:
    """What all kinds of attention tell of themselves.

    Attributes:
        kind: its word.
        maps: softmax maps of a head.
        by_layer: settings that may be a list, with a value for each layer.
    """

    kind: ClassVar[str]
    maps: ClassVar[int]
    by_layer: ClassVar[tuple[str, ...]] = ()

    def build(self, embed_dim: int, num_heads: int, layer: int, **dropouts: float) -> nn.Module:
        """The attention of a layer, counted from 1."""
        raise NotImplementedError

    def linear_weights(self, embed_dim: int, num_heads: int) -> int:
        """Weights of the linear maps of a layer, biases aside: multiplications of each token."""
        raise NotImplementedError

    def require_depth(self, depth: int) -> None:
        """Refuses lists that are not as long as there are layers.

        Raises:
            ConfigError: one is not.
        """
        for name in self.by_layer:
            value = getattr(self, name)
            if isinstance(value, tuple) and len(value) != depth:
                raise ConfigError(
                    f"attention.{name}: expected one number, or one for each of the {depth} layers, found {len(value)}"
                )

    def of_layer(self, name: str, layer: int) -> Any:
        """The value that a setting has in a layer, counted from 1."""
        value = getattr(self, name)
        return value[layer - 1] if isinstance(value, tuple) else value

    def behind_the_last_layer(self: Kind) -> Kind:
        """The same for further layers, as a decoder's: a list goes on with its last value."""
        lists = {name: getattr(self, name) for name in self.by_layer if isinstance(getattr(self, name), tuple)}
        return replace(self, **{name: value[-1] for name, value in lists.items()})  # type: ignore[type-var]


@dataclass(frozen=True)
class Plain(AttentionKind):
    """One softmax map: EAT, MAE-AST, SSAST, AST."""

    kind: ClassVar[str] = "plain"
    maps: ClassVar[int] = 1

    def build(self, embed_dim: int, num_heads: int, layer: int, **dropouts: float) -> nn.Module:
        return Attention(embed_dim, num_heads, **dropouts)

    def linear_weights(self, embed_dim: int, num_heads: int) -> int:
        return 4 * embed_dim**2


@dataclass(frozen=True)
class Differential(AttentionKind):
    """Two softmax maps, the second subtracted with a coefficient lambda (ASDA, section 2).

    Attributes:
        diff_lambda: the coefficient when ``lambda_mode`` is ``fixed``, from 0 to 1; a list has one for each layer.
        out_scale: constant after the norm; None takes 1 - lambda_init, the convention of arXiv 2410.05258.
        lambda_mode: ``fixed`` or ``learned``.
        lambda_init: constant of a learned lambda, from 0 to 1; a list has one for each layer; None lets it grow with
            the depth as in arXiv 2410.05258.
    """

    kind: ClassVar[str] = "differential"
    maps: ClassVar[int] = 2
    by_layer: ClassVar[tuple[str, ...]] = ("diff_lambda", "lambda_init")

    diff_lambda: float | tuple[float, ...] = 0.3
    out_scale: float | None = 0.95
    lambda_mode: str = "fixed"
    lambda_init: float | tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        choose("lambda_mode", self.lambda_mode, LAMBDA_MODES)
        object.__setattr__(self, "diff_lambda", require_shares("diff_lambda", self.diff_lambda))
        if self.lambda_init is not None:
            object.__setattr__(self, "lambda_init", require_shares("lambda_init", self.lambda_init))
        if self.out_scale is None and self.lambda_mode != "learned":
            raise ConfigError("out_scale: null (1 - lambda_init) needs lambda_mode=learned, found lambda_mode=fixed")

    def build(self, embed_dim: int, num_heads: int, layer: int, **dropouts: float) -> nn.Module:
        stated = self.of_layer("lambda_init", layer)
        init = depth_lambda_init(layer) if stated is None else stated
        return DifferentialAttention(
            embed_dim,
            num_heads,
            diff_lambda=self.of_layer("diff_lambda", layer),
            out_scale=1.0 - init if self.out_scale is None else self.out_scale,
            lambda_mode=self.lambda_mode,
            lambda_init=init,
            **dropouts,
        )

    def linear_weights(self, embed_dim: int, num_heads: int) -> int:
        return 6 * embed_dim**2


@dataclass(frozen=True)
class DifferentialV2(AttentionKind):
    """Two softmax maps over the same keys, with a lambda of each token and head (core/differential_v2.py).

    Attributes:
        lambda_init: lambda at the start, between 0 and 1; a list has one for each layer; None is 0.5, as published.
    """

    kind: ClassVar[str] = "differential_v2"
    maps: ClassVar[int] = 2
    by_layer: ClassVar[tuple[str, ...]] = ("lambda_init",)

    lambda_init: float | tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if self.lambda_init is not None:
            object.__setattr__(self, "lambda_init", require_shares("lambda_init", self.lambda_init, ends=False))

    def build(self, embed_dim: int, num_heads: int, layer: int, **dropouts: float) -> nn.Module:
        init = self.of_layer("lambda_init", layer)
        return DifferentialAttentionV2(embed_dim, num_heads, lambda_init=0.5 if init is None else init, **dropouts)

    def linear_weights(self, embed_dim: int, num_heads: int) -> int:
        return 5 * embed_dim**2 + embed_dim * num_heads


AttentionConfig = Union[Plain, Differential, DifferentialV2]
ATTENTIONS: dict[str, type] = {kind.kind: kind for kind in (Plain, Differential, DifferentialV2)}
