"""Which setting a probe is fitted with: chosen on valid, or by cross-validation within train; never on eval."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

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
        score: accuracy (one label per clip) or mAP of that setting there.
    """

    setting: float
    chosen_on: str
    score: Optional[float] = None


def main_metric(single_label: bool):
    """The metric that probes are judged and chosen by."""
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
    settings = method.settings if given is None else (given,)
    if given is not None and valid is None:
        return Choice(given, "given")
    parts = _parts(train, how.single_label) if valid is None else [(train, valid)]
    scores = [np.mean([_score(method, setting, *part, how) for part in parts]) for setting in settings]
    best = int(np.argmax(np.nan_to_num(scores, nan=-1.0)))
    chosen_on = "given" if given is not None else "cross-validation" if valid is None else "valid"
    return Choice(settings[best], chosen_on, float(scores[best]))


def _score(method: Method, setting: float, train: Labelled, held_out: Labelled, how: Circumstances) -> float:
    clips, targets = held_out
    return float(main_metric(how.single_label)(targets, method.fit(*train, clips, setting, how).scores))


def _parts(train: Labelled, single_label: bool) -> list[tuple[Labelled, Labelled]]:
    clips, targets = train
    smallest = int(targets.sum(axis=0)[targets.any(axis=0)].min()) if single_label else len(clips)
    num_folds = min(NUM_FOLDS, len(clips))
    if num_folds < 2:
        raise ValueError(f"{len(clips)} train clips are too few to choose a setting by cross-validation; give one")
    if single_label and smallest >= num_folds:
        folds = StratifiedKFold(num_folds, shuffle=True, random_state=_FOLDS_SEED).split(
            targets, targets.argmax(axis=1)
        )
    else:
        folds = KFold(num_folds, shuffle=True, random_state=_FOLDS_SEED).split(targets)

    def part(rows: np.ndarray) -> Labelled:
        return [clips[row] for row in rows], targets[rows]

    return [(part(fitted), part(held_out)) for fitted, held_out in folds]
