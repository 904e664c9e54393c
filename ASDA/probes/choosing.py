"""Which setting a probe is fitted with: chosen on valid, or by cross-validation within train; never on eval."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Optional

import numpy as np
from sklearn.model_selection import KFold, StratifiedKFold

from ..metrics import accuracy, mean_average_precision
from .methods import Circumstances, Method
from .training import ClipRows

NUM_FOLDS = 5
_FOLDS_SEED = 1

Labelled = tuple[ClipRows, np.ndarray]
"""Features of clips and their targets (n, C)."""


@dataclass(frozen=True)
class Choice:
    """A setting and where it comes from.

    Attributes:
        setting: the value.
        chosen_on: `valid`, `cross-validation`, or `given`.
        score: accuracy (one label per clip) or mAP of that setting there; None where it was not asked for or is not
            defined.
    """

    setting: float
    chosen_on: str
    score: Optional[float] = None


def main_metric(single_label: bool) -> Callable[[Any, Any], Any]:
    """The metric that probes are chosen by."""
    return accuracy if single_label else mean_average_precision


def choose_setting(
    method: Method, train: Labelled, valid: Optional[Labelled], how: Circumstances, given: Optional[float] = None
) -> Choice:
    """The setting that does best on clips that it was not fitted to; among equals the first on offer.

    Args:
        method: the probe.
        train: the clips to fit it to.
        valid: the clips to choose on; None: parts of train in turn.
        how: as the probe will be fitted.
        given: the setting, if the user has said it. It is scored where clips were held out for that, else not.

    Raises:
        ValueError: too few clips for a cross-validation.
    """
    if given is not None and valid is None:
        return Choice(given, "given")
    settings = method.settings if given is None else (given,)
    parts = _parts(train, how.single_label) if valid is None else [(train, valid)]
    scores = np.array([[_score(method, setting, *part, how) for part in parts] for setting in settings])
    defined = ~np.isnan(scores).any(axis=0)  # a part without a positive has no mAP, whatever the setting
    means = scores[:, defined].mean(axis=1) if defined.any() else np.zeros(len(settings))
    best = int(np.argmax(means))
    chosen_on = "given" if given is not None else "cross-validation" if valid is None else "valid"
    return Choice(settings[best], chosen_on, float(means[best]) if defined.any() else None)


def _score(method: Method, setting: float, train: Labelled, held_out: Labelled, how: Circumstances) -> float:
    clips, targets = held_out
    return float(main_metric(how.single_label)(targets, method.fit(*train, clips, setting, how).scores))


def _parts(train: Labelled, single_label: bool) -> list[tuple[Labelled, Labelled]]:
    """Five times train without a fifth of its clips, and that fifth: where each class has one of its own, of each."""
    clips, targets = train
    num_folds = min(NUM_FOLDS, len(clips))
    if num_folds < 2:
        raise ValueError(
            f"{len(clips)} train clips are too few to choose a setting; give --regularisation or --neighbours"
        )
    counts = (targets == 1).sum(axis=0)
    stratified = single_label and counts[counts > 0].min() >= num_folds
    split = (StratifiedKFold if stratified else KFold)(num_folds, shuffle=True, random_state=_FOLDS_SEED)

    def part(rows: np.ndarray) -> Labelled:
        return [clips[row] for row in rows], targets[rows]

    return [(part(fitted), part(held_out)) for fitted, held_out in split.split(targets, targets.argmax(axis=1))]
