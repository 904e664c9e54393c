"""Optimisers that find the norm of all gradients in a few launches and let the host wait for it once.

fairseq launches an operation per parameter for it and looks at the result in two places, and each waits for the device.
"""

from functools import cached_property
from typing import Any, Callable, List, Optional

import torch
from fairseq.optim import register_optimizer
from fairseq.optim.composite import CompositeOptimizerConfig
from fairseq.optim.composite import FairseqCompositeOptimizer as Composite

from ...training.nonfinite import gradient_norm


class OneRead:
    """Mixed into a fairseq optimiser: its parameters are listed once, and the norm of their gradients is on the host.

    Attributes:
        inspect: the norm on the device -> on the host. Whoever has more to read in the same wait sets it.
    """

    inspect: Optional[Callable[[torch.Tensor], torch.Tensor]] = None

    @cached_property
    def params(self) -> List[torch.nn.Parameter]:
        """All parameters, in their groups' order."""
        return [p for group in self.param_groups for p in group["params"]]

    def zero_grad(self) -> None:
        """Lets go of all gradients."""
        for parameter in self.params:
            parameter.grad = None

    def clip_grad_norm(self, max_norm: float, aggregate_norm_fn: Any = None) -> torch.Tensor:
        """Scales the gradients so that their norm is at most ``max_norm`` (0: as they are).

        Returns:
            The norm before that, on the host.
        """
        gradients = [p.grad for p in self.params if p.grad is not None]
        if not gradients:
            return torch.zeros(())
        norm = gradient_norm(gradients)
        if aggregate_norm_fn is not None:
            norm = aggregate_norm_fn(norm)
        norm = torch.tensor(norm.item()) if self.inspect is None else self.inspect(norm)
        if 0.0 < max_norm < norm:
            torch._foreach_mul_(gradients, (max_norm / (norm + 1e-6)).item())
        return norm


@register_optimizer("asda_composite", dataclass=CompositeOptimizerConfig)
class FairseqCompositeOptimizer(OneRead, Composite):
    """fairseq's composite optimiser. Its name, too, which a checkpoint's has to equal: runs go on either way."""

    def __init__(self, cfg: CompositeOptimizerConfig, params: Any):
        self.optimizers, self.lr_schedulers = {}, {}  # fairseq's are the class's: the next one would take them over
        super().__init__(cfg, params)
