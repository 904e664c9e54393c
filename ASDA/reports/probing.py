"""What probes found: by layer as a picture, as a table for people and as csv."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

from ..atomic import atomic_path
from .figures import CHANCE_COLOUR, OTHER_COLOUR, PRETRAINED_COLOUR, WIDTH, plt

MADE_BY = "asda-probe"
"""Stands in the png, so that another picture is never replaced."""

COLUMNS = (
    "checkpoint",
    "weights",
    "layer",
    "score",
    "metric",
    "value",
    "low",
    "high",
    "deviation",
    "deviation_over",
) + ("chance", "folds", "seeds")

_STYLES = ("-", "--", ":", "-.")

Row = dict[str, Any]


def draw_layers(rows: Sequence[Row], metric: str, title: str, file: Path) -> None:
    """A metric by layer: a curve for each checkpoint and kind of weights (and score), with interval or deviation."""
    figure, axis = plt.subplots(figsize=(WIDTH + 1, 3.0))
    curves: dict[tuple, list[Row]] = {}
    for row in rows:
        curves.setdefault((row["checkpoint"], row["weights"], row.get("score")), []).append(row)
    checkpoints = list(dict.fromkeys(row["checkpoint"] for row in rows))
    scores = list(dict.fromkeys(row.get("score") for row in rows))
    for (checkpoint, weights, score), points in curves.items():
        colour = PRETRAINED_COLOUR if weights == "pre-trained" else OTHER_COLOUR
        named = {"weights": weights, "score": score or "", "checkpoint": ""}
        if len(checkpoints) > 1:
            named["checkpoint"] = f"checkpoint {checkpoints.index(checkpoint) + 1}"
        style = _STYLES[(checkpoints.index(checkpoint) * len(scores) + scores.index(score)) % len(_STYLES)]
        layers, values = [str(row["layer"]) for row in points], [row[metric] for row in points]
        below, above = zip(*(_spread(row, metric) for row in points), strict=True)
        axis.errorbar(
            layers, values, (below, above), color=colour, linestyle=style, marker="o", markersize=3.5, linewidth=1.3,
            elinewidth=0.9, label=", ".join(filter(None, named.values())),
        )  # fmt: skip
    axis.axhline(rows[0][f"{metric}_chance"], color=CHANCE_COLOUR, linestyle="--", linewidth=1, label="chance")
    axis.set(xlabel="layer", ylabel=metric, ylim=(0, 1.02), title=title)
    axis.title.set_fontsize("medium")
    axis.legend(frameon=False, fontsize="small", loc="upper left", bbox_to_anchor=(1, 1))
    _save(figure, file)


def draw_layer_weights(rows: Sequence[Row], layers: Sequence[int], title: str, file: Path) -> None:
    """How much a gated probe takes of each layer, for each checkpoint and kind of weights."""
    figure, axis = plt.subplots(figsize=(WIDTH + 1, 3.0))
    width = 0.8 / len(rows)
    checkpoints = list(dict.fromkeys(row["checkpoint"] for row in rows))
    for number, row in enumerate(rows):
        places = [place + (number - (len(rows) - 1) / 2) * width for place in range(len(layers))]
        colour = PRETRAINED_COLOUR if row["weights"] == "pre-trained" else OTHER_COLOUR
        which = f", checkpoint {checkpoints.index(row['checkpoint']) + 1}" if len(checkpoints) > 1 else ""
        axis.bar(places, row["layer_weights"], width, color=colour, label=row["weights"] + which)
    axis.axhline(1 / len(layers), color=CHANCE_COLOUR, linestyle="--", linewidth=1, label="all alike")
    axis.set_xticks(range(len(layers)), [str(layer) for layer in layers])
    axis.set(xlabel="layer", ylabel="weight", title=title)
    axis.title.set_fontsize("medium")
    axis.legend(frameon=False, fontsize="small", loc="upper left", bbox_to_anchor=(1, 1))
    _save(figure, file)


def _save(figure: Any, file: Path) -> None:
    with atomic_path(file) as temporary:
        figure.savefig(temporary, format="png", bbox_inches="tight", metadata={"Software": MADE_BY})
    plt.close(figure)


def _spread(row: Row, metric: str) -> tuple[float, float]:
    """Below and above the value: its interval, else one deviation to each side, else nothing."""
    if f"{metric}_low" in row:
        return max(0.0, row[metric] - row[f"{metric}_low"]), max(0.0, row[f"{metric}_high"] - row[metric])
    deviation = row.get(f"{metric}_deviation", 0.0)
    return deviation, deviation


def write_table(rows: Sequence[Row], metrics: Sequence[str], handle: TextIO) -> None:
    """csv with a line for each row and metric."""
    writer = csv.DictWriter(handle, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        for metric in metrics:
            if metric in row:
                line = {column: row.get(column) for column in COLUMNS} | {"metric": metric, "value": row[metric]}
                named = ("low", "high", "deviation", "deviation_over", "chance")
                writer.writerow(line | {name: row.get(f"{metric}_{name}") for name in named})


def percent(row: Row, metric: str) -> str:
    """A metric for people, with its interval or deviation and chance."""
    spread = ""
    if f"{metric}_low" in row:
        spread = f" ({100 * row[f'{metric}_low']:.1f} to {100 * row[f'{metric}_high']:.1f})"
    elif f"{metric}_deviation" in row:
        spread = f" ± {100 * row[f'{metric}_deviation']:.1f} over {row[f'{metric}_deviation_over']}"
    return f"{metric} {100 * row[metric]:.1f} %{spread}, chance {100 * row[f'{metric}_chance']:.1f}"
