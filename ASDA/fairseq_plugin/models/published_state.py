"""Checkpoints and parameter names carry the published names."""

from __future__ import annotations

from typing import Any

from ...checkpoints.layouts.published_names import (
    published_place,
    to_native,
    to_published,
)


class PublishedNames:
    """Mix-in for the registered models: checkpoints and parameter names carry the published names."""

    native_root = ""  # what precedes `student.` in this class's own names

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
            native = to_native(name[len(prefix) :])
            if native != name[len(prefix) :]:
                state_dict[prefix + module.native_root + native] = state_dict.pop(name)

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
