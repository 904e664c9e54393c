"""Groups of parameters that an optimiser treats alike: without weight decay, with a learning rate of their layer.

fairseq's composite optimiser reads the attributes that are set here; any other can.
"""

from __future__ import annotations

from torch import nn

from ..core.encoder import SpectrogramEncoder


def exclude_from_decay(model: nn.Module, group: str) -> None:
    """Puts biases and 1-D weights into the optimiser group ``group``, which the optimiser's config has to define."""
    for parameter in model.parameters():
        if group and parameter.ndim <= 1:
            parameter.param_group = group  # type: ignore[attr-defined]


def decay_by_layer(encoder: SpectrogramEncoder, decay: float) -> None:
    """Layer-wise learning rates: decay^k for the k-th layer below the head, the embedding counted as one."""
    layers = {id(p): layer for layer, block in enumerate(encoder.stack.blocks) for p in block.parameters()}
    for parameter in encoder.parameters():
        below = encoder.depth - layers.get(id(parameter), -1)
        parameter.optim_overrides = {"optimizer": {"lr_scale": decay**below}}  # type: ignore[attr-defined]
