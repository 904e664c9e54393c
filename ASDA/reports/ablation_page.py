"""Writes the results of an ablation: table.md, table.csv, table.json, a picture, and index.html that shows it all."""

from __future__ import annotations

import html
import json
from importlib.util import find_spec
from pathlib import Path

from ..atomic import atomic_path, atomic_writer
from .ablation import Ablation
from .html_parts import STYLE, panels, table

PICTURE = "differences.png"


def write_results(ablation: Ablation, folder: Path) -> list[Path]:
    """Writes all of them; returns the files. Without matplotlib, or anything to compare, there is no picture."""
    written = []
    texts = {
        "table.md": markdown(ablation),
        "table.csv": ablation.csv(),
        "table.json": json.dumps(ablation.content(), indent=2) + "\n",
    }
    compared = _panels(ablation)
    if compared and find_spec("matplotlib"):
        from .figures import draw_differences  # needs matplotlib

        with atomic_path(folder / PICTURE) as temporary:
            draw_differences(compared, ablation.reference, temporary)
        written.append(folder / PICTURE)
    texts["index.html"] = _page(ablation, bool(written))
    for name, text in texts.items():
        with atomic_writer(folder / name) as handle:
            handle.write(text)
        written.append(folder / name)
    return written


def markdown(ablation: Ablation) -> str:
    """The table with how it was made, and what failed."""
    rows = ablation.table()
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [f"| {' | '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))} |" for row in rows]
    lines.insert(1, f"|{'|'.join('-' * (width + 2) for width in widths)}|")
    told = [*(f"* {line}" for line in [*ablation.failures(), *ablation.unfinished()])]
    parts = [f"# {ablation.name}", *ablation.about, "\n".join(lines), *(["\n".join(told)] if told else [])]
    return "\n\n".join([*parts, ablation.legend()]) + "\n"


def _panels(ablation: Ablation) -> dict[str, list[tuple[str, list[float], tuple[float, float] | None]]]:
    """Title of a panel -> rows of a setting, its gains in points, their interval; of scores that can be compared."""
    found: dict[str, list[tuple[str, list[float], tuple[float, float] | None]]] = {}
    for score in ablation.scores:
        rows = []
        for setting in ablation.settings:
            comparison = setting.scores.get(score)
            if comparison and comparison.gains:
                interval = comparison.gain_interval
                shown = None if interval is None else (100 * interval[0], 100 * interval[1])
                rows.append((setting.name, [100 * gain for gain in comparison.gains.values()], shown))
        if rows:
            found[score] = rows
    return found


def _page(ablation: Ablation, picture: bool) -> str:
    heading, *rows = ablation.table()
    name = html.escape(ablation.name)
    told = "".join(f"<li>{html.escape(line)}</li>" for line in [*ablation.failures(), *ablation.unfinished()])
    about = "".join(f"<p class=aside>{html.escape(line)}</p>" for line in ablation.about)
    legend = html.escape(ablation.legend().replace("`", ""))
    return (
        "<!doctype html>\n<html lang=en><meta charset=utf-8>"
        "<meta name=viewport content='width=device-width, initial-scale=1'><meta name=generator content=asda-ablate>\n"
        f"<title>{name}: ablation</title>\n<style>{STYLE}</style>\n<h1>{name}</h1>\n"
        f"{table(heading, rows)}\n<p>{legend}</p>\n"
        + (panels({f"Difference to {html.escape(ablation.reference)}": PICTURE}) if picture else "")
        + (f"<h2>Not in the table</h2><ul>{told}</ul>\n" if told else "")
        + f"<h2>How it was made</h2>{about}"
        '<p><a href="table.csv">table.csv</a> <a href="table.json">table.json</a></p>\n</html>\n'
    )
