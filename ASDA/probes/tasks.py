"""What a probe is asked: a data folder's splits and labels, or those of each of its folds."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Optional

import numpy as np

from ..data.labels import LabelTable, read_clip_labels
from ..data.manifest import Manifest
from ..inference.clips import Clip, find_clips


@dataclass(frozen=True)
class Split:
    """Clips and their classes.

    Attributes:
        clips: in the manifest's order.
        targets: (n, C) bool.
    """

    clips: Sequence[Clip]
    targets: np.ndarray

    def keep(self, wanted: Callable[[Clip], bool]) -> Split:
        """The clips that are wanted."""
        rows = [row for row, clip in enumerate(self.clips) if wanted(clip)]
        return Split([self.clips[row] for row in rows], self.targets[rows])


@dataclass(frozen=True)
class Task:
    """One question to features: classes of a train split, asked of an eval split.

    Attributes:
        name: of its folder.
        class_names: in the order of the targets.
        train: what the probe is fitted to.
        eval: what it is judged on, and nothing else.
        valid: what its setting is chosen on; None: parts of train in turn.
        notes: what was done to the splits, for people.
    """

    name: str
    class_names: list[str]
    train: Split
    eval: Split
    valid: Optional[Split] = None
    notes: list[str] = field(default_factory=list)

    @property
    def clips(self) -> list[Clip]:
        """Those of all splits."""
        return [*self.train.clips, *(self.valid.clips if self.valid else ()), *self.eval.clips]

    @property
    def single_label(self) -> bool:
        """Each clip has one label."""
        return all(bool((split.targets.sum(axis=1) == 1).all()) for split in (self.train, self.eval))


def find_folds(folder: Path) -> list[Path]:
    """The data folders that a folder stands for: itself if it has train.tsv, else its folds (fold1, fold2, ...).

    Raises:
        ValueError: it is neither.
    """
    if not folder.is_dir():
        raise ValueError(
            f"{folder}: no such folder; expected one with train.tsv and eval.tsv, or with fold1, fold2, ..."
        )
    if (folder / "train.tsv").is_file():
        return [folder]
    numbered = {int(found[1]): path for path in folder.iterdir() if (found := re.fullmatch(r"fold_?(\d+)", path.name))}
    folds = [numbered[number] for number in sorted(numbered)]
    if not folds:
        raise ValueError(f"{folder}: expected train.tsv and eval.tsv, or folders fold1, fold2, ... with them")
    return folds


def read_split(folder: Path, split: str) -> Split:
    """Clips and targets of `{split}.tsv` and `{split}.lbl`, in the classes of `label_descriptors.csv`."""
    table = LabelTable.read(folder / "label_descriptors.csv")
    manifest = Manifest.read(folder / f"{split}.tsv")
    labels = read_clip_labels(folder / f"{split}.lbl", manifest, table)
    targets = np.zeros((len(manifest), len(table)), dtype=bool)
    targets[np.repeat(np.arange(len(manifest)), labels.labels_per_clip), labels.classes] = True
    return Split(list(find_clips([str(manifest.file)])), targets)


def read_task(folder: Path, checksum: Callable[[str], str], name: str) -> Task:
    """Reads a data folder, and sees to it that no clip of eval is known from elsewhere.

    Train clips with the sound of an eval clip are left out. A valid split that shares sound with eval or train is not
    used: what does best on it would be what is known already.

    Args:
        folder: with train, eval and perhaps valid.
        checksum: of a clip's path; equal where the sound is.
        name: of the task.

    Raises:
        ValueError: a split has no clip.
    """
    train, held_out = read_split(folder, "train"), read_split(folder, "eval")
    valid = read_split(folder, "valid") if all((folder / f"valid.{end}").is_file() for end in ("tsv", "lbl")) else None
    of_eval = {checksum(clip.path) for clip in held_out.clips}
    kept = train.keep(lambda clip: checksum(clip.path) not in of_eval)
    notes = []
    if len(kept.clips) < len(train.clips):
        left_out = len(train.clips) - len(kept.clips)
        notes.append(f"{folder}: {left_out} train clips have the sound of eval clips and are left out of train")
    if valid is not None:
        known = of_eval | {checksum(clip.path) for clip in kept.clips}
        shared = sum(checksum(clip.path) in known for clip in valid.clips)
        if shared or not len(valid.clips):
            fault = f"shares {shared} clips with eval or train" if shared else "has no clips"
            notes.append(f"{folder}: valid {fault} and is not used; settings are chosen within train")
            valid = None
    class_names = LabelTable.read(folder / "label_descriptors.csv").names
    return require_clips(Task(name, class_names, kept, held_out, valid, notes))


def require_clips(task: Task) -> Task:
    """Refuses a task that nothing can be fitted to or judged on.

    Raises:
        ValueError: train or eval has no clips.
    """
    for split, what in ((task.train, "train"), (task.eval, "eval")):
        if not len(split.clips):
            raise ValueError(f"{task.name}: no {what} clip is left; expected some that can be read and are not in eval")
    return task
