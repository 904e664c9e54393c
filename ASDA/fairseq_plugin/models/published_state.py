"""Checkpoints and parameter names of the registered models carry the published names, in the published order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from ...checkpoints.layouts.published_names import Names, published_place, to_native, to_published


class PublishedState:
    """Mix-in for the registered models. One whose published names are others overrides the first four methods."""

    names: Names  # of this class and published ones

    def __init__(self) -> None:
        super().__init__()
        self.register_state_dict_post_hook(self._publish)
        self.register_load_state_dict_pre_hook(self._nativise)

    def published(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Tensors of this model as published files have them."""
        return {to_published(name): tensor for name, tensor in tensors.items()}

    def native(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Tensors of published files as this model has them."""
        return {to_native(name, self.names): tensor for name, tensor in tensors.items()}

    def published_name(self, name: str) -> str:
        """The published name of a parameter of this model."""
        return to_published(name)

    def published_place(self, module: str) -> tuple:
        """What sorts the names of this model's modules into the published order."""
        return published_place(module)

    @staticmethod
    def _publish(module, state_dict: dict, prefix: str, local_metadata: dict) -> None:
        _rewrite(state_dict, prefix, module.published)

    @staticmethod
    def _nativise(module, state_dict: dict, prefix: str, *_) -> None:
        _rewrite(state_dict, prefix, module.native)

    def named_modules(self, memo: set | None = None, prefix: str = "", remove_duplicate: bool = True):
        """In the published order, and so are the parameters, of wrapped models too.

        fairseq hands them to the optimiser in this order, and an optimiser's state is a list: this is what lets the
        state of a published checkpoint be resumed from.
        """
        found = list(super().named_modules(memo, prefix, remove_duplicate))
        yield from sorted(
            found, key=lambda entry: self.published_place(entry[0].removeprefix(prefix).removeprefix("."))
        )

    def named_parameters(self, *args: Any, **kwargs: Any):
        for name, parameter in super().named_parameters(*args, **kwargs):
            yield self.published_name(name), parameter


def _rewrite(state_dict: dict, prefix: str, change: Callable[[dict], dict]) -> None:
    """Replaces the entries whose names begin with ``prefix``, in place."""
    own = {name: state_dict.pop(name) for name in list(state_dict) if name.startswith(prefix)}
    renamed = change({name[len(prefix) :]: tensor for name, tensor in own.items()})
    state_dict.update({prefix + name: tensor for name, tensor in renamed.items()})
