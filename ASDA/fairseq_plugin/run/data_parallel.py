"""Data parallelism of a run: torch's own, which sums gradients over the processes while the backward pass goes on.

It takes the place of the class that fairseq wraps networks in with `ddp_backend=c10d` (changed_fairseq.py).
"""

from typing import Any, Callable, Optional

from torch import nn
from torch.nn.parallel import DistributedDataParallel


class DataParallel(DistributedDataParallel):
    """torch's, for a network on any one device.

    fairseq names the GPU, of which a CPU has none, and a network that is on its device needs none. Where layers may be
    left out of a batch (layerdrop), their parameters are looked for: the others would wait for them for ever.
    """

    def __init__(
        self,
        module: nn.Module,
        device_ids: Any = None,
        output_device: Any = None,
        find_unused_parameters: bool = False,
        **options: Any,
    ):
        super().__init__(module, find_unused_parameters=find_unused_parameters or leaves_layers_out(module), **options)


def leaves_layers_out(network: nn.Module) -> bool:
    """Whether a batch may leave out layers of a network."""
    return any(getattr(part, "layerdrop", 0.0) > 0.0 for part in network.modules())


def data_parallel(model: nn.Module) -> Optional[DistributedDataParallel]:
    """torch's wrapper around the network of a run, inside fairseq's; None where there is none."""
    inner = getattr(model, "module", None)
    return next((part for part in (model, inner) if isinstance(part, DistributedDataParallel)), None)


def has_summed(model: nn.Module) -> bool:
    """Whether a backward pass that has just ended has summed the gradients over all processes."""
    wrapper = data_parallel(model)
    return wrapper is not None and wrapper.require_backward_grad_sync


def rehearse(model: nn.Module, optimizer: Any, train_batch: Callable[[], Any]) -> None:
    """Has the gradients of a batch summed over the processes once, and lets go of them.

    torch orders the buckets of its sums by the first backward pass, and how a number is rounded depends on its place in
    a bucket. With more than two processes the update after a start would differ from the same one within a run.
    """
    wrapper = data_parallel(model)
    if wrapper is None or wrapper.find_unused_parameters:  # these buckets stay as they are
        return
    sums = wrapper.require_backward_grad_sync
    wrapper.require_backward_grad_sync = True
    try:
        train_batch()
    finally:
        wrapper.require_backward_grad_sync = sums
    optimizer.zero_grad()
