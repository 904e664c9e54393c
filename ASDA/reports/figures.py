"""The figures of the demo's report, each written as a png file."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")  # no display needed

from matplotlib import pyplot as plt

PRETRAINED_COLOUR = "#1f6f8b"
OTHER_COLOUR = "#c9a227"
FRAME_SHIFT_S = 0.01
SHORT_CURVE = 30
"""Below so many points they are marked."""

plt.rcParams.update(
    {"figure.dpi": 110, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.alpha": 0.25}
)


def save(figure: plt.Figure, file: Path) -> None:
    """Writes a figure without unused margins and lets go of its memory."""
    figure.savefig(file, bbox_inches="tight")
    plt.close(figure)


def draw_curve(axis: plt.Axes, points: dict[int, float], **style: object) -> None:
    """A curve through update -> value; the points of a short one, or of a single one, are seen as such."""
    if len(points) < SHORT_CURVE:
        style = {"marker": "o", "markersize": 3, **style}
    axis.plot(list(points), list(points.values()), **style)


def draw_panels(panels: dict[str, dict[str, dict[int, float]]], file: Path) -> None:
    """Curves, side by side: title -> label -> update -> value; a panel of one curve needs no legend."""
    figure, axes = plt.subplots(1, len(panels), figsize=(4.2 * len(panels), 2.8), squeeze=False)
    for axis, (title, curves) in zip(axes[0], panels.items(), strict=True):
        for (label, curve), colour in zip(curves.items(), (PRETRAINED_COLOUR, OTHER_COLOUR), strict=False):
            draw_curve(axis, curve, color=colour, label=label)
        axis.set(title=title, xlabel="update", ylim=(0, None))
        if len(curves) > 1:
            axis.legend(frameon=False)
    save(figure, file)


def draw_class_bars(names: list[str], pretrained: list[float], random: list[float], file: Path) -> None:
    """Average precision of each class, best class of the pre-trained model on top; NaN leaves a gap."""
    order = np.argsort(np.nan_to_num(pretrained, nan=-1.0))
    places = np.arange(len(names))
    figure, axis = plt.subplots(figsize=(7, 0.8 + 0.36 * len(names)))
    axis.barh(places + 0.2, np.array(pretrained)[order], 0.4, color=PRETRAINED_COLOUR, label="pre-trained")
    axis.barh(places - 0.2, np.array(random)[order], 0.4, color=OTHER_COLOUR, label="random weights")
    axis.set_yticks(places, [names[index] for index in order])
    axis.set(xlim=(0, 1), ylim=(-0.6, len(names) - 0.4), xlabel="average precision on held-out clips")
    axis.grid(False, axis="y")
    axis.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    save(figure, file)


def draw_spectrogram(frames: np.ndarray, file: Path) -> None:
    """A log-mel spectrogram (T, F), time to the right and pitch upwards."""
    figure, axis = plt.subplots(figsize=(3.6, 2.0))
    extent = (0, len(frames) * FRAME_SHIFT_S, 0, frames.shape[1])
    axis.imshow(frames.T, origin="lower", aspect="auto", cmap="magma", extent=extent, interpolation="nearest")
    axis.set(xlabel="seconds", ylabel="mel bin")
    axis.grid(False)
    save(figure, file)


def draw_similarity(features: np.ndarray, file: Path) -> None:
    """How alike the moments of a clip are to the encoder: cosine similarity of features (P, D), as (P, P)."""
    centred = features - features.mean(axis=0)
    unit = centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12)
    figure, axis = plt.subplots(figsize=(3.6, 3.0))
    image = axis.imshow(unit @ unit.T, origin="lower", cmap="RdBu_r", vmin=-1, vmax=1, interpolation="nearest")
    figure.colorbar(image, ax=axis, label="cosine similarity")
    axis.set(xlabel="patch row", ylabel="patch row")
    axis.grid(False)
    save(figure, file)
