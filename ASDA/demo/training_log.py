"""Reads back what a training run logged, from the json lines in its train.log."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

_LINE = re.compile(r'\[(?P<stage>[\w.]+)\]\[INFO\] - (?P<values>\{".*\})\s*$')


@dataclass(frozen=True)
class Curve:
    """One number of a run as it developed: two lists of equal length."""

    updates: list[int]
    values: list[float]


class TrainingLog:
    """The json lines of one run, in file order.

    Args:
        lines: (stage, values) pairs; a stage is ``train_inner`` (a line per log interval), ``train`` (one per epoch) or
            the name of a validation split.
    """

    def __init__(self, lines: list[tuple[str, dict[str, str]]]):
        self.lines = lines

    @classmethod
    def read(cls, file: Path) -> TrainingLog:
        """Reads a run's log.

        Raises:
            ValueError: the file holds no json line, for instance because the run failed before its first update.
        """
        found = []
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
            if match := _LINE.search(line):
                found.append((match["stage"], json.loads(match["values"])))
        if not found:
            raise ValueError(f"{file}: holds no line of training results; did the run end before its first update?")
        return cls(found)

    def curve(self, stage: str, key: str) -> Curve:
        """The development of one number.

        fairseq repeats the split in the keys of all stages but ``train_inner``: ``valid_mAP`` in the stage ``valid``.

        Raises:
            KeyError: no line of this stage has the key.
        """
        prefix = "" if stage == "train_inner" else f"{stage}_"
        rows = [values for name, values in self.lines if name == stage and f"{prefix}{key}" in values]
        if not rows:
            raise KeyError(f"the log has no {prefix}{key} in its lines of {stage}")
        updates = [int(values[f"{prefix}num_updates"]) for values in rows]
        return Curve(updates, [float(values[f"{prefix}{key}"]) for values in rows])
