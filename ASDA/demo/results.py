"""What the steps of scripts/demo.sh leave behind, read for the report.

python -m ASDA.demo.results DEMO_DIR says whether its clips have several labels: true or false.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from ASDA.data.labels import LabelTable, read_clip_labels
from ASDA.data.manifest import Manifest
from ASDA.metrics import chance_accuracy, chance_average_precision

SPLITS = ("train", "valid", "eval")
RUNS = ("finetuned", "finetuned_from_random")


@dataclass(frozen=True)
class Score:
    """A metric with its 95 % interval; NaN where it is not defined."""

    value: float
    low: float = math.nan
    high: float = math.nan


@dataclass(frozen=True)
class ClassScores:
    """A column of the per-class table that asda-eval wrote; NaN for classes without a positive clip."""

    names: list[str]
    positives: list[int]
    values: list[float]

    @classmethod
    def read(cls, file: Path, column: str) -> ClassScores:
        with file.open(encoding="utf-8", newline="") as handle:
            rows = list(csv.DictReader(handle))
        values = [float(row[column] or "nan") for row in rows]
        return cls([row["display_name"] for row in rows], [int(row["positives"]) for row in rows], values)


class Results:
    """Where the steps of the demo leave what the report shows."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.data = folder / "data"
        self.results = folder / "results"

    def manifest(self, split: str) -> Manifest:
        return Manifest.read(self.data / f"{split}.tsv")

    @cached_property
    def table(self) -> LabelTable:
        return LabelTable.read(self.data / "label_descriptors.csv")

    @cached_property
    def targets(self) -> dict[str, np.ndarray]:
        """Split -> (n, C) bool, which classes each clip holds."""
        found = {}
        for split in SPLITS:
            labels = read_clip_labels(self.data / f"{split}.lbl", self.manifest(split), self.table)
            found[split] = labels.multi_hots() == 1
        return found

    @cached_property
    def single_label(self) -> bool:
        """Whether every clip has exactly one label."""
        return all((targets.sum(axis=1) == 1).all() for targets in self.targets.values())

    @property
    def metric(self) -> str:
        return "accuracy" if self.single_label else "mAP"

    @property
    def chance(self) -> float:
        """The metric of who knows nothing but how frequent the classes are."""
        targets = self.targets["eval"]
        return chance_accuracy(targets) if self.single_label else chance_average_precision(targets)

    @property
    def most_frequent_class(self) -> str:
        return self.table.names[int(self.targets["eval"].sum(axis=0).argmax())]

    def finetuned(self, run: str) -> Score:
        """What asda-eval --json said of a run."""
        found = json.loads((self.results / f"{run}_metrics.json").read_text(encoding="utf-8"))[self.metric]
        return _score(found.get("value"), found.get("low"), found.get("high"))

    def probe(self, weights: str) -> Score:
        """The linear probe of the encoder with these weights: `pre-trained` or `random`."""
        rows = json.loads((self.results / "probe.json").read_text(encoding="utf-8"))
        row = next(row for row in rows if row["weights"] == weights)
        return _score(row[self.metric], row.get(f"{self.metric}_low"), row.get(f"{self.metric}_high"))

    def class_scores(self, run: str) -> ClassScores:
        """Average precision of each class, or with one label per clip the share of its clips that are right."""
        column = "accuracy" if self.single_label else "average_precision"
        return ClassScores.read(self.results / f"{run}_per_class.csv", column)

    @property
    def confusion_file(self) -> Path:
        return self.results / "finetuned_confusion.csv"

    def confusion(self) -> np.ndarray:
        """(C, C), clips of the row's class that the fine-tuned model took for the column's."""
        with self.confusion_file.open(encoding="utf-8", newline="") as handle:
            return np.array([[int(count) for count in row[1:]] for row in list(csv.reader(handle))[1:]])

    def steps(self) -> list[tuple[str, int]]:
        """Name and seconds of each step."""
        lines = (self.results / "seconds.tsv").read_text(encoding="utf-8").splitlines()
        return [(name, int(value)) for name, value in (line.split("\t") for line in lines)]


def _score(*numbers: float | None) -> Score:
    """From json, which has null for a number that is not defined."""
    return Score(*(math.nan if number is None else number for number in numbers))


def main(argv: list[str] | None = None) -> int:
    """Program entry of the demo's script; exit code 1 with one line when the labels cannot be read."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("demo_dir", type=Path)
    try:
        print("false" if Results(parser.parse_args(argv).demo_dir).single_label else "true")
    except (ValueError, OSError) as error:
        print(f"demo: error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
