"""Checkpoints and parameter names of the registered models carry the published names, in the published order."""

from __future__ import annotations

from typing import Any

from ...checkpoints.layouts.published_names import Names, published_place, to_native, to_published


class PublishedState:
    """Mix-in for the registered models."""

    names: Names  # of this class and published ones

    def __init__(self) -> None:
        super().__init__()
        self.register_state_dict_post_hook(self._publish)
        self.register_load_state_dict_pre_hook(self._nativise)

    @staticmethod
    def _publish(module, state_dict: dict, prefix: str, local_metadata: dict) -> None:
        for name in [n for n in state_dict if n.startswith(prefix)]:
            state_dict[prefix + to_published(name[len(prefix) :])] = state_dict.pop(name)

    @staticmethod
    def _nativise(module, state_dict: dict, prefix: str, *_) -> None:
        for name in [n for n in state_dict if n.startswith(prefix)]:
            state_dict[prefix + to_native(name[len(prefix) :], module.names)] = state_dict.pop(name)

    def named_modules(self, memo: set | None = None, prefix: str = "", remove_duplicate: bool = True):
        """In the published order, and so are the parameters, of wrapped models too.

        fairseq hands them to the optimiser in this order, and an optimiser's state is a list: this is what lets the
        state of a published checkpoint be resumed from.
        """
        found = list(super().named_modules(memo, prefix, remove_duplicate))
        yield from sorted(found, key=lambda entry: published_place(entry[0].removeprefix(prefix).removeprefix(".")))

    def named_parameters(self, *args: Any, **kwargs: Any):
        for name, parameter in super().named_parameters(*args, **kwargs):
            yield to_published(name), parameter
