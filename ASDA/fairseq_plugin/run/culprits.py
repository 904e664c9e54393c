"""Which clips are behind a loss that is not finite, and where they stand."""

import math
from typing import Any, List, Optional

import torch

_MAX_NAMED = 20


def places(dataset: Any, clips: List[int]) -> str:
    """Where clips stand in a data set's manifest; the first of them if there are many."""
    if dataset is None:
        return f"clips {clips}"
    shown = ", ".join(dataset.manifest.where(clip) for clip in clips[:_MAX_NAMED])
    return shown + (f" and {len(clips) - _MAX_NAMED} more" if len(clips) > _MAX_NAMED else "")


def named(sample: dict, model: Any, loss: float, log: dict, dataset: Any) -> str:
    """The clips that an update is left out for, as far as they can be told from the others of their batch.

    Args:
        sample: the batch.
        model: with ``extract_features``.
        loss: of the batch.
        log: what the batch logs; statistics over all processes are in it.
        dataset: that the batch is of.
    """
    rows = culprits(sample, model, loss, log)
    if rows == []:
        return ", a statistic over all processes: the clip is in another one's batch"
    clips = sample["id"].tolist()
    if rows is None:
        return f" (no clip by itself; the batch is {places(dataset, clips)})"
    return f" ({places(dataset, [clips[row] for row in rows])})"


@torch.no_grad()
def culprits(sample: dict, model: Any, loss: float, log: dict) -> Optional[List[int]]:
    """Rows of a batch whose values are not finite: as they come in or, if all do, as features.

    Returns:
        The rows; none if only a statistic is not finite, by another process's batch; None if no clip can be told from
        the others.
    """
    source = sample["net_input"]["source"]
    rows = _not_finite(source)
    if rows:
        return rows
    sound = math.isfinite(loss)
    if sound and torch.distributed.is_initialized() and not all(math.isfinite(float(value)) for value in log.values()):
        return []
    training = model.training
    model.eval()
    try:
        for row in range(len(source)):
            if _not_finite(model.extract_features(source[row : row + 1])["x"]):
                rows.append(row)
    finally:
        model.train(training)
    return rows or None


def _not_finite(batch: torch.Tensor) -> List[int]:
    return (~torch.isfinite(batch.flatten(1)).all(dim=1)).nonzero().flatten().tolist()
