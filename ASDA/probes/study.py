"""Probes over folds, layers and seeds, and what they come to."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Optional

import numpy as np
import torch

from ..inference import TrainedEncoder
from ..metrics import accuracy, bootstrap_interval, chance_accuracy, chance_average_precision, mean_average_precision
from .choosing import Labelled, choose_setting
from .features import FeatureSource
from .methods import METHODS, Circumstances
from .tasks import Split, Task, require_clips
from .weights import random_twin

ALL_LAYERS = "all"
BOOTSTRAP_SEED = 1
_GROUPED_BY = ("checkpoint", "weights", "layer", "score")

Row = dict[str, Any]


@dataclass(frozen=True)
class Study:
    """What is asked of every network.

    Attributes:
        method: a name in METHODS.
        layers: counted from 1.
        seeds: how many, of random weights and of heads that are trained.
        setting: C, penalty or neighbours; None: chosen for each fit.
        bootstrap: draws for intervals; 0: none.
    """

    method: str
    layers: Sequence[int]
    seeds: int = 1
    setting: Optional[float] = None
    bootstrap: int = 1000


def networks(
    trained: TrainedEncoder, study: Study, first_seed: int, beside: bool
) -> Iterator[tuple[str, int, TrainedEncoder]]:
    """Kind of weights, seed and network of all that is probed: the checkpoint's, and random ones ``beside`` it."""
    seeds = range(first_seed, first_seed + study.seeds)
    for seed in seeds if METHODS[study.method].drawn else seeds[:1]:
        yield "pre-trained", seed, trained
    for seed in seeds if beside else ():
        yield "random", seed, random_twin(trained, seed)


def probe_network(
    encoder: TrainedEncoder, tasks: Sequence[Task], source: FeatureSource, study: Study, seed: int
) -> Iterator[Row]:
    """A row for each layer and fold, with the metrics on eval.

    Raises:
        ValueError: a split has no clip that can be read.
    """
    features = source.features(encoder, study.layers, [clip for task in tasks for clip in task.clips])
    readable = [require_clips(readable_part(task, features)) for task in tasks]
    # Slices: what is mapped from a file stays there.
    asked: list[tuple[Row, slice]] = [
        ({"layer": layer}, slice(place, place + 1)) for place, layer in enumerate(study.layers)
    ]
    if METHODS[study.method].weighs_layers:
        asked = [({"layer": ALL_LAYERS, "layers": list(study.layers)}, slice(None))]
    for named, wanted in asked:
        of_layer = {path: rows[:, wanted] for path, rows in features.items()}
        for task, part in zip(tasks, readable, strict=True):
            how = Circumstances(seed, task.single_label, torch.device(encoder.encoder.device))
            yield {"fold": task.name} | named | _probe(part, of_layer, study, how)


def _probe(task: Task, features: dict[str, np.ndarray], study: Study, how: Circumstances) -> Row:
    """Chooses a setting, fits with it and judges."""

    def labelled(split: Split) -> Labelled:
        return [features[clip.path] for clip in split.clips], split.targets

    method = METHODS[study.method]
    train, valid = labelled(task.train), labelled(task.valid) if task.valid is not None else None
    choice = choose_setting(method, train, valid, how, study.setting)
    clips, targets = labelled(task.eval)
    fit = method.fit(*train, clips, choice.setting, how)
    untrained = ~task.train.has_class & task.eval.has_class
    row: Row = {
        method.setting: choice.setting,
        "chosen_on": choice.chosen_on,
        "chosen_score": choice.score,
        "train_clips": len(task.train.clips),
        "valid_clips": len(task.valid.clips) if task.valid is not None else 0,
        "eval_clips": len(task.eval.clips),
        "classes_without_train_clips": [task.class_names[index] for index in np.flatnonzero(untrained)],
    }
    weights = {"layer_weights": fit.layer_weights} if fit.layer_weights is not None else {}
    return row | judge(targets, fit.scores, how, study.bootstrap) | weights


def readable_part(task: Task, features: dict[str, np.ndarray]) -> Task:
    """The task without the clips that have no features."""

    def readable(split: Split) -> Split:
        return split.keep(lambda clip: clip.path in features)

    valid = readable(task.valid) if task.valid is not None else None
    valid = valid if valid is not None and valid.clips else None
    return replace(task, train=readable(task.train), valid=valid, eval=readable(task.eval))


def judge(targets: np.ndarray, scores: np.ndarray, how: Circumstances, draws: int) -> Row:
    """mAP, and with one label per clip accuracy, each with its chance level and, with ``draws``, a 95 % interval."""
    metrics: dict[str, tuple[Callable, Callable]] = {"mAP": (mean_average_precision, chance_average_precision)}
    if how.single_label:
        metrics["accuracy"] = (accuracy, chance_accuracy)
    row: Row = {}
    for name, (metric, chance) in metrics.items():
        row[name] = float(metric(targets, scores))
        if draws:
            row[f"{name}_low"], row[f"{name}_high"] = bootstrap_interval(
                metric, targets, scores, BOOTSTRAP_SEED, draws, value=row[name]
            )
        row[f"{name}_chance"] = chance(targets)
    return row


def summarise(runs: Sequence[Row], metrics: Sequence[str]) -> list[Row]:
    """A row for each checkpoint, kind of weights and layer (and score of anomalies): means over folds and seeds.

    With several folds their sample deviation is that of the folds' means over seeds (`METRIC_deviation`); with one fold
    and several seeds, that of the seeds. An interval from drawn clips is kept where there is one run only.
    """
    groups: dict[tuple, list[Row]] = {}
    for run in runs:
        groups.setdefault(tuple(run.get(name) for name in _GROUPED_BY), []).append(run)
    return [_summary(group, [name for name in metrics if name in group[0]]) for group in groups.values()]


def _summary(group: list[Row], metrics: list[str]) -> Row:
    folds = list(dict.fromkeys(run["fold"] for run in group))
    seeds = list(dict.fromkeys(run["seed"] for run in group))
    row: Row = {name: group[0][name] for name in _GROUPED_BY if name in group[0]}
    row |= {"seed": seeds[0], "seeds": len(seeds), "folds": len(folds)}
    for name in metrics:
        row[name] = statistics.fmean(run[name] for run in group)
        row[f"{name}_chance"] = statistics.fmean(run[f"{name}_chance"] for run in group)
        if len(group) == 1:
            row |= {key: group[0][key] for key in (f"{name}_low", f"{name}_high") if key in group[0]}
            continue
        means = [statistics.fmean(run[name] for run in group if run["fold"] == fold) for fold in folds]
        row[f"{name}_deviation"] = statistics.stdev(means if len(folds) > 1 else [run[name] for run in group])
        row[f"{name}_deviation_over"] = "folds" if len(folds) > 1 else "seeds"
    chosen = [run["chosen_score"] for run in group if run.get("chosen_score") is not None]
    if chosen:
        row["chosen_score"] = statistics.fmean(chosen)
    if "layer_weights" in group[0]:
        row["layers"] = group[0]["layers"]
        row["layer_weights"] = np.mean([run["layer_weights"] for run in group], axis=0).tolist()
    return row
