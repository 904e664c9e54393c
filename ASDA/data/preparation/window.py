"""What a window of a certain length does to clips: what is padding, what is cut, and how to say so."""

from __future__ import annotations

from dataclasses import dataclass

from ..excerpt import window_s

MASK_PADDING_SHARE = 0.2
"""From this share of padding on, a fifth of the arithmetic, a padding mask is suggested."""
LONG_WINDOW_FRAMES = 1024
"""What published encoders hear; attention over longer windows grows with the square of their length."""


@dataclass(frozen=True)
class WindowFit:
    """How the clips of a data set fit a window.

    Attributes:
        target_length_frames: frames of the window, of 10 ms each.
        num_clips: how many clips this is about.
        share_padding: share of all frames of all windows that are padding.
        share_cut: share of the clips that are longer than the window.
        lost_s: seconds of sound beyond the window, of all clips together.
        share_lost: the same as a share of all sound.
    """

    target_length_frames: int
    num_clips: int
    share_padding: float
    share_cut: float
    lost_s: float
    share_lost: float

    @property
    def mask_is_worth_it(self) -> bool:
        """Whether so much is padding that a run should mask it instead of computing with it."""
        return self.share_padding >= MASK_PADDING_SHARE

    @property
    def overrides(self) -> str:
        """The settings of a run, to paste into its command."""
        mask = " task.padding=mask" if self.mask_is_worth_it else ""
        return f"task.target_length={self.target_length_frames}{mask}"

    def describe(self) -> str:
        """What follows from the window, in one line."""
        cut = "no clip would be cut"
        if self.share_cut:
            cut = (
                f"{_percent(self.share_cut)} of the clips would be cut and lose {self.lost_s:,.1f} s of sound "
                f"({_percent(self.share_lost)})"
            )
        parts = [
            f"{window_s(self.target_length_frames):.2f} s",
            f"{_percent(self.share_padding)} of the frames would be padding",
            cut,
        ]
        if self.mask_is_worth_it:
            parts.append("task.padding=mask keeps that out of attention")
        if self.target_length_frames > LONG_WINDOW_FRAMES:
            parts.append(
                f"the cost of an update grows with the square of the length: task.target_length={LONG_WINDOW_FRAMES} "
                "task.random_crop=true trains on excerpts instead"
            )
        return "; ".join(parts)

    def suggestion(self) -> str:
        """One line that can be pasted into a shell: the settings, and what follows from them as a comment."""
        return f"{self.overrides}  # {self.describe()}"


def _percent(share: float) -> str:
    if 0 < share < 0.0005:
        return "under 0.1 %"
    return f"{100 * share:.1f} %" if share else "0 %"
