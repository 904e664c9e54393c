"""The probes by name: what each reads, which settings it is offered, how it is fitted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Optional

import numpy as np
import torch

from .heads import AttentiveHead, GatedHead, LinearHead
from .logistic import logistic_scores
from .nearest import knn_scores
from .training import ClipRows, head_scores, train_head


@dataclass(frozen=True)
class Fit:
    """What a probe says of clips.

    Attributes:
        scores: (n, C).
        layer_weights: of a probe that weighs layers, (L,).
    """

    scores: np.ndarray
    layer_weights: Optional[list[float]] = None


@dataclass(frozen=True)
class Circumstances:
    """What a fit depends on beside its clips.

    Attributes:
        seed: of what is drawn.
        single_label: each clip has one label.
        device: where heads are trained.
    """

    seed: int = 1
    single_label: bool = True
    device: torch.device = torch.device("cpu")


FitFunction = Callable[[ClipRows, np.ndarray, ClipRows, float, Circumstances], Fit]
"""Train clips, their targets (n, C), the clips to score, a setting, circumstances -> scores."""


@dataclass(frozen=True)
class Method:
    """A kind of probe.

    Attributes:
        fit: fits it and scores clips.
        setting: name of what is chosen.
        settings: those on offer, the most cautious first, which is taken among equals.
        tokens: it reads every token of a clip, not one vector.
        weighs_layers: it reads all layers together.
        drawn: the seed makes a difference.
    """

    fit: FitFunction
    setting: str
    settings: tuple[float, ...]
    tokens: bool = False
    weighs_layers: bool = False
    drawn: bool = False


def _vectors(clips: ClipRows) -> np.ndarray:
    """(n, D) of pooled clips of one layer."""
    return np.stack([rows[0, 0] for rows in clips])


def _logistic(train: ClipRows, targets: np.ndarray, clips: ClipRows, setting: float, _: Circumstances) -> Fit:
    return Fit(logistic_scores(_vectors(train), targets, _vectors(clips), setting))


def _knn(train: ClipRows, targets: np.ndarray, clips: ClipRows, setting: float, _: Circumstances) -> Fit:
    return Fit(knn_scores(_vectors(train), targets, _vectors(clips), int(setting)))


def _head(make: Callable[[int, int, int], LinearHead]) -> FitFunction:
    """A probe that gradient descent trains; ``make`` is given D, C, L."""

    def fit(train: ClipRows, targets: np.ndarray, clips: ClipRows, setting: float, how: Circumstances) -> Fit:
        num_layers, width = train[0].shape[1:]
        head = make(width, targets.shape[1], num_layers)
        scaling = train_head(
            head, train, targets, penalty=setting, seed=how.seed, single_label=how.single_label, device=how.device
        )
        weights = head.layer_weights.tolist() if isinstance(head, GatedHead) else None
        return Fit(head_scores(head, scaling, clips, how.device), weights)

    return fit


_PENALTIES = (1e-1, 1e-2, 1e-3, 1e-4)

METHODS: dict[str, Method] = {
    "logistic": Method(_logistic, "C", (0.001, 0.01, 0.1, 1.0)),
    "linear": Method(_head(lambda width, classes, _: LinearHead(width, classes)), "penalty", _PENALTIES, drawn=True),
    "knn": Method(_knn, "neighbours", (50, 20, 10, 5, 1)),
    "attentive": Method(
        _head(lambda width, classes, _: AttentiveHead(width, classes)), "penalty", _PENALTIES, tokens=True, drawn=True
    ),
    "gated": Method(_head(GatedHead), "penalty", _PENALTIES, weighs_layers=True, drawn=True),
}
