"""Reading a run's log: its json lines as series over updates."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

LOG_FILES = ("train.log", "hydra_train.log")
"""Where a run's log is: written by the launch scripts, and by fairseq-hydra-train on its own."""

INTERVAL, EPOCH = "train_inner", "train"
"""Kinds of log lines: of an interval of updates, and of a whole epoch. Others are named after their split."""

_LINE = re.compile(r"\[(?P<kind>\w+)\]\[INFO\] - (?P<values>\{.*\})\s*$")

Series = dict[str, dict[int, float]]
"""Name -> update -> value."""


class LogError(ValueError):
    """There is no log, or nothing in it."""


def find_log(run_dir: Path) -> Path:
    """The log file of a run.

    Raises:
        LogError: there is none.
    """
    for name in LOG_FILES:
        if (run_dir / name).is_file():
            return run_dir / name
    raise LogError(f"{run_dir} holds no log of a run (expected {' or '.join(LOG_FILES)})")


def read_series(lines: Iterable[str]) -> dict[str, Series]:
    """Kind of line -> series. What a resumed run did again replaces what was lost; numbers are as they were logged.

    Names of evaluation and epoch lines come without their kind: `eval_mAP` in an `eval` line is `mAP`.
    """
    found: dict[str, Series] = defaultdict(lambda: defaultdict(dict))
    for line in lines:
        match = _LINE.search(line)
        if match is None:
            continue
        kind = match["kind"]
        values = {name.removeprefix(f"{kind}_"): value for name, value in json.loads(match["values"]).items()}
        if "num_updates" not in values:
            continue
        update = int(float(values["num_updates"]))
        _forget_after(found[kind], update)
        for name, value in values.items():
            try:
                found[kind][name][update] = float(value)
            except (TypeError, ValueError):  # not a number, nothing to draw
                continue
    return {kind: dict(series) for kind, series in found.items()}


def _forget_after(series: Series, update: int) -> None:
    for points in series.values():
        for later in [u for u in points if u > update]:
            del points[later]


def read_run(run_dir: Path) -> dict[str, Series]:
    """The series of a run.

    Raises:
        LogError: there is no log in ``run_dir``, or no json lines in it.
    """
    file = find_log(run_dir)
    with open(file, encoding="utf-8", errors="replace") as lines:
        series = read_series(lines)
    if not series:
        raise LogError(f"{file} holds no json lines; training writes them with common.log_format=json")
    return series
