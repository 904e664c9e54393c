"""The float32 weights beside a model in half precision, for resumed runs to go on from.

fairseq's checkpoints hold the model's own weights, which are the float32 ones rounded.
"""

from __future__ import annotations

from typing import Any

import torch


def _tensors(optimizer: Any) -> list[torch.Tensor]:
    masters = getattr(optimizer, "fp32_params", [])
    return list(masters.values()) if isinstance(masters, dict) else list(masters)


def master_state(optimizer: Any) -> dict:
    """The float32 weights and the loss scaler's counters of a fairseq optimiser for half precision; else nothing."""
    masters = _tensors(optimizer)
    if not masters:
        return {}
    scaler = getattr(optimizer, "scaler", None)
    return {
        "master_weights": [p.detach().cpu().clone() for p in masters],
        "loss_scaler": dict(vars(scaler)) if scaler is not None else {},
    }


@torch.no_grad()
def restore_master_state(optimizer: Any, state: dict) -> None:
    """Gives an optimiser back what :func:`master_state` took; nothing if it has no float32 weights of its own.

    Raises:
        ValueError: the weights are of other shapes.
    """
    masters = _tensors(optimizer)
    saved = state.get("master_weights", [])
    if not masters or not saved:
        return
    if [p.shape for p in masters] != [p.shape for p in saved]:
        raise ValueError(
            f"the checkpoint has {len(saved)} float32 weights of other shapes than the optimiser's {len(masters)}: "
            "it is not one of this model"
        )
    for own, other in zip(masters, saved, strict=True):
        own.copy_(other)
    if getattr(optimizer, "scaler", None) is not None:
        vars(optimizer.scaler).update(state["loss_scaler"])
