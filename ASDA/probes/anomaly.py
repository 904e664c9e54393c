"""Is a sound unlike the normal ones? A memory bank of features of normal clips, and scores of others against it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.covariance import LedoitWolf
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler

from ..data.labels import LabelError, LabelTable
from ..inference.clips import Clip, find_clips
from ..metrics import bootstrap_interval
from .study import BOOTSTRAP_SEED, Row
from .tasks import read_split

NORMAL = "normal"
MAX_FALSE_POSITIVE_RATE = 0.1
"""Of the partial AUC, as in DCASE's task 2."""
_SPLIT_SEED = 1


@dataclass(frozen=True)
class AnomalyTask:
    """Normal clips to remember, and clips to tell apart.

    Attributes:
        name: of its folder.
        memory: normal clips.
        test: normal and other clips, none of the memory.
        other: (n,) bool, which test clips are not normal.
    """

    name: str
    memory: Sequence[Clip]
    test: Sequence[Clip]
    other: np.ndarray


def read_anomaly_task(folder: Path, checksum: Callable[[str], str], name: str) -> AnomalyTask:
    """Reads normal and other sounds in one of these layouts:

    * `train.tsv`, `eval.tsv` and `eval.lbl` with a class `normal`: eval clips of any other class are other sounds;
      of train those labelled `normal` are remembered, without `train.lbl` all;
    * `train/` with normal clips and `test/` with clips in folders `normal/` and others, or, as DCASE's, with the word
      `normal` or `anomaly` in their names;
    * `normal/` and other folders: half of the normal clips, drawn, is remembered, the other half is tested.

    Args:
        folder: the data.
        checksum: of a clip's path; a remembered clip that has the sound of a test clip is left out.
        name: of the task.

    Raises:
        ValueError: it is none of them; nothing normal, or nothing else, is there.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder")
    if (folder / "train.tsv").is_file():
        memory, test, other = _of_manifests(folder)
    elif (folder / "train").is_dir() and (folder / "test").is_dir():
        memory = list(find_clips([str(folder / "train")]))
        strangers = [clip.name for clip in memory if _is_other(clip.name) is True]
        if strangers:
            raise ValueError(f"{folder}/train: {strangers[0]} is no normal clip by its name; only those belong there")
        test = list(find_clips([str(folder / "test")]))
        kinds = [_is_other(clip.name) for clip in test]
        if None in kinds:
            raise ValueError(
                f"{folder}/test: {test[kinds.index(None)].name}: expected folders normal/ and others, or the word "
                "normal or anomaly in the name"
            )
        other = np.array(kinds, dtype=bool)
    elif (folder / NORMAL).is_dir():
        clips = list(find_clips([str(folder)]))
        is_other = np.array([Path(clip.name).parts[0] != NORMAL for clip in clips])
        normal = np.random.default_rng(_SPLIT_SEED).permutation(np.flatnonzero(~is_other))
        memory = [clips[row] for row in normal[: len(normal) // 2].tolist()]
        rows = np.sort(np.concatenate([normal[len(normal) // 2 :], np.flatnonzero(is_other)]))
        test, other = [clips[row] for row in rows], is_other[rows]
    else:
        raise ValueError(
            f"{folder}: expected train.tsv and eval.tsv, train/ and test/, or normal/ and folders of other sounds"
        )
    tested = {checksum(clip.path) for clip in test}
    memory = [clip for clip in memory if checksum(clip.path) not in tested]
    return require_both(AnomalyTask(name, memory, test, other))


def require_both(task: AnomalyTask) -> AnomalyTask:
    """Refuses a task that cannot be judged.

    Raises:
        ValueError: fewer than two clips to remember, no normal or no other clip to test.
    """
    counts = (len(task.memory), int((~task.other).sum()), int(task.other.sum()))
    if counts[0] < 2 or not counts[1] or not counts[2]:
        raise ValueError(
            f"{task.name}: expected at least 2 normal clips to remember (that are not tested too), 1 normal and 1 "
            f"other to test, found {counts[0]}, {counts[1]} and {counts[2]}"
        )
    return task


def _of_manifests(folder: Path) -> tuple[list[Clip], list[Clip], np.ndarray]:
    table = LabelTable.read(folder / "label_descriptors.csv")
    if NORMAL not in table:
        raise LabelError(f"{table.file}: expected a class {NORMAL}, found {', '.join(table.names[:10])}")
    normal = table.index(NORMAL)
    tested = read_split(folder, "eval")
    if (folder / "train.lbl").is_file():
        train = read_split(folder, "train")
        memory = [train.clips[row] for row in np.flatnonzero(train.targets[:, normal]).tolist()]
    else:
        memory = list(find_clips([str(folder / "train.tsv")]))
    return memory, list(tested.clips), ~tested.targets[:, normal]


def _is_other(name: str) -> bool | None:
    """Whether a test clip is another sound, by its folder or the words of its name; None if they do not say."""
    path = Path(name)
    words = set(re.split(r"[\W_]+", path.stem.lower()))
    if len(path.parts) > 1:
        return path.parts[0].lower() != NORMAL
    if ("normal" in words) == bool(words & {"anomaly", "abnormal", "anomalous"}):
        return None
    return "normal" not in words


def knn_anomaly(memory: np.ndarray, features: np.ndarray, neighbours: int) -> np.ndarray:
    """(n,) mean Euclidean distance to the nearest remembered clips, in features scaled by the memory's statistics.

    Args:
        memory: (m, D).
        features: (n, D).
        neighbours: how many; at most m.
    """
    scaler = StandardScaler().fit(memory)
    index = NearestNeighbors(n_neighbors=min(neighbours, len(memory))).fit(scaler.transform(memory))
    return index.kneighbors(scaler.transform(features))[0].mean(axis=1)


def mahalanobis_anomaly(memory: np.ndarray, features: np.ndarray) -> np.ndarray:
    """(n,) Mahalanobis distance from the memory's mean, its covariance shrunk as Ledoit and Wolf (2004) say."""
    fitted = LedoitWolf().fit(memory.astype(np.float64))
    return np.sqrt(np.maximum(fitted.mahalanobis(features.astype(np.float64)), 0.0))


def auc(other: np.ndarray, scores: np.ndarray) -> float:
    """Area under the ROC curve; NaN where all clips are of one kind."""
    other = np.ravel(other)
    return float(roc_auc_score(other, np.ravel(scores))) if 0 < other.sum() < len(other) else float("nan")


def partial_auc(other: np.ndarray, scores: np.ndarray) -> float:
    """Area for false-positive rates up to 0.1, standardised after McClish (1989): 0.5 is chance, 1 is perfect."""
    other = np.ravel(other)
    if not 0 < other.sum() < len(other):
        return float("nan")
    return float(roc_auc_score(other, np.ravel(scores), max_fpr=MAX_FALSE_POSITIVE_RATE))


def judge_anomaly(
    task: AnomalyTask, features: dict[str, np.ndarray], place: int, neighbours: int, draws: int
) -> list[Row]:
    """A row for each score at one layer (at ``place`` among those of the features), without clips that have none.

    Raises:
        ValueError: too few clips can be read.
    """
    tested = [row for row, clip in enumerate(task.test) if clip.path in features]
    readable = require_both(
        AnomalyTask(
            task.name,
            [clip for clip in task.memory if clip.path in features],
            [task.test[row] for row in tested],
            task.other[tested],
        )
    )
    memory, test = (
        np.stack([features[clip.path][0, place] for clip in clips]) for clips in (readable.memory, readable.test)
    )
    scores = {
        f"knn (k = {neighbours})": knn_anomaly(memory, test, neighbours),
        "mahalanobis": mahalanobis_anomaly(memory, test),
    }
    return [_judged(readable, name, values, draws) for name, values in scores.items()]


def _judged(task: AnomalyTask, name: str, scores: np.ndarray, draws: int) -> Row:
    row: Row = {"fold": task.name, "score": name, "memory_clips": len(task.memory)}
    row |= {"normal_clips": int((~task.other).sum()), "other_clips": int(task.other.sum())}
    for metric_name, metric in (("AUC", auc), ("pAUC", partial_auc)):
        row[metric_name] = metric(task.other, scores)
        if draws:
            row[f"{metric_name}_low"], row[f"{metric_name}_high"] = bootstrap_interval(
                metric, task.other, scores, BOOTSTRAP_SEED, draws, value=row[metric_name]
            )
        row[f"{metric_name}_chance"] = 0.5
    return row
