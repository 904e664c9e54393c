"""Operations that make the host wait for the device, or that need values which a device has not computed yet."""

from __future__ import annotations

import traceback

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

_WAITING = {
    "aten::nonzero",
    "aten::_local_scalar_dense",
    "aten::is_nonzero",
    "aten::masked_select",
    "aten::unique_dim",
    "aten::_unique2",
    "aten::equal",
}
_FACTORIES = {"arange", "as_tensor", "empty", "full", "ones", "rand", "randint", "randn", "zeros"}
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


class Waits(TorchDispatchMode):
    """Counts reads of a whole update by their places, as far as what is read was not on the host to begin with.

    A CPU has one kind of tensors. Those count as the host's that were made of Python numbers without a device being
    named (or by the word "cpu"), or of the host's alone, or copied from a device's in a wait; all others are taken for
    a device's.
    """

    def __init__(self) -> None:
        super().__init__()
        self.places: list[str] = []
        self._host: dict[int, torch.Tensor] = {}  # by identity, kept alive so that no identity is used twice
        self._functions = _Reads(self)

    def __enter__(self):
        self._functions.__enter__()
        return super().__enter__()

    def __exit__(self, *error):
        super().__exit__(*error)
        self._functions.__exit__(*error)
        self._host.clear()

    def keep(self, tensor: torch.Tensor) -> None:
        """Takes a tensor for one of the host."""
        self._host[id(tensor)] = tensor

    def is_host(self, tensor: torch.Tensor) -> bool:
        return id(tensor) in self._host

    def note(self, what: str) -> None:
        self.places.append(f"{_place()}: {what}")

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func._schema.name
        tensors = [t for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)]
        host = bool(tensors) and all(map(self.is_host, tensors))
        boolean = name in _INDEXING and any(i is not None and i.dtype == torch.bool for i in args[1])
        if (name in _WAITING or boolean) and not host:
            self.note(name)
        result = func(*args, **(kwargs or {}))
        if host or name == "aten::lift_fresh":  # torch.tensor(numbers)
            for tensor in tree_leaves(result):
                if isinstance(tensor, torch.Tensor):
                    self.keep(tensor)
        return result


class _Reads(TorchFunctionMode):
    """Notes what reads a tensor without an operation that a dispatch mode sees on a CPU."""

    def __init__(self, waits: Waits):
        super().__init__()
        self._waits = waits

    def __torch_function__(self, func, types, args=(), kwargs=None):
        name, kwargs = getattr(func, "__name__", ""), kwargs or {}
        if name in ("tolist", "numpy", "cpu") and not self._waits.is_host(args[0]):
            self._waits.note(name)
        result = func(*args, **kwargs)
        of_numbers = name in _FACTORIES and not any(isinstance(a, torch.Tensor) for a in args)
        device = kwargs.get("device")
        if name == "cpu" or (of_numbers and (device is None or isinstance(device, str) and device == "cpu")):
            self._waits.keep(result)
        return result


def _place() -> str:
    """The innermost function of fairseq's or of this project on the stack."""
    for frame in reversed(traceback.extract_stack()):
        for root in ("/fairseq/", "/ASDA/"):
            if root in frame.filename and "/tests/" not in frame.filename:
                return f"{root[1:]}{frame.filename.rpartition(root)[2]} {frame.name}"
    return "elsewhere"
