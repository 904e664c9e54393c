"""Where the sounds of a generated clip are: boxes in time and frequency, written beside its corpus as places.csv."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import numpy as np

from ASDA.atomic import atomic_writer
from ASDA.demo.sounds import decibels

QUIET = "quiet"
"""Stands for a class where the background is turned down."""
AUDIBLE_DB = -40.0
"""Below an event's peak; what begins or ends it with less is left out."""
ENERGY_OUTSIDE = 0.05
"""Share of an event's energy below its band, and above it."""


@dataclass(frozen=True)
class Place:
    """A box that holds a sound.

    Attributes:
        what: the class of an event (its mid), or `QUIET`.
        start_s, end_s: in the clip.
        low_hz, high_hz: the band that holds nine tenths of its energy.
    """

    what: str
    start_s: float
    end_s: float
    low_hz: float
    high_hz: float


def place_of(what: str, event: np.ndarray, start: int, sample_rate_hz: int) -> Place:
    """The box of an event (W,) that begins at a sample of the clip."""
    audible = np.flatnonzero(np.abs(event) >= decibels(AUDIBLE_DB) * np.abs(event).max())
    power = np.abs(np.fft.rfft(event)) ** 2
    frequency_hz = np.fft.rfftfreq(len(event), 1 / sample_rate_hz)
    below = np.cumsum(power) / power.sum()
    low, high = np.searchsorted(below, (ENERGY_OUTSIDE, 1 - ENERGY_OUTSIDE))
    first, last = start + audible[0], start + audible[-1] + 1
    seconds = (float(first / sample_rate_hz), float(last / sample_rate_hz))
    return Place(what, *seconds, float(frequency_hz[low]), float(frequency_hz[high]))


def write_places(file: Path, clips: Iterable[tuple[str, Iterable[Place]]]) -> None:
    """A line for each place of each clip, which is named by its path in the corpus."""
    with atomic_writer(file) as handle:
        rows = csv.writer(handle, lineterminator="\n")
        rows.writerow(["file", *(field.name for field in fields(Place))])
        for path, places in clips:
            for place in places:
                what, *numbers = astuple(place)
                rows.writerow([path, what, *(f"{number:.4f}" for number in numbers)])


def read_places(file: Path) -> dict[str, list[Place]]:
    """Path of a clip in its corpus -> its places.

    Raises:
        ValueError: the file is no list of places; the message names file, line and what is there.
    """
    found: dict[str, list[Place]] = {}
    names = ["file", *(field.name for field in fields(Place))]
    with open(file, encoding="utf-8", newline="") as handle:
        rows = csv.reader(handle)
        heading = next(rows, [])
        if heading != names:
            raise ValueError(f"{file}, line 1: expected {','.join(names)}, found {','.join(heading)}")
        for row in rows:
            try:
                path, what, *numbers = row
                found.setdefault(path, []).append(Place(what, *map(float, numbers)))
            except (TypeError, ValueError) as error:
                raise ValueError(f"{file}, line {rows.line_num}: expected {','.join(names)}, found {row}") from error
    return found
