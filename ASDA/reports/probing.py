"""What probes found: as text for people, as csv for programs."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from typing import Any, TextIO

MADE_BY = "asda-probe"
"""Stands in pictures, so that another one is never replaced."""

_NAMED = ("checkpoint", "weights", "layer", "score", "folds", "seeds")
_OF_METRIC = ("low", "high", "deviation", "deviation_over", "chance")
COLUMNS = (*_NAMED, "metric", "value", *_OF_METRIC)

Row = dict[str, Any]
"""Of a checkpoint, kind of weights and layer; of a metric NAME it has `NAME`, `NAME_chance`, and `NAME_low` and
`NAME_high`, or `NAME_deviation` and `NAME_deviation_over`, or neither."""


def spread(row: Row, metric: str) -> tuple[float, float]:
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
                line = {name: row.get(name) for name in _NAMED} | {"metric": metric, "value": row[metric]}
                writer.writerow(line | {name: row.get(f"{metric}_{name}") for name in _OF_METRIC})


def percent(row: Row, metric: str) -> str:
    """A metric for people, with its interval or deviation and chance."""
    around = ""
    if f"{metric}_low" in row:
        around = f" ({100 * row[f'{metric}_low']:.1f} to {100 * row[f'{metric}_high']:.1f})"
    elif f"{metric}_deviation" in row:
        around = f" ± {100 * row[f'{metric}_deviation']:.1f} over {row[f'{metric}_deviation_over']}"
    return f"{metric} {100 * row[metric]:.1f} %{around}, chance {100 * row[f'{metric}_chance']:.1f}"
