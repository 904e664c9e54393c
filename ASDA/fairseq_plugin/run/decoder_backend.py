"""How a run's convolutional decoder computes: as asked for or, with ``auto``, as a measurement at its start says."""

import logging
from typing import Any, Optional

from ...core.patches import patch_grid
from ..models.asda_keys import DecoderBackend
from .processes import gather, rank_and_size

logger = logging.getLogger(__name__)


def decide_backend(model: Any, recorded: Optional[str], clips: int, frames: int) -> Optional[str]:
    """Has a model's decoder compute in one way, the same on all processes. A collective call with ``auto``.

    Args:
        model: registered, on its device.
        recorded: what was measured when the run began: it goes on with that, as another way rounds otherwise.
        clips: of a batch.
        frames: of a clip.

    Returns:
        What is to be recorded: the way that was measured to be the fastest; None if there was nothing to choose.
    """
    if model.cfg.get("decoder_backend") is not DecoderBackend.auto:
        return None
    decoder, students = model.objective.decoder, model.cfg.clone_batch
    if recorded is None:
        seconds = gather(_measured(model, clips * students, frames) if rank_and_size()[0] == 0 else None)[0]
        recorded = min(seconds, key=seconds.__getitem__)
        shown = ", ".join(f"{name} {1e3 * took:.3g} ms" for name, took in seconds.items())
        logger.info(f"decoder: {recorded}, by a layer forward and backward: {shown} (model.decoder_backend=auto)")
    else:
        logger.info(f"decoder: {recorded}, as when this run began (model.decoder_backend=auto)")
    decoder.use(recorded)
    return recorded


def _measured(model: Any, rows: int, frames: int) -> dict:
    weight = model.objective.encoder.patch_embed.proj.weight
    config = model.objective.encoder.config
    if weight.device.type == "cpu":  # which is as fast with the students of one clip, and slow
        rows = model.cfg.clone_batch
    with model.autocast(weight):
        return model.objective.decoder.measure(rows, patch_grid(frames, config.num_mel_bins, config.patches))
