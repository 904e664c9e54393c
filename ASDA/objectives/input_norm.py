"""A normalisation of the input that learns its statistics on the way (MAE-AST: a BatchNorm over one channel)."""

from __future__ import annotations

from typing import cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F

_HALF = (torch.float16, torch.bfloat16)
_MOMENTUM = 0.1


def mean_over(x: Tensor, real: Tensor, dim: tuple[int, ...] = (0, 1, 2, 3)) -> Tensor:
    """Mean over dimensions of values (B, 1, T, F) that are ``real``, (B, 1, T, 1); over all of them a scalar."""
    real = real.to(x.dtype).expand_as(x)
    keepdim = len(dim) < x.ndim
    return (x * real).sum(dim=dim, keepdim=keepdim) / real.sum(dim=dim, keepdim=keepdim).clamp(min=1.0)


class InputNorm(nn.BatchNorm2d):
    """Mean 0 and variance 1 over all values of a batch (B, 1, T, F); in evaluation mode by running statistics.

    What differs from torch's: the statistics stay in float32 where the network is cast to half precision; all processes
    have the same ones, as if one of them had seen their batches in turn; and batches that do not count, or are not
    finite, leave no trace in them.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self) -> None:
        super().__init__(1, momentum=_MOMENTUM, affine=False)

    def _apply(self, fn, recurse: bool = True):
        before = dict(self._buffers)
        super()._apply(fn, recurse)
        for name, buffer in self._buffers.items():
            if buffer is not None and buffer.dtype in _HALF:
                self._buffers[name] = cast(Tensor, before[name]).to(buffer.device)
        return self

    def forward(self, spectrogram: Tensor, counts: bool = True, real: Tensor | None = None) -> Tensor:
        """Normalises in float32.

        Args:
            spectrogram: (B, 1, T, F).
            real: (B, 1, T, 1), False at padding, which enters no statistics; None: there is none.
            counts: whether the batch enters the running statistics. Where torch.distributed is initialised, every rank
                has to come here in training mode.
        """
        x = spectrogram.float()
        if not self.training:
            return super().forward(x)
        if real is None:
            self._follow(x.mean(), x.var(), counts)
            return F.batch_norm(x, None, None, training=True, eps=self.eps)
        mean = mean_over(x, real)
        variance = mean_over((x - mean).square(), real)
        n = real.sum() * x.shape[3]
        self._follow(mean, variance * n / (n - 1), counts)
        return (x - mean) * (variance + self.eps).rsqrt()

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor, counts: bool) -> None:
        """Takes the batch's statistics, and those of the other processes, into the running ones."""
        own = torch.stack([mean, variance, torch.tensor(float(counts), device=mean.device)])
        of_all = [own]
        if dist.is_available() and dist.is_initialized():
            of_all = [torch.empty_like(own) for _ in range(dist.get_world_size())]
            dist.all_gather(of_all, own)
        for mean, variance, weight in of_all:
            valid = torch.isfinite(mean) & torch.isfinite(variance) & (weight > 0)
            for running, value in ((self.running_mean, mean), (self.running_var, variance)):
                running.copy_(torch.where(valid, torch.lerp(running, value.expand(1), _MOMENTUM), running))
            self.num_batches_tracked += valid
