"""How do runs differ, and what came out of each? From the records and logs in their save folders."""

from __future__ import annotations

import os
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..training.file_names import MADE_WITH, RECORD_SECTIONS
from ..training.run_record import RecordError, read_record
from .run_logs import EPOCH, INTERVAL, LogError, Series, read_run

MORE_IS_BETTER = {"mAP": True, "accuracy": True, "loss": False}
"""The metrics that runs are compared by."""

# Differ between any two runs, and say nothing about them.
_FOLDERS = ("checkpoint.save_dir", "common.tensorboard_logdir", "common.log_file", "common.user_dir")
_LAST_INTERVALS = 10
ABSENT = "-"
"""Where a run has no such value."""


@dataclass(frozen=True)
class Outcome:
    """A metric over a run: its best value, the update of that, and its last value."""

    best: float
    best_update: int
    last: float


@dataclass(frozen=True)
class RunSummary:
    """What is known of a run.

    Attributes:
        folder: its save folder.
        settings: key -> value of all that its record says; empty without a record.
        made_with: name -> version.
        updates: that its log tells of.
        clips_per_s: the median over the logged intervals; None if none was logged.
        outcomes: `eval mAP`, ... -> what came of it; `train loss` is a mean over the last ten intervals.
    """

    folder: Path
    settings: dict[str, Any]
    made_with: dict[str, str]
    updates: int
    clips_per_s: float | None
    outcomes: dict[str, Outcome]

    @classmethod
    def read(cls, folder: Path) -> RunSummary:
        """Reads a run's folder.

        Raises:
            LogError: it holds no log, or its record cannot be read.
        """
        series = read_run(folder)
        record = _record(folder)
        training = series.get(INTERVAL) or series.get(EPOCH, {})
        rates = list(training.get("clips_per_s", {}).values())
        return cls(
            folder=folder,
            settings=dict(_leaves({name: record[name] for name in RECORD_SECTIONS if name in record})),
            made_with={str(name): str(value) for name, value in (record.get(MADE_WITH) or {}).items()},
            updates=max(update for kind in series.values() for points in kind.values() for update in points),
            clips_per_s=statistics.median(rates) if rates else None,
            outcomes=_outcomes(series),
        )


def names_of(folders: Sequence[Path]) -> list[str]:
    """What to call each run: its folder's name, or what of its path tells it from the others."""
    paths = [folder.resolve() for folder in folders]
    short = Counter(path.name for path in paths)
    common = Path(os.path.commonpath([path.parent for path in paths]))
    return [path.name if short[path.name] == 1 else str(path.relative_to(common)) for path in paths]


def differing(runs: Sequence[RunSummary]) -> dict[str, list[Any]]:
    """Key -> the value of each run, for the keys in which the runs differ; None where a run does not know the key.

    Of keys that always go together, one referring to the other, the shortest stands for all.
    """
    keys = dict.fromkeys(key for run in runs for key in run.settings if key not in _FOLDERS)
    alike: dict[str, list[str]] = defaultdict(list)
    for key in keys:
        values = [run.settings.get(key) for run in runs]
        if any(value != values[0] for value in values):
            alike[repr(values)].append(key)
    chosen = (min(group, key=lambda key: (key.count("."), len(key))) for group in alike.values())
    return {key: [run.settings.get(key) for run in runs] for key in chosen}


def table(runs: Sequence[RunSummary]) -> list[list[str]]:
    """Rows of a table: the names of its columns, then a row for each run."""
    columns = {"run": names_of([run.folder for run in runs])}
    for key, values in differing(runs).items():
        columns[key] = [_shown(value) for value in values]
    columns["updates"] = [f"{run.updates:,}" for run in runs]
    for metric in dict.fromkeys(name for run in runs for name in run.outcomes):
        found = [run.outcomes.get(metric) for run in runs]
        columns[f"{metric}, best"] = [f"{o.best:.4g} at {o.best_update:,}" if o else ABSENT for o in found]
        columns[f"{metric}, last"] = [f"{o.last:.4g}" if o else ABSENT for o in found]
    columns["clips/s"] = [ABSENT if run.clips_per_s is None else f"{run.clips_per_s:.3g}" for run in runs]
    for name in dict.fromkeys(name for run in runs for name in run.made_with):
        versions = [run.made_with.get(name, ABSENT) for run in runs]
        if name == "commit" or len(set(versions)) > 1:
            columns[name] = versions
    return [list(columns), *(list(row) for row in zip(*columns.values(), strict=True))]


def _record(folder: Path) -> Mapping[str, Any]:
    try:
        return read_record(folder) or {}
    except RecordError as error:
        raise LogError(str(error)) from error


def _leaves(values: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(values, dict) and (values or not key):
        for name, value in values.items():
            yield from _leaves(value, f"{key}.{name}" if key else str(name))
    else:
        yield key, values


def _outcomes(series: dict[str, Series]) -> dict[str, Outcome]:
    found: dict[str, Outcome] = {}
    for kind in sorted(series.keys() - {INTERVAL, EPOCH}):
        for metric, more in MORE_IS_BETTER.items():
            points = series[kind].get(metric)
            if points:
                best = (max if more else min)(points, key=lambda update: points[update])
                found[f"{kind} {metric}"] = Outcome(points[best], best, points[max(points)])
    losses = (series.get(INTERVAL) or series.get(EPOCH, {})).get("loss")
    if losses:
        best = min(losses, key=lambda update: losses[update])
        last = statistics.fmean(list(losses.values())[-_LAST_INTERVALS:])
        found["train loss"] = Outcome(losses[best], best, last)
    return found


def _shown(value: Any) -> str:
    return "null" if value is None else str(value)
