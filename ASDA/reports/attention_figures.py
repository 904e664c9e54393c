"""Pictures of attention over a spectrogram: maps by layer, rollout, and numbers by layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from .figures import FRAME_SHIFT_S, mark_time_and_frequency, plt, save, show_spectrogram


def draw_maps(
    rows: Mapping[str, Mapping[str, np.ndarray]], spectrogram: np.ndarray, frequencies_hz: np.ndarray, file: Path
) -> None:
    """Writes what :func:`maps_figure` draws to a png file."""
    save(maps_figure(rows, spectrogram, frequencies_hz), file)


def maps_figure(
    rows: Mapping[str, Mapping[str, np.ndarray]], spectrogram: np.ndarray, frequencies_hz: np.ndarray
) -> plt.Figure:
    """A picture for each row and column, under the spectrogram of the clip.

    Args:
        rows: name of a row (a layer, a head) -> name of a column (a map) -> weights of the patches (P, Q). Each
            picture has a scale of its own; with negative weights it is symmetric about white.
        spectrogram: (T, F).
        frequencies_hz: of the mel bins, (F,).
    """
    columns = list(next(iter(rows.values())))
    size = (3.4 * len(columns) + 0.6, 1.9 * (len(rows) + 1))
    figure, axes = plt.subplots(len(rows) + 1, len(columns), figsize=size, squeeze=False, layout="constrained")
    extent = (0, len(spectrogram) * FRAME_SHIFT_S, 0, spectrogram.shape[1])
    for axis in axes[0]:
        show_spectrogram(axis, spectrogram, frequencies_hz)
        axis.set_title("what it heard", fontsize="medium")
    for (row, maps), of_row in zip(rows.items(), axes[1:], strict=True):
        for column, axis in zip(columns, of_row, strict=True):
            weights = maps[column]
            most = float(np.abs(weights).max()) or 1.0
            signed = bool((weights < 0).any())
            image = axis.imshow(
                weights.T,
                origin="lower",
                aspect="auto",
                cmap="RdBu_r" if signed else "viridis",
                vmin=-most if signed else 0,
                vmax=most,
                extent=extent,
                interpolation="nearest",
            )
            figure.colorbar(image, ax=axis, pad=0.02)
            mark_time_and_frequency(axis, frequencies_hz)
            axis.set_title(f"{row}, {column}", fontsize="medium")
    return figure


def draw_by_layer(panels: Mapping[str, Mapping[str, Sequence[Sequence[float]]]], file: Path) -> None:
    """Numbers by layer: title of a panel -> name of a curve -> for each layer the values of its heads, or of runs.

    A line is their mean, a dot one of them.
    """
    figure, axes = plt.subplots(len(panels), 1, figsize=(6, 2 * len(panels)), squeeze=False, layout="constrained")
    for axis, (title, curves) in zip(axes[:, 0], panels.items(), strict=True):
        for number, (name, layers) in enumerate(curves.items()):
            places = range(1, len(layers) + 1)
            axis.plot(places, [float(np.mean(heads)) for heads in layers], color=f"C{number}", label=name)
            for place, heads in zip(places, layers, strict=True):
                axis.plot([place] * len(heads), heads, ".", color=f"C{number}", alpha=0.4)
        axis.set(ylabel=title, ylim=(0, None))
        axis.xaxis.get_major_locator().set_params(integer=True)
        if len(curves) > 1:
            axis.legend(frameon=False, fontsize="small")
    axes[-1, 0].set_xlabel("layer")
    save(figure, file)
