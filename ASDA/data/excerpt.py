"""How much of a clip a number of frames needs."""

from ..audio.fbank import FRAME_LENGTH_MS, FRAME_SHIFT_MS

MARGIN_S = 0.010
"""Decoded beyond the window, so that the resampler's edge falls behind the last frame that is kept."""


def window_s(target_length_frames: int) -> float:
    """Seconds that the frames cover."""
    return ((target_length_frames - 1) * FRAME_SHIFT_MS + FRAME_LENGTH_MS) / 1000


def excerpt_s(target_length_frames: int) -> float:
    """Seconds to decode for the frames to be those of the whole clip."""
    return window_s(target_length_frames) + MARGIN_S
