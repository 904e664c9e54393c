"""Adapting an encoder: methods by name, attaching them, and the tensors that belong to them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

from torch import Tensor, nn

from ..core.encoder import SpectrogramEncoder
from .bottlenecks import MlpAdapters, SpatialAdapters
from .lora import A, B, Lora, folded
from .method import AdaptationError, Method
from .partial import Everything, HeadOnly, LastBlocks
from .prompts import DeepPrompts

METHODS: dict[str, type[Any]] = {
    method.kind: method
    for method in (MlpAdapters, SpatialAdapters, Lora, DeepPrompts, LastBlocks, HeadOnly, Everything)
}
COMBINATIONS: dict[str, tuple[str, ...]] = {
    "aat": (MlpAdapters.kind, SpatialAdapters.kind),
    "aat_m": (MlpAdapters.kind,),
}
"""Other names that a yaml may use: the paper's."""

_ADDED_TO_BLOCK = ("beside_mlp", "after_attention", "prompts")


def adapt(encoder: SpectrogramEncoder, methods: Sequence[Method]) -> list[nn.Module]:
    """Freezes an encoder and attaches methods; its output stays what it was, bit for bit.

    Args:
        encoder: with the weights that it is to start from, or before these are loaded. Its tensors keep their names.
        methods: attached in this order; none of them trains nothing of the encoder.

    Returns:
        The modules that are in training mode when a run trains; all others stay in evaluation mode. Parameters that
        get a gradient are the ones that are trained.

    Raises:
        AdaptationError: a method comes twice, or does not fit the encoder.
    """
    _require_different([method.kind for method in methods])
    encoder.requires_grad_(False)
    return [module for method in methods for module in method.attach(encoder)]


def methods_named(names: Iterable[str], settings: Mapping[str, Mapping[str, Any]]) -> tuple[Method, ...]:
    """The methods that a configuration names.

    Args:
        names: of methods or of combinations.
        settings: kind of method -> settings of its own.

    Raises:
        AdaptationError: a name that is not known, or a method that comes twice.
    """
    kinds: list[str] = []
    for name in names:
        if name not in METHODS and name not in COMBINATIONS:
            known = ", ".join([*COMBINATIONS, *METHODS])
            raise AdaptationError(f'model.adaptation: there is no method "{name}", there are {known}')
        kinds += COMBINATIONS.get(name, (name,))
    _require_different(kinds)
    return tuple(METHODS[kind](**settings.get(kind, {})) for kind in kinds)


def to_dicts(methods: Iterable[Method]) -> list[dict[str, Any]]:
    """Methods as plain values, for json and checkpoints."""
    return [
        {"kind": method.kind}
        | {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(method).items()}  # type: ignore[call-overload]
        for method in methods
    ]


def from_dicts(values: Any) -> tuple[Method, ...]:
    """Inverse of :func:`to_dicts`.

    Raises:
        AdaptationError: a method or a setting is not known, or has no such value.
    """
    if not isinstance(values, (list, tuple)) or not all(isinstance(value, Mapping) for value in values):
        raise AdaptationError(f"adaptation: expected a list of tables with a kind, found {values!r}")
    methods: list[Method] = []
    for value in values:
        cls = METHODS.get(str(value.get("kind")))
        if cls is None:
            raise AdaptationError(
                f"adaptation: there is no method {value.get('kind')!r}, there are {', '.join(METHODS)}"
            )
        known = [field.name for field in fields(cls)]
        settings = {key: setting for key, setting in value.items() if key != "kind"}
        unknown = [key for key in settings if key not in known]
        if unknown:
            raise AdaptationError(
                f"adaptation: {cls.kind} has no setting {unknown[0]!r}, it has {', '.join(known) or 'none'}"
            )
        try:
            methods.append(cls(**settings))
        except TypeError as error:  # a text where a number belongs
            raise AdaptationError(f"adaptation: {cls.kind}: {error}") from error
    _require_different([method.kind for method in methods])
    return tuple(methods)


def is_added(name: str) -> bool:
    """Whether a tensor of an adapted encoder is one that a method has added, rather than the encoder's own."""
    stack, _, place = name.partition("stack.blocks.")
    if stack or not place:
        return False
    part = place.partition(".")[2].partition(".")[0]  # behind the block's number
    return part in _ADDED_TO_BLOCK or name.endswith((f".{A}", f".{B}"))


def split_added(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The encoder's own tensors, and those that methods have added."""
    own = {name: tensor for name, tensor in tensors.items() if not is_added(name)}
    return own, {name: tensor for name, tensor in tensors.items() if name not in own}


def load_tensors(
    encoder: SpectrogramEncoder, own: Mapping[str, Tensor], added: Mapping[str, Tensor] | None = None
) -> None:
    """Loads the encoder's own tensors into an adapted encoder, and those that methods have added, if there are any.

    Raises:
        RuntimeError: names or shapes are others.
    """
    if added is None:
        added = split_added(encoder.state_dict())[1]
    encoder.load_state_dict({**own, **added})


def fold(
    tensors: Mapping[str, Tensor], added: Mapping[str, Tensor], methods: Sequence[Method]
) -> tuple[dict[str, Tensor], dict[str, Tensor], tuple[Method, ...]]:
    """Computes what can be folded into an encoder's own tensors.

    Returns:
        The encoder's tensors, those of what cannot be folded, and its methods.
    """
    result = dict(tensors)
    for method in methods:
        if isinstance(method, Lora):
            result = folded(result, added, method)
    rest = tuple(method for method in methods if not method.folds)
    return result, {name: tensor for name, tensor in added.items() if not name.endswith((A, B))}, rest


def _require_different(kinds: Sequence[str]) -> None:
    twice = [kind for kind in kinds if kinds.count(kind) > 1]
    if twice:
        raise AdaptationError(f"model.adaptation: {twice[0]} comes twice in {', '.join(kinds)}")
