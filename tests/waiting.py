"""Operations that make the host wait for the device, or that need values which a device has not computed yet."""

from __future__ import annotations

import torch
from torch.utils._python_dispatch import TorchDispatchMode

_WAITING = {
    "aten::nonzero",
    "aten::_local_scalar_dense",
    "aten::is_nonzero",
    "aten::masked_select",
    "aten::unique_dim",
    "aten::_unique2",
    "aten::equal",
}
_INDEXING = {"aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_"}


class DataDependent(TorchDispatchMode):
    """Notes such operations, backward passes included; boolean indexing is one of them."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func._schema.name
        boolean = name in _INDEXING and any(i is not None and i.dtype == torch.bool for i in args[1])
        if name in _WAITING or boolean:
            self.found.append(f"{name}{' with a boolean mask' if boolean else ''}")
        return func(*args, **(kwargs or {}))
