"""Pictures of what probes found: a metric by layer, the weights that a probe gives to layers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..atomic import atomic_path
from .figures import CHANCE_COLOUR, OTHER_COLOUR, PRETRAINED_COLOUR, WIDTH, plt
from .probing import MADE_BY, Row, spread

_COLOURS = {"pre-trained": PRETRAINED_COLOUR, "random": OTHER_COLOUR}
_STYLES = ("-", "--", ":", "-.")


def draw_layers(rows: Sequence[Row], metric: str, title: str, file: Path) -> None:
    """A metric by layer: a curve for each checkpoint and kind of weights (and score), with interval or deviation."""
    figure, axis = plt.subplots(figsize=(WIDTH + 1, 3.0))
    curves: dict[tuple, list[Row]] = {}
    for row in sorted(rows, key=lambda row: row["layer"]):
        curves.setdefault((row["checkpoint"], row["weights"], row.get("score")), []).append(row)
    checkpoints = list(dict.fromkeys(row["checkpoint"] for row in rows))
    scores = list(dict.fromkeys(row.get("score") for row in rows))
    for (checkpoint, weights, score), points in curves.items():
        label = _label(points[0], checkpoints) + (f", {score}" if score else "")
        style = _STYLES[(checkpoints.index(checkpoint) * len(scores) + scores.index(score)) % len(_STYLES)]
        layers, values = [row["layer"] for row in points], [row[metric] for row in points]
        below, above = zip(*(spread(row, metric) for row in points), strict=True)
        axis.errorbar(
            layers, values, (below, above), color=_COLOURS[weights], linestyle=style, marker="o", markersize=3.5,
            linewidth=1.3, elinewidth=0.9, label=label,
        )  # fmt: skip
    axis.axhline(rows[0][f"{metric}_chance"], color=CHANCE_COLOUR, linestyle="--", linewidth=1, label="chance")
    axis.set_xticks(sorted({row["layer"] for row in rows}))
    axis.set(xlabel="layer", ylabel=metric, ylim=(0, 1.02))
    _save(figure, axis, title, file)


def draw_layer_weights(rows: Sequence[Row], title: str, file: Path) -> None:
    """How much a gated probe takes of each layer, for each checkpoint and kind of weights."""
    figure, axis = plt.subplots(figsize=(WIDTH + 1, 3.0))
    width = 0.8 / len(rows)
    checkpoints = list(dict.fromkeys(row["checkpoint"] for row in rows))
    for number, row in enumerate(rows):
        places = [place + (number - (len(rows) - 1) / 2) * width for place in range(len(row["layers"]))]
        label = _label(row, checkpoints)
        axis.bar(places, row["layer_weights"], width, color=_COLOURS[row["weights"]], edgecolor="white", label=label)
    longest = max((row["layers"] for row in rows), key=len)
    axis.axhline(1 / len(longest), color=CHANCE_COLOUR, linestyle="--", linewidth=1, label="all alike")
    axis.set_xticks(range(len(longest)), [str(layer) for layer in longest])
    axis.set(xlabel="layer", ylabel="weight")
    _save(figure, axis, title, file)


def _label(row: Row, checkpoints: Sequence[str]) -> str:
    """The kind of weights and, of several checkpoints, which."""
    return row["weights"] + (f", {checkpoints.index(row['checkpoint']) + 1}" if len(checkpoints) > 1 else "")


def _save(figure: Any, axis: Any, title: str, file: Path) -> None:
    axis.set_title(title, fontsize="medium")
    axis.legend(frameon=False, fontsize="small", loc="upper left", bbox_to_anchor=(1, 1))
    with atomic_path(file) as temporary:
        figure.savefig(temporary, format="png", bbox_inches="tight", metadata={"Software": MADE_BY})
    plt.close(figure)
