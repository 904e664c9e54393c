"""Half precision of a network that only computes: autocast's, with the weights cast once instead of in each batch."""

from __future__ import annotations

import torch
from torch import nn

# Autocast computes these in half precision whatever their weights are, and would cast those each time.
_CAST = (nn.Linear, nn.Conv1d, nn.Conv2d)


def half_precision(device: torch.device) -> torch.dtype:
    """float16 on a GPU, bfloat16 on the CPU."""
    return torch.float16 if device.type == "cuda" else torch.bfloat16


def cast_weights(network: nn.Module, device: torch.device) -> None:
    """Casts those weights of a network that autocast would cast: the same results, to the bit, under autocast only.

    Norms, positions and tokens stay in float32. The weights of the checkpoint are gone afterwards.

    Args:
        network: on ``device``.
        device: which decides on the precision.
    """
    for module in network.modules():
        if isinstance(module, _CAST):
            for parameter in module.parameters(recurse=False):
                parameter.data = parameter.data.to(half_precision(device))
