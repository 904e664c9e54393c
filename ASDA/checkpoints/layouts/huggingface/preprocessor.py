"""`preprocessor_config.json`: the front end as a feature extractor of transformers.

ASTFeatureExtractor computes what most models here hear. It knows Kaldi's filterbank with Hann's window, fills every
clip up to one length, and without torchaudio has frames of 400 samples whatever the rate. What is otherwise needs code
of its own, which then goes into the directory.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from ....audio.front_end import FrontEnd
from ...checkpoint import Checkpoint
from .. import directory

logger = logging.getLogger(__name__)

FILE = "preprocessor_config.json"
CODE = "feature_extraction_asda.py"
_CLASS = "AsdaFeatureExtractor"
_AST_RATE_HZ = 16_000


def needs_code(checkpoint: Checkpoint) -> bool:
    """Whether the front end is one that ASTFeatureExtractor does not compute."""
    front_end = checkpoint.front_end
    is_ast = (front_end.window, front_end.padding, front_end.sample_rate_hz) == ("hanning", "constant", _AST_RATE_HZ)
    return front_end.target_length_frames is not None and not is_ast


def write(folder: Path, checkpoint: Checkpoint) -> None:
    """Writes the file, or says why there is none."""
    front_end = checkpoint.front_end
    if front_end.target_length_frames is None:
        logger.warning(
            f"{checkpoint.path}: no {FILE}: its front end has no length that clips are cut to; record one with "
            "--target_length FRAMES"
        )
        return
    settings = _own_settings(checkpoint) if needs_code(checkpoint) else _ast_settings(front_end)
    directory.write_json(folder / FILE, settings)


def _shared_settings(front_end: FrontEnd) -> dict[str, Any]:
    return {
        "feature_size": 1,
        "sampling_rate": front_end.sample_rate_hz,
        "num_mel_bins": front_end.num_mel_bins,
        "max_length": front_end.target_length_frames,
        "mean": front_end.norm_mean,
        "std": front_end.norm_std,
        "padding_side": "right",
        "padding_value": 0.0,
    }


def _ast_settings(front_end: FrontEnd) -> dict[str, Any]:
    own = {"feature_extractor_type": "ASTFeatureExtractor", "do_normalize": True, "return_attention_mask": False}
    return own | _shared_settings(front_end)


def _own_settings(checkpoint: Checkpoint) -> dict[str, Any]:
    front_end, patches = checkpoint.front_end, checkpoint.encoder_config.patches
    return {
        "feature_extractor_type": _CLASS,
        "auto_map": {"AutoFeatureExtractor": f"{Path(CODE).stem}.{_CLASS}"},
        "frame_window": front_end.window,
        "remove_mean": front_end.remove_mean,
        "short_clips": front_end.padding,
        "patch_frames": patches.size[0],
        "patch_stride_frames": patches.stride[0],
    } | _shared_settings(front_end)
