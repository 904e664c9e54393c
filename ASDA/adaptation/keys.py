"""Keys of yaml, which are a run's ``model.*``, <-> methods of adaptation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .adapting import methods_named
from .bottlenecks import MlpAdapters, SpatialAdapters
from .lora import Lora
from .method import AdaptationError, Method
from .partial import HeadOnly, LastBlocks
from .prompts import DeepPrompts

_PROBE = "linear_classifier"  # EAT's word for training the head alone

# Kind of method -> its settings and the keys that say them.
_KEYS: dict[str, dict[str, str]] = {
    MlpAdapters.kind: {"width": "adapter_width"},
    SpatialAdapters.kind: {"width": "adapter_width"},
    Lora.kind: {name: f"lora_{name}" for name in ("rank", "alpha", "dropout", "targets")},
    DeepPrompts.kind: {"count": "prompt_tokens", "gated": "prompt_gated"},
    LastBlocks.kind: {"count": "trained_blocks"},
}

KEYS = ("adaptation", _PROBE, *dict.fromkeys(key for keys in _KEYS.values() for key in keys.values()))
"""All of them."""


def methods_of_keys(keys: Mapping[str, Any]) -> tuple[Method, ...] | None:
    """The methods that the keys of a classifier name; None if all of its encoder is trained as ever.

    Args:
        keys: plain values; what is missing has the method's default.

    Raises:
        AdaptationError: a method is not known or comes twice, a setting has no such value, two keys contradict.
    """
    names = keys.get("adaptation") or []
    if isinstance(names, str) or not isinstance(names, Sequence):
        raise AdaptationError(f"model.adaptation: expected a list such as [aat], found {names!r}")
    if keys.get(_PROBE):
        if list(names) not in ([], [HeadOnly.kind]):
            raise AdaptationError(
                f"model.{_PROBE}=true trains the head alone, model.adaptation=[{','.join(map(str, names))}] more; set "
                "one of them"
            )
        return (HeadOnly(),)
    if not names:
        return None
    settings = {
        kind: {setting: keys[key] for setting, key in known.items() if key in keys} for kind, known in _KEYS.items()
    }
    return methods_named(map(str, names), settings)


def unused_keys(keys: Mapping[str, Any], given: Sequence[str]) -> list[str]:
    """Those of some keys that say nothing, as none of the methods that the keys name has such a setting.

    Args:
        keys: as of :func:`methods_of_keys`.
        given: names in KEYS.

    Raises:
        AdaptationError: as :func:`methods_of_keys`.
    """
    kinds = [method.kind for method in methods_of_keys(keys) or ()]
    used = {"adaptation", _PROBE}.union(*(_KEYS.get(kind, {}).values() for kind in kinds))
    return [key for key in given if key not in used]


def keys_of_methods(methods: Sequence[Method]) -> dict[str, Any]:
    """Inverse of :func:`methods_of_keys`.

    Raises:
        AdaptationError: two methods that share a key have other values of it.
    """
    keys: dict[str, Any] = {"adaptation": [method.kind for method in methods]}
    for method in methods:
        for setting, key in _KEYS.get(method.kind, {}).items():
            value = getattr(method, setting)
            value = list(value) if isinstance(value, tuple) else value
            if keys.setdefault(key, value) != value:
                raise AdaptationError(f"model.{key} is {keys[key]} of one method and {value} of {method.kind}")
    return keys
