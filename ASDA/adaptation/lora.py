"""LoRA (arXiv 2106.09685) through the peft library, which is imported when it is needed: ``pip install asda[adapt]``.

peft puts a layer around each linear map. That layer here has the tensors' names as the encoder has them, and its own
as peft's files do: ``qkv.weight``, ``qkv.lora_A.weight``, ``qkv.lora_B.weight``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..core.encoder import SpectrogramEncoder
from .method import AdaptationError, is_number, require_at_least_one

A, B = "lora_A.weight", "lora_B.weight"
_ADAPTER = "default"  # peft's name of a layer's one adapter
_BASE = "base_layer."

# A word of what attention and MLP consist of -> the linear map that holds it, with the share of its rows: (first, last)
# of so many. Of the maps that are there, which depends on the kind of attention.
_PARTS: dict[str, tuple[tuple[str, tuple[int, int, int]], ...]] = {
    "q": (("qkv", (0, 1, 3)), ("qk", (0, 1, 2)), ("q", (0, 1, 1))),
    "k": (("qkv", (1, 2, 3)), ("qk", (1, 2, 2)), ("kv", (0, 1, 2))),
    "v": (("qkv", (2, 3, 3)), ("v", (0, 1, 1)), ("kv", (1, 2, 2))),
    "output": (("proj", (0, 1, 1)),),
    "mlp": (("fc1", (0, 1, 1)), ("fc2", (0, 1, 1))),
}


@dataclass(frozen=True)
class Lora:
    """Low-rank updates of linear maps.

    Attributes:
        rank: of each update.
        alpha: updates are scaled by alpha / rank.
        dropout: on the input of the updates.
        targets: parts (q, k, v, output, mlp) or names of maps as the blocks have them (qkv; or qk, v; or q, kv,
            lambda_proj; proj, fc1, fc2). Queries, keys and values that share a map share the update's first factor;
            rows of parts that are no target stay 0.
    """

    kind: ClassVar[str] = "lora"
    folds: ClassVar[bool] = True

    rank: int = 8
    alpha: float = 16.0
    dropout: float = 0.0
    targets: tuple[str, ...] = ("q", "k", "v", "output")

    def __post_init__(self) -> None:
        require_at_least_one(self, "rank")
        if isinstance(self.targets, str) or not all(isinstance(target, str) for target in self.targets):
            raise AdaptationError(f"{self.kind}: targets is {self.targets!r}, expected a list such as [q, v]")
        object.__setattr__(self, "targets", tuple(self.targets))
        if not (is_number(self.alpha) and 0 < self.alpha < math.inf):
            raise AdaptationError(f"{self.kind}: alpha is {self.alpha!r}, expected a positive number")
        if not (is_number(self.dropout) and 0 <= self.dropout < 1):
            raise AdaptationError(f"{self.kind}: dropout is {self.dropout!r}, expected a number from 0 to below 1")

    @property
    def scaling(self) -> float:
        """What the product of an update's factors is multiplied by."""
        return self.alpha / self.rank

    def attach(self, encoder: SpectrogramEncoder) -> list[nn.Module]:
        peft = _peft()
        rows = self.changed_rows(encoder)
        trained = {name: p.requires_grad for name, p in encoder.named_parameters()}
        config = peft.LoraConfig(
            r=self.rank,
            lora_alpha=self.alpha,
            lora_dropout=self.dropout,
            target_modules="|".join(re.escape(name) for name in rows),
        )
        peft.inject_adapter_in_model(config, encoder)
        for name, parameter in encoder.named_parameters():  # peft freezes all but its own
            if (before := trained.get(state_name(name))) is not None:
                parameter.requires_grad_(before)
        layers = []
        for name, changed in rows.items():
            layer: Any = encoder.get_submodule(name)  # peft's LoraLayer around the linear map
            if not bool(changed.all()):
                _keep_rows(layer.lora_B[_ADAPTER].weight, changed)
            layer.register_state_dict_post_hook(_to_plain_names)
            layer.register_load_state_dict_pre_hook(_from_plain_names)
            layers.append(layer)
        return [part for layer in layers for part in (layer.lora_dropout, layer.lora_A, layer.lora_B)]

    def changed_rows(self, encoder: SpectrogramEncoder) -> dict[str, Tensor]:
        """Names of the maps that get an update -> which of their outputs it may change, (out features,) bool.

        Raises:
            AdaptationError: a target matches nothing.
        """
        maps = _linear_maps(encoder)
        kinds = list(dict.fromkeys(name.rpartition(".")[2] for name in maps))
        if not self.targets:
            raise AdaptationError(f"lora: no targets; {_there_is(kinds)}")
        found: dict[str, Tensor] = {}
        for target in self.targets:
            parts = [part for part in _PARTS.get(target, ()) if part[0] in kinds] or [(target, (0, 1, 1))]
            if not any(kind in kinds for kind, _ in parts):
                raise AdaptationError(f'lora: the target "{target}" matches nothing in the encoder; {_there_is(kinds)}')
            for name, linear in maps.items():
                for kind, (first, last, of) in parts:
                    if name.endswith(f".{kind}"):
                        share = linear.out_features // of
                        rows = found.setdefault(name, torch.zeros(linear.out_features, dtype=torch.bool, device="cpu"))
                        rows[first * share : last * share] = True
        return {name: found[name] for name in maps if name in found}


def folded(tensors: Mapping[str, Tensor], updates: Mapping[str, Tensor], lora: Lora) -> dict[str, Tensor]:
    """An encoder's tensors with the updates computed into them, in float64.

    Args:
        tensors: of the encoder.
        updates: of the encoder's LoRA layers, named as above.
        lora: whose they are.
    """
    result = dict(tensors)
    for name, first in updates.items():
        if name.endswith(f".{A}"):
            place = name.removesuffix(A)
            weight = result[f"{place}weight"]
            update = updates[f"{place}{B}"].double() @ first.double()
            result[f"{place}weight"] = (weight.double() + lora.scaling * update).to(weight.dtype)
    return result


def _linear_maps(encoder: SpectrogramEncoder) -> dict[str, nn.Linear]:
    """Those of the encoder's own blocks, adapters aside."""
    found = {}
    for number, block in enumerate(encoder.stack.blocks):
        for part in ("attn", "mlp"):
            for name, module in getattr(block, part).named_children():
                if isinstance(module, nn.Linear):
                    found[f"stack.blocks.{number}.{part}.{name}"] = module
    return found


def _there_is(kinds: list[str]) -> str:
    words = [word for word, parts in _PARTS.items() if any(kind in kinds for kind, _ in parts)]
    return f"there are {', '.join(words)}, or by map {', '.join(kinds)}"


def _keep_rows(weight: nn.Parameter, rows: Tensor) -> None:
    """Lets only some rows of a weight that is 0 be trained: without gradient Adam and decay leave 0 as it is."""
    weight.register_hook(lambda gradient: gradient * rows[:, None].to(gradient.device, gradient.dtype))


def state_name(parameter: str) -> str:
    """The name of a parameter in the state of an adapted encoder, of this file's layers as of any others."""
    for factor in ("lora_A", "lora_B"):
        parameter = parameter.replace(f"{factor}.{_ADAPTER}.", f"{factor}.")
    return parameter.replace(_BASE, "")


def _to_plain_names(layer: nn.Module, state: dict, prefix: str, metadata: dict) -> None:  # noqa: ARG001
    _rename(state, prefix, state_name)


def _from_plain_names(layer: nn.Module, state: dict, prefix: str, *_: Any) -> None:  # noqa: ARG001
    def attached(name: str) -> str:
        factor, _, rest = name.partition(".")
        return f"{factor}.{_ADAPTER}.{rest}" if factor in ("lora_A", "lora_B") else f"{_BASE}{name}"

    _rename(state, prefix, attached)


def _rename(state: dict, prefix: str, change) -> None:
    for name in [name for name in state if name.startswith(prefix)]:
        state[prefix + change(name.removeprefix(prefix))] = state.pop(name)


def _peft():
    try:
        import peft
    except ImportError as error:
        raise AdaptationError("lora: needs the peft library; pip install 'asda[adapt]' (or peft)") from error
    return peft
