"""asda-runs: what differs between runs and what came out of each, as a table, from the run.yaml and log of each folder.

The table has a row for each run or, where that is narrower, a column for each.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from ..atomic import atomic_writer
from ..reports.comparison import RunSummary, differing, names_of, table
from ..reports.run_logs import LogError
from . import _console as console
from ._json import to_json
from ._outputs import holds, refuse_foreign
from ._parser import Parser


def main(argv: list[str] | None = None) -> int:
    """Runs the program; returns its exit code: 2 if some of the folders hold no run."""
    parser = Parser(prog="asda-runs", description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path, metavar="RUN", help="folder of a run: its SAVE_DIR")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all that is known to this file")
    args = parser.parse_args(argv)
    return console.run("asda-runs", lambda: compare(args.folders, args.json))


def compare(folders: list[Path], json_file: Path | None) -> int:
    """Reads the runs and prints their table."""
    if json_file is not None:
        refuse_foreign(json_file, "a table of asda-runs", holds('"asda_runs"'))
    runs, without = [], 0
    for folder in folders:
        try:
            runs.append(RunSummary.read(folder))
        except LogError as error:
            console.note(str(error))
            without += 1
    if not runs:
        raise LogError(f"none of the {len(folders)} folders holds a run")
    rows = table(runs)
    is_narrow = len(rows[0]) <= len(rows)
    print("\n".join(console.aligned(rows if is_narrow else list(zip(*rows, strict=True)))))
    if json_file is not None:
        names = names_of([run.folder for run in runs])
        content = {"asda_runs": [{"name": name, **_plain(run)} for name, run in zip(names, runs, strict=True)]}
        with atomic_writer(json_file) as handle:
            handle.write(to_json({**content, "differing": differing(runs)}, indent=2) + "\n")
    return console.EXIT_BAD_CLIPS if without else console.EXIT_OK


def _plain(run: RunSummary) -> dict:
    return {**dataclasses.asdict(run), "folder": str(run.folder)}
