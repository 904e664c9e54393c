"""What the demo's page shows its scores with: numbers for people, and the headline."""

from __future__ import annotations

import html
import math

from ASDA.demo.results import Score


def percent(value: float) -> str:
    """A share for people; a dash where there is none."""
    return "–" if math.isnan(value) else f"{100 * value:.1f} %"


def interval(score: Score) -> str:
    """The interval of a score for people; nothing where there is none."""
    return "" if math.isnan(score.low) else f"{100 * score.low:.1f} to {100 * score.high:.1f} %"


def headline(columns: list[str], rows: dict[str, list[Score]]) -> str:
    """The table of the results: a row's name -> its score in each column, large, with the interval under it."""

    def cell(score: Score) -> str:
        return f"<td><strong>{percent(score.value)}</strong><small>{interval(score)}</small></td>"

    head = "".join(f"<th>{html.escape(column)}</th>" for column in columns)
    lines = [
        f"<tr><th>{html.escape(name)}</th>{''.join(cell(score) for score in scores)}</tr>"
        for name, scores in rows.items()
    ]
    return f"<table class=headline><tr><th></th>{head}</tr>{''.join(lines)}</table>"
