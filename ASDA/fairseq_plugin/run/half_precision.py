"""fairseq's optimiser for half precision with its casts in one launch per direction, where fairseq has one per tensor.

It takes the place of fairseq's (changed_fairseq.py).
"""

from typing import Any

import torch
from fairseq.optim import fp16_optimizer as fairseqs


class FP16Optimizer(fairseqs.FP16Optimizer):
    """fairseq's, and its name, which a checkpoint's has to be equal to."""

    def _sync_fp16_grads_to_fp32(self) -> None:
        if self.has_flat_params:
            super()._sync_fp16_grads_to_fp32()
            return
        if not self._needs_sync:
            return
        pairs = [(p, p32) for p, p32 in zip(self.fp16_params, self.fp32_params, strict=True) if p.requires_grad]
        for p, p32 in pairs:
            if p32.grad is None:
                p32.grad = torch.zeros_like(p32)
            elif p.grad is None:
                p32.grad.zero_()
        found = [(p32.grad, p.grad) for p, p32 in pairs if p.grad is not None]
        if found:
            torch._foreach_copy_(*map(list, zip(*found, strict=True)))
        self._needs_sync = False

    @torch.no_grad()
    def _sync_fp32_params_to_fp16(self) -> None:
        if self.has_flat_params:
            super()._sync_fp32_params_to_fp16()
            return
        pairs = [(p, p32) for p, p32 in zip(self.fp16_params, self.fp32_params, strict=True) if p.requires_grad]
        torch._foreach_copy_(*map(list, zip(*pairs, strict=True)))

    def clip_grad_norm(self, max_norm: float, aggregate_norm_fn: Any = None) -> torch.Tensor:
        """fairseq's: the norm of the gradients, which the next step scales so that it is at most ``max_norm``."""
        norm = super().clip_grad_norm(max_norm, aggregate_norm_fn)
        factor = self._multiply_factor
        if torch.is_tensor(factor) and factor.device.type == "cpu":
            self._multiply_factor = (
                factor.item()
            )  # as a tensor it would be copied to the gradients' device, and waited for
        return norm

    def zero_grad(self) -> None:
        """Lets go of the half-precision gradients and sets the float32 ones to 0."""
        if self.has_flat_params:
            super().zero_grad()
            return
        for p in self.fp16_params:
            p.grad = None
        gradients = [p32.grad for p32 in self.fp32_params if p32.grad is not None]
        if gradients:
            torch._foreach_zero_(gradients)
        self._needs_sync = False
        if self.scaler is not None:
            self._multiply_factor = 1.0 / float(self.scaler.loss_scale)
