"""What came out of an ablation: scores of each setting by seed, and what the seeds tell of it against the reference."""

from __future__ import annotations

import csv
import json
import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from ..training.run_record import RecordError, read_record
from .over_seeds import interval, mean_and_deviation, points_and_interval
from .run_logs import EPOCH, INTERVAL, LogError, read_run

_METRICS = ("accuracy", "mAP")
"""The first that a result has stands for it."""
COLUMNS = (
    *("setting", "about", "score", "seeds", "mean", "deviation", "difference", "difference_low", "difference_high"),
    *("hours", "failed_seeds", "values"),
)
"""Of the csv."""


@dataclass(frozen=True)
class SettingFiles:
    """Where a setting's results lie.

    Attributes:
        name: of the setting.
        about: what it changes, in words.
        scores: name of a score -> seed -> the files whose mean it is, one for each fold.
        trainings: seed -> save folders of what was trained for it.
        failed: seed -> stage -> why it failed.
    """

    name: str
    about: str
    scores: Mapping[str, Mapping[int, Sequence[Path]]]
    trainings: Mapping[int, Sequence[Path]]
    failed: Mapping[int, Mapping[str, str]]


@dataclass(frozen=True)
class Comparison:
    """A score of a setting over its seeds, and against the reference, seed by seed.

    Attributes:
        values: seed -> score.
        gains: seed -> score less the reference's, for the seeds of both; empty for the reference.
    """

    values: dict[int, float]
    gains: dict[int, float]

    @property
    def gain(self) -> float | None:
        return statistics.fmean(self.gains.values()) if self.gains else None

    @property
    def gain_interval(self) -> tuple[float, float] | None:
        """The 95 % interval of the mean gain; one seed has none."""
        return interval(list(self.gains.values())) if len(self.gains) > 1 else None

    @property
    def told_apart(self) -> bool:
        """Whether the seeds tell the setting from the reference: the interval of the gain leaves 0 out."""
        found = self.gain_interval
        return found is not None and not found[0] <= 0 <= found[1]

    def shown_values(self) -> str:
        return mean_and_deviation(list(self.values.values())) if self.values else "-"

    def shown_gain(self) -> str:
        """In points, with its interval; marked where that leaves 0 out."""
        if not self.gains:
            return "-"
        return points_and_interval(list(self.gains.values())) + (" *" if self.told_apart else "")


@dataclass(frozen=True)
class SettingResult:
    """What came of a setting.

    Attributes:
        name: of the setting.
        about: what it changes.
        scores: name of a score with its metric -> comparison.
        hours: seed -> hours of training, times the devices that trained.
        failed: seed -> stage -> why it failed.
    """

    name: str
    about: str
    scores: dict[str, Comparison]
    hours: dict[int, float]
    failed: dict[int, dict[str, str]]


@dataclass(frozen=True)
class Ablation:
    """The results of all settings.

    Attributes:
        name: of the grid.
        reference: the setting that the others are compared with.
        seeds: that the grid asks for.
        settings: in the grid's order.
        about: lines that say how the results were made.
    """

    name: str
    reference: str
    seeds: tuple[int, ...]
    settings: list[SettingResult]
    about: list[str]

    @classmethod
    def read(
        cls, name: str, reference: str, seeds: Sequence[int], files: Sequence[SettingFiles], about: Sequence[str]
    ) -> Ablation:
        """Reads what has been done; what has not, or failed, is left out.

        Raises:
            LogError: a file is damaged; the message names it.
        """
        scores = {setting.name: _scores(setting) for setting in files}
        results = []
        for setting in files:
            compared = {
                score: Comparison(values, _gains(values, scores[reference].get(score, {}), setting.name == reference))
                for score, values in scores[setting.name].items()
            }
            hours = {seed: _hours(folders) for seed, folders in setting.trainings.items()}
            known = {seed: spent for seed, spent in hours.items() if spent is not None}
            failed = {seed: dict(stages) for seed, stages in setting.failed.items() if stages}
            results.append(SettingResult(setting.name, setting.about, compared, known, failed))
        return cls(name, reference, tuple(seeds), results, list(about))

    @property
    def scores(self) -> list[str]:
        """Names of all scores."""
        return list(dict.fromkeys(score for setting in self.settings for score in setting.scores))

    def failures(self) -> list[str]:
        """A line for each stage that failed."""
        return [
            f"{setting.name}, seed {seed}: {stage} failed: {reason}"
            for setting in self.settings
            for seed, stages in setting.failed.items()
            for stage, reason in stages.items()
        ]

    def unfinished(self) -> list[str]:
        """A line for each setting that lacks scores of some seeds for another reason than a failure."""
        lines = []
        for setting in self.settings:
            missing = [
                seed
                for seed in self.seeds
                if seed not in setting.failed
                and (not setting.scores or any(seed not in found.values for found in setting.scores.values()))
            ]
            if missing:
                lines.append(f"{setting.name}: not done for seed {', '.join(map(str, missing))}")
        return lines

    def table(self) -> list[list[str]]:
        """The table for people: its heading, then a row for each setting."""
        heading = ["setting", "changes", "seeds"]
        for score in self.scores:
            heading += [score, f"against {self.reference}"]
        rows = [[*heading, "trained hours"]]
        for setting in self.settings:
            found = [setting.scores.get(score, Comparison({}, {})) for score in self.scores]
            fewest = min((len(comparison.values) for comparison in found), default=0)
            row = [setting.name, setting.about or "-", f"{fewest} of {len(self.seeds)}"]
            for comparison in found:
                row += [comparison.shown_values(), comparison.shown_gain()]
            rows.append([*row, f"{statistics.fmean(setting.hours.values()):.3g}" if setting.hours else "-"])
        return rows

    def legend(self) -> str:
        """How to read the table."""
        return (
            f"Mean ± sample deviation over the seeds. `against {self.reference}`: the mean of the differences seed by "
            "seed, in points, and its 95 % interval (Student's t); * where that leaves 0 out. Of twenty settings that "
            "change nothing one gets a * by chance. `trained hours`: of pre-training and fine-tuning, a mean over the "
            "seeds, times the devices that trained; where settings share a pre-training each counts it."
        )

    def csv(self) -> str:
        """A line for each setting and score; shares, not per cent."""
        text = StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(self._lines())
        return text.getvalue()

    def _lines(self) -> Iterator[list[Any]]:
        for setting in self.settings:
            hours = statistics.fmean(setting.hours.values()) if setting.hours else ""
            failed = " ".join(map(str, setting.failed))
            for score in self.scores or [""]:
                found = setting.scores.get(score, Comparison({}, {}))
                values = list(found.values.values())
                deviation = statistics.stdev(values) if len(values) > 1 else ""
                numbers = [statistics.fmean(values) if values else "", deviation]
                gain = ["" if found.gain is None else found.gain, *(found.gain_interval or ("", ""))]
                listed = " ".join(f"{seed}:{value:.6g}" for seed, value in found.values.items())
                yield [setting.name, setting.about, score, len(values), *numbers, *gain, hours, failed, listed]

    def content(self) -> dict[str, Any]:
        """All of it as plain values, for json."""
        settings = [
            {
                "name": setting.name,
                "about": setting.about,
                "hours": setting.hours,
                "failed": setting.failed,
                "scores": {
                    score: {
                        "values": found.values,
                        "differences": found.gains,
                        "mean": statistics.fmean(found.values.values()) if found.values else None,
                        "difference": found.gain,
                        "difference_interval": found.gain_interval,
                    }
                    for score, found in setting.scores.items()
                },
            }
            for setting in self.settings
        ]
        return {
            "asda_ablate": self.name,
            "reference": self.reference,
            "seeds": list(self.seeds),
            "about": self.about,
            "settings": settings,
        }


def _gains(values: Mapping[int, float], reference: Mapping[int, float], is_reference: bool) -> dict[int, float]:
    return (
        {} if is_reference else {seed: value - reference[seed] for seed, value in values.items() if seed in reference}
    )


def _scores(files: SettingFiles) -> dict[str, dict[int, float]]:
    """Name of a score with its metric -> seed -> value; a seed of which a fold is missing is left out."""
    found: dict[str, dict[int, float]] = {}
    for score, by_seed in files.scores.items():
        for seed, of_folds in by_seed.items():
            if not of_folds or not all(file.exists() for file in of_folds):
                continue
            read = [_read_score(file) for file in of_folds]
            metric, value = read[0][0], statistics.fmean(value for _, value in read)
            if math.isfinite(value):
                found.setdefault(f"{score} {metric}", {})[seed] = value
    return found


def _read_score(file: Path) -> tuple[str, float]:
    """Metric and value, of what asda-eval or the linear probe has written; NaN where it is not defined."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        numbers = content[0] if isinstance(content, list) else content
        metric = next(metric for metric in _METRICS if metric in numbers)
    except (OSError, ValueError, LookupError, TypeError, StopIteration, RecursionError) as error:
        raise LogError(f"{file}: expected the scores of a probe or of asda-eval ({error!r})") from error
    value = numbers[metric]["value"] if isinstance(numbers[metric], dict) else numbers[metric]
    return metric, math.nan if value is None else float(value)


def _hours(folders: Sequence[Path]) -> float | None:
    """Hours of training, times devices; None if one of the folders holds no log."""
    total = 0.0
    for folder in folders:
        try:
            series, record = read_run(folder), read_record(folder) or {}
        except LogError:
            return None
        except RecordError as error:
            raise LogError(str(error)) from error
        walls = [max(series[kind]["wall"].values()) for kind in (INTERVAL, EPOCH) if series.get(kind, {}).get("wall")]
        devices = (record.get("distributed_training") or {}).get("distributed_world_size") or 1
        total += max(walls, default=0.0) / 3600 * devices
    return total
