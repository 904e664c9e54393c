"""The figures of the demo's report, each written as a png file that is still read on the width of a telephone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

matplotlib.use("Agg")  # no display needed

from matplotlib import pyplot as plt

PRETRAINED_COLOUR = "#1f6f8b"
OTHER_COLOUR = "#c9a227"
CHANCE_COLOUR = "#888888"
FRAME_SHIFT_S = 0.01
SHORT_CURVE = 30
"""Below so many points they are marked."""
WIDTH = 4.4
"""Of a figure in inches; a page that shrinks it to 360 pixels leaves its letters readable."""
MAX_NAMED_CLASSES = 40
MAX_NAME = 20
"""Letters of a class name in a figure."""

plt.rcParams.update(
    {"figure.dpi": 140, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.alpha": 0.25}
)
plt.rcParams["text.parse_math"] = False  # names of classes, clips and runs are no formulas, whatever dollars they hold


def save(figure: plt.Figure, file: Path) -> None:
    """Writes a figure without unused margins and lets go of its memory."""
    figure.savefig(file, bbox_inches="tight", format="png")
    plt.close(figure)


def short(name: str) -> str:
    """A class name that leaves room for what it names."""
    return name if len(name) <= MAX_NAME else name[: MAX_NAME - 1] + "…"


def draw_curve(axis: plt.Axes, points: dict[int, float], **style: Any) -> None:
    """A curve through update -> value; the points of a short one, or of a single one, are seen as such."""
    if len(points) < SHORT_CURVE:
        style = {"marker": "o", "markersize": 4, **style}
    if str(style.get("label", "")).startswith("_"):  # legends leave such names out
        style["label"] = f"\N{ZERO WIDTH SPACE}{style['label']}"
    axis.plot(list(points), list(points.values()), **style)


def draw_curves(curves: dict[str, dict[int, float]], file: Path, chance: float | None = None) -> None:
    """Curves over updates in one panel: label -> update -> value; one curve alone needs no legend."""
    figure, axis = plt.subplots(figsize=(WIDTH, 2.6))
    for (label, curve), colour in zip(curves.items(), (PRETRAINED_COLOUR, OTHER_COLOUR), strict=False):
        draw_curve(axis, curve, color=colour, label=label)
    if chance is not None:
        axis.axhline(chance, color=CHANCE_COLOUR, linestyle="--", linewidth=1, label="chance")
    axis.set(xlabel="update", ylim=(0, None))
    if len(axis.lines) > 1:
        axis.legend(frameon=False)
    save(figure, file)


def draw_intervals(rows: list[tuple[str, float, float, float, bool]], chance: float, xlabel: str, file: Path) -> None:
    """Values with their intervals, the first on top, against chance: rows of (name, value, low, high, pre-trained)."""
    figure, axis = plt.subplots(figsize=(WIDTH, 0.9 + 0.42 * len(rows)))
    for place, (_, value, low, high, pretrained) in enumerate(reversed(rows)):
        colour = PRETRAINED_COLOUR if pretrained else OTHER_COLOUR
        axis.plot([low, high], [place, place], color=colour, linewidth=2, solid_capstyle="butt")
        axis.plot([value], [place], "o", color=colour)
    axis.axvline(chance, color=CHANCE_COLOUR, linestyle="--", linewidth=1)
    axis.annotate("chance", (chance, len(rows) - 0.55), xytext=(4, 0), textcoords="offset points", color=CHANCE_COLOUR)
    axis.set_yticks(range(len(rows)), [row[0] for row in reversed(rows)])
    axis.set(xlim=(0, 1), ylim=(-0.6, len(rows) - 0.1), xlabel=xlabel)
    axis.grid(False, axis="y")
    save(figure, file)


def draw_class_bars(
    names: list[str], pretrained: list[float], random: list[float], xlabel: str, file: Path
) -> list[str]:
    """A metric of each class, best class of the pre-trained model on top; NaN leaves a gap.

    Returns:
        The classes that are drawn: all, or the best and the worst ``MAX_NAMED_CLASSES / 2`` of many.
    """
    order = np.argsort(np.nan_to_num(pretrained, nan=-1.0), kind="stable")
    if len(order) > MAX_NAMED_CLASSES:
        order = np.concatenate([order[: MAX_NAMED_CLASSES // 2], order[-MAX_NAMED_CLASSES // 2 :]])
    places = np.arange(len(order))
    figure, axis = plt.subplots(figsize=(WIDTH - 1, 0.9 + 0.32 * len(order)))
    axis.barh(places + 0.2, np.array(pretrained)[order], 0.4, color=PRETRAINED_COLOUR, label="pre-trained")
    axis.barh(places - 0.2, np.array(random)[order], 0.4, color=OTHER_COLOUR, label="random weights")
    axis.set_yticks(places, [short(names[index]) for index in order])
    axis.set(xlim=(0, 1), ylim=(-0.6, len(order) - 0.4), xlabel=xlabel)
    axis.grid(False, axis="y")
    axis.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 1), ncols=2, borderaxespad=0)
    save(figure, file)
    return [names[index] for index in order]


def draw_confusion(matrix: np.ndarray, names: list[str], file: Path) -> None:
    """What the clips of each class were taken for: counts (C, C); the colour is the share of the row's class.

    Names and numbers are left out where they would not be read.
    """
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    named = len(names) <= MAX_NAMED_CLASSES
    side = 1.2 + 0.34 * len(names) if named else 7.0
    figure, axis = plt.subplots(figsize=(side, side))
    axis.imshow(shares, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    if named:
        axis.set_xticks(range(len(names)), [short(name) for name in names], rotation=90)
        axis.set_yticks(range(len(names)), [short(name) for name in names])
        for row, column in np.argwhere(matrix > 0):
            colour = "white" if shares[row, column] > 0.6 else "#222222"
            axis.text(column, row, matrix[row, column], ha="center", va="center", color=colour, fontsize=8)
    axis.set(xlabel="taken for", ylabel="class")
    axis.grid(False)
    save(figure, file)


def draw_spectrogram(frames: np.ndarray, frequencies_hz: np.ndarray, file: Path) -> None:
    """A log-mel spectrogram (T, F), time to the right and pitch upwards; the frequency of each of its bins, (F,)."""
    figure, axis = plt.subplots(figsize=(WIDTH, 2.4))
    show_spectrogram(axis, frames, frequencies_hz)
    save(figure, file)


def show_spectrogram(axis: plt.Axes, frames: np.ndarray, frequencies_hz: np.ndarray) -> None:
    """Draws it into an axis, in seconds and mel bins."""
    extent = (0, len(frames) * FRAME_SHIFT_S, 0, frames.shape[1])
    axis.imshow(frames.T, origin="lower", aspect="auto", cmap="magma", extent=extent, interpolation="nearest")
    mark_time_and_frequency(axis, frequencies_hz)


def mark_time_and_frequency(axis: plt.Axes, frequencies_hz: np.ndarray) -> None:
    """Names the axes of a spectrogram that is drawn in seconds and mel bins; the frequency of each bin, (F,)."""
    octaves_hz = [hz for hz in (250 << octave for octave in range(10)) if frequencies_hz[0] <= hz <= frequencies_hz[-1]]
    places = np.interp(octaves_hz, frequencies_hz, np.arange(len(frequencies_hz)) + 0.5)
    axis.set_yticks(places, [str(hz) for hz in octaves_hz])
    axis.set(xlabel="time (s)", ylabel="frequency (Hz)")
    axis.grid(False)


def draw_similarity(features: np.ndarray, step_s: float, file: Path) -> None:
    """How alike the moments of a clip are to the encoder: cosine similarity of features (P, D), one each ``step_s``."""
    centred = features - features.mean(axis=0)
    unit = centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12)
    figure, axis = plt.subplots(figsize=(WIDTH, 3.2))
    extent = (0, len(features) * step_s) * 2
    image = axis.imshow(
        unit @ unit.T, origin="lower", cmap="RdBu_r", vmin=-1, vmax=1, interpolation="nearest", extent=extent
    )
    figure.colorbar(image, ax=axis, label="cosine similarity")
    axis.set(xlabel="time (s)", ylabel="time (s)")
    axis.grid(False)
    save(figure, file)


def draw_differences(
    panels: dict[str, list[tuple[str, list[float], tuple[float, float] | None]]], reference: str, file: Path
) -> None:
    """Differences to a reference, a panel below the other: title -> rows of (name, by seed, interval of the mean).

    A small point is a seed, a large one the mean.

    Args:
        panels: in points; of few seeds there is no interval.
        reference: what 0 stands for.
        file: of the png.
    """
    heights = [0.9 + 0.32 * max(1, len(rows)) for rows in panels.values()]
    figure, axes = plt.subplots(
        len(panels), 1, figsize=(WIDTH + 1, sum(heights)), squeeze=False, layout="constrained", height_ratios=heights
    )
    for axis, (title, rows) in zip(axes[:, 0], panels.items(), strict=True):
        for place, (_, seeds, interval) in enumerate(reversed(rows)):
            if interval is not None:
                axis.plot(interval, [place, place], color=PRETRAINED_COLOUR, linewidth=2, solid_capstyle="butt")
            axis.plot(seeds, [place] * len(seeds), ".", color=OTHER_COLOUR, markersize=5)
            axis.plot([np.mean(seeds)], [place], "o", color=PRETRAINED_COLOUR)
        axis.axvline(0, color=CHANCE_COLOUR, linestyle="--", linewidth=1)
        axis.set_yticks(range(len(rows)), [short(row[0]) for row in reversed(rows)])
        axis.set(ylim=(-0.6, max(1, len(rows)) - 0.4), xlabel=f"points against {reference}", title=title)
        axis.grid(False, axis="y")
    save(figure, file)
