"""LayerNorm that keeps bfloat16, under autocast as without, on every device."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class LayerNorm(nn.LayerNorm):
    """torch's LayerNorm, with :func:`layer_norm`."""

    def forward(self, x: Tensor) -> Tensor:
        return layer_norm(x, self.weight, self.bias, self.eps)


def layer_norm(x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5) -> Tensor:
    """LayerNorm over the last dimension of (..., D); bfloat16 stays bfloat16. Its sums are float32 in any case.

    On a GPU torch's autocast gives float32 for bfloat16 here, and so the sum of a residual and what follows it move
    twice the bytes; on a CPU it does not. As GPUs have no kernel for bfloat16 with float32 weights, these are rounded
    there, as autocast does with those of linear maps. float16 is left to torch: its range is too small for residuals.
    """
    shape = x.shape[-1:]
    if x.dtype != torch.bfloat16 or x.device.type == "cpu":
        return F.layer_norm(x, shape, weight, bias, eps)
    with torch.autocast(x.device.type, enabled=False):
        weight = None if weight is None else weight.to(x.dtype)
        bias = None if bias is None else bias.to(x.dtype)
        return F.layer_norm(x, shape, weight, bias, eps)
