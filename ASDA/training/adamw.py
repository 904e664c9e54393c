"""AdamW (arXiv 1711.05101) in a few launches per group of parameters, with fairseq's arithmetic and state."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim.adamw import adamw

_FUSED_ON = ("cpu", "cuda")


class AdamW(torch.optim.Optimizer):
    """torch's fused AdamW (foreach on devices that have none) as fairseq's Adam counts.

    fairseq adds eps to the second moment's root before it corrects that for the bias, torch after it. Here eps is
    divided by the correction, which is the same. The state is fairseq's, too: ``step``, a number, ``exp_avg`` and
    ``exp_avg_sq``, so that either goes on from the other's. Weights are float32; gradients are in their precision.

    Args:
        params: parameters, or groups of them.
        lr: learning rate.
        betas: of the two moments.
        eps: as fairseq counts it.
        weight_decay: share of a weight, times the learning rate, that each step takes off it.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ):
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """One update of all parameters that have a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for (step, device), parameters in self._alike(group["params"]).items():
                self._update(group, parameters, step, device)
        return loss

    def _alike(self, parameters: list[Tensor]) -> dict[tuple[int, torch.device], list[Tensor]]:
        """Those with a gradient, by the steps that they have taken and their device: as a rule all of them."""
        found: dict[tuple[int, torch.device], list[Tensor]] = defaultdict(list)
        for parameter in parameters:
            if parameter.grad is None:
                continue
            state = self.state[parameter]
            if not state:
                state["step"] = 0
                state["exp_avg"] = torch.zeros_like(parameter)
                state["exp_avg_sq"] = torch.zeros_like(parameter)
            found[int(state["step"]), parameter.device].append(parameter)
        return found

    def _update(self, group: dict, parameters: list[Tensor], step: int, device: torch.device) -> None:
        states = [self.state[parameter] for parameter in parameters]
        beta1, beta2 = group["betas"]
        if group["weight_decay"] != 0:
            # Apart, as in fairseq: 1 - lr * weight_decay, which the kernel multiplies by, is rounded to 6e-8 each time.
            torch._foreach_add_(parameters, parameters, alpha=-group["lr"] * group["weight_decay"])
        fused = device.type in _FUSED_ON
        # torch counts on the device where its kernel is fused; the numbers of this optimiser stay on the host.
        counts = torch.full((len(parameters),), float(step), device=device if fused else "cpu").unbind()
        adamw(
            parameters,
            [parameter.grad for parameter in parameters],  # type: ignore[misc]
            [state["exp_avg"] for state in states],
            [state["exp_avg_sq"] for state in states],
            [],
            list(counts),
            fused=fused,
            foreach=not fused,
            amsgrad=False,
            beta1=beta1,
            beta2=beta2,
            lr=group["lr"],
            weight_decay=0.0,
            eps=group["eps"] / (1.0 - beta2 ** (step + 1)) ** 0.5,
            maximize=False,
        )
        for state in states:
            state["step"] = step + 1
