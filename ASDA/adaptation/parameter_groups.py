"""Groups of parameters that an optimiser treats alike."""

from __future__ import annotations

import torch


def exclude_from_decay(model: torch.nn.Module, group: str) -> None:
    """Puts biases and 1-D weights into the optimiser group ``group``, which the optimiser's config has to define."""
    for parameter in model.parameters():
        if group and parameter.ndim <= 1:
            parameter.param_group = group
