"""Scores of a clip's windows -> predictions for the clip, and a time line of events."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .model import TrainedClassifier
from .run import ClipResult
from .windows import seconds


@dataclass(frozen=True)
class Prediction:
    """One class and its score."""

    index: int
    label: str
    score: float


@dataclass(frozen=True)
class Event:
    """A class whose score stays at or above the threshold from window to window.

    Attributes:
        start_s: where the first of these windows begins.
        end_s: where the last one ends, or the clip.
        index: the class.
        label: its name.
        score: the highest score of these windows.
    """

    start_s: float
    end_s: float
    index: int
    label: str
    score: float


def window_scores(result: ClipResult, model: TrainedClassifier) -> Tensor:
    """Scores of each window of a clip: (windows, C)."""
    return model.scores_of(torch.stack(result.outputs))


def clip_scores(scores: Tensor, result: ClipResult) -> Tensor:
    """Scores of a clip, (C,): the mean over its windows, (windows, C), each weighed by the sound that it heard."""
    if len(scores) == 1:
        return scores[0]
    heard = torch.tensor([window.heard_frames for window in result.clip.windows], dtype=scores.dtype)
    return (heard / heard.sum()) @ scores


def predictions(scores: Tensor, names: list[str], top_k: int, threshold: float = 0.0) -> list[Prediction]:
    """The best classes of a clip, best first: at most ``top_k``, none under ``threshold``.

    Args:
        scores: (C,), of the clip.
        names: of the classes.
        top_k: most classes.
        threshold: lowest score.
    """
    values, classes = scores.topk(min(top_k, len(scores)))
    return [
        Prediction(index, names[index], value)
        for value, index in zip(values.tolist(), classes.tolist(), strict=True)
        if value >= threshold
    ]


def events(scores: Tensor, result: ClipResult, names: list[str], top_k: int, threshold: float) -> list[Event]:
    """The time line of a clip, in order of time.

    Args:
        scores: (windows, C).
        result: the clip.
        names: of the classes.
        top_k: most classes in any one window.
        threshold: a class is present in the windows where its score reaches this.
    """
    best = torch.zeros_like(scores, dtype=torch.bool)
    best.scatter_(1, scores.topk(min(top_k, scores.shape[1]), dim=1).indices, True)
    present = best & (scores >= threshold)
    windows = result.clip.windows
    found = []
    for index in present.any(dim=0).nonzero().flatten().tolist():
        for first, last in _runs(present[:, index].tolist()):
            start, end = windows[first].start, windows[last].start + windows[last].num_frames
            score = float(scores[first : last + 1, index].max())
            found.append(Event(seconds(start), seconds(end), index, names[index], score))
    return sorted(found, key=lambda event: (event.start_s, -event.score))


def _runs(present: list[bool]) -> list[tuple[int, int]]:
    """First and last place of each stretch of True."""
    runs: list[tuple[int, int]] = []
    for place, here in enumerate(present):
        if here and runs and runs[-1][1] == place - 1:
            runs[-1] = (runs[-1][0], place)
        elif here:
            runs.append((place, place))
    return runs
