"""Reading a run's log: its lines of numbers as series over updates.

fairseq writes such lines in one of two forms, by common.log_format. json, the recipes' choice:

    [2026-11-21 03:00:01,000][train_inner][INFO] - {"epoch": 1, "loss": "4.5", "num_updates": "10"}
    [2026-11-21 03:00:04,000][eval][INFO] - {"epoch": 1, "eval_mAP": "0.25", "eval_num_updates": "35"}

and simple, with commas within an epoch and bars at its end (with tqdm only the latter):

    [2026-11-21 03:00:01,000][train_inner][INFO] - epoch 001:     10 / 35 loss=4.5, num_updates=10
    [2026-11-21 03:00:04,000][eval][INFO] - epoch 001 | valid on 'eval' subset | mAP 0.25 | num_updates 35
"""

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

_LINE = re.compile(r"\[(?P<kind>[^\]\[]+)\]\[INFO\] - (?P<values>(?:\{.*\}|epoch \d+(?: \||:).*))\s*$")
_BATCH_OF_EPOCH = re.compile(r"epoch \d+(?: \| [^|]*)?:\s+\d+ / \d+ ")

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
        values = {name.removeprefix(f"{kind}_"): value for name, value in _values(match["values"]).items()}
        try:
            update = int(float(values["num_updates"]))
        except (KeyError, ValueError):
            continue
        _forget_after(found[kind], update)
        for name, value in values.items():
            try:
                found[kind][name][update] = float(value)
            except (TypeError, ValueError):  # not a number, nothing to draw
                continue
    return {kind: dict(series) for kind, series in found.items()}


def _values(text: str) -> dict[str, str]:
    """Name -> value of a line in any of the forms; nothing where it is in none."""
    if text.startswith("{"):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):  # cut off, or several processes wrote at once
            return {}
    begin = _BATCH_OF_EPOCH.match(text)
    if begin:
        pairs = (part.partition("=") for part in text[begin.end() :].split(", "))
    else:
        pairs = (part.strip().partition(" ") for part in text.split("|")[1:])
    return {name: value for name, _, value in pairs}


def _forget_after(series: Series, update: int) -> None:
    for points in series.values():
        for later in [u for u in points if u > update]:
            del points[later]


def read_run(run_dir: Path) -> dict[str, Series]:
    """The series of a run.

    Raises:
        LogError: there is no log in ``run_dir``, or no line of numbers in it.
    """
    file = find_log(run_dir)
    with open(file, encoding="utf-8", errors="replace") as lines:
        series = read_series(lines)
    if not series:
        raise LogError(
            f"{file} holds no line of numbers; a run writes the first after common.log_interval updates with "
            "common.log_format=json or simple, after an epoch with tqdm, and none with common.log_format=none"
        )
    return series
