"""When was what heard? The time line of a clip under its spectrogram."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .figures import PRETRAINED_COLOUR, plt, short, show_spectrogram

Stretch = tuple[str, float, float, float]
"""Class, start and end in seconds, score."""


def draw_timeline(
    stretches: Sequence[Stretch], duration_s: float, spectrogram: np.ndarray | None, frequencies_hz: np.ndarray
) -> plt.Figure:
    """A row for each class, a bar where it was heard, the stronger the higher its score.

    Args:
        stretches: what was heard.
        duration_s: of the clip.
        spectrogram: (T, F), above the rows; None for none.
        frequencies_hz: of its mel bins, (F,).
    """
    classes = list(dict.fromkeys(name for name, *_ in stretches))
    heights = [1.6, max(0.5, 0.32 * len(classes))][spectrogram is None :]
    figure, axes = plt.subplots(
        len(heights),
        1,
        figsize=(7, sum(heights) + 0.7),
        height_ratios=heights,
        sharex=True,
        squeeze=False,
        layout="constrained",
    )
    if spectrogram is not None:
        show_spectrogram(axes[0, 0], spectrogram, frequencies_hz)
        axes[0, 0].set_xlabel("")
    rows = axes[-1, 0]
    for name, start_s, end_s, score in stretches:
        place = len(classes) - 1 - classes.index(name)
        rows.barh(place, end_s - start_s, left=start_s, height=0.7, color=PRETRAINED_COLOUR, alpha=0.25 + 0.75 * score)
    rows.set_yticks(range(len(classes)), [short(name) for name in reversed(classes)])
    rows.set(xlim=(0, duration_s), ylim=(-0.6, max(0.6, len(classes) - 0.4)), xlabel="time (s)")
    rows.grid(False, axis="y")
    if not classes:
        rows.text(0.5, 0.5, "nothing reaches the threshold", ha="center", va="center", transform=rows.transAxes)
    return figure
