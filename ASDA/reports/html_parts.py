"""The pieces of a report's page: style, tables, panels of pictures; nothing is wider than a telephone."""

from __future__ import annotations

import html

STYLE = """
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; color: #222; background: #fafafa; max-width: 62rem; margin: 1.5rem auto;
  padding: 0 1rem; overflow-wrap: anywhere; }
h1, h2 { font-weight: 600; line-height: 1.2; } h2 { margin-top: 2.5rem; }
img { max-width: 100%; height: auto; vertical-align: top; }
.scroll { overflow-x: auto; max-width: 100%; } .scroll img { max-width: none; }
table { border-collapse: collapse; } th, td { padding: .25rem 1rem .25rem 0; text-align: left; vertical-align: top; }
.scroll table { overflow-wrap: normal; }
th { font-weight: 600; border-bottom: 1px solid #ccc; } td.number, th.number { text-align: right; white-space: nowrap; }
.headline { background: #fff; border: 1px solid #ddd; border-radius: .5rem; width: 100%; max-width: 34rem; }
.headline th, .headline td { padding: .5rem .75rem; border: 0; }
.headline strong { display: block; font-size: 1.5rem; line-height: 1.3; color: #1f6f8b; white-space: nowrap; }
.headline small { color: #666; }
.panels, .clips { display: grid; gap: 1rem; }
.panels { grid-template-columns: repeat(auto-fit, minmax(min(100%, 19rem), 1fr)); }
.panels figure { margin: 0; } figcaption { font-weight: 600; }
.panels img { max-width: min(100%, 30rem); }
.clips { grid-template-columns: repeat(auto-fill, minmax(min(100%, 18rem), 1fr)); }
.clips article { background: #fff; border: 1px solid #ddd; border-radius: .5rem; padding: .75rem; }
.clips audio { width: 100%; height: 2rem; } .clips p { margin: .3rem 0; }
meter { width: 5rem; vertical-align: middle; } .right { color: #1f6f8b; font-weight: 600; }
footer, .aside { color: #666; font-size: .9rem; }
pre { background: #fff; border: 1px solid #ddd; padding: .75rem; overflow-x: auto; overflow-wrap: normal; }
"""


def table(heading: list[str], rows: list[list[str]]) -> str:
    """An html table that scrolls in its own box; the first column is text, the others are numbers."""

    def line(cells: list[str], tag: str) -> str:
        first = f"<{tag}>{html.escape(cells[0])}</{tag}>"
        return f"<tr>{first}{''.join(f'<{tag} class=number>{html.escape(c)}</{tag}>' for c in cells[1:])}</tr>"

    lines = line(heading, "th") + "".join(line(row, "td") for row in rows)
    return f"<div class=scroll><table>{lines}</table></div>"


def panels(captions: dict[str, str]) -> str:
    """Figures beside each other, or below where there is no room: caption -> file."""
    figures = [
        f'<figure><figcaption>{caption}</figcaption><img src="{file}" alt="{caption}"></figure>'
        for caption, file in captions.items()
    ]
    return f"<div class=panels>{''.join(figures)}</div>"
