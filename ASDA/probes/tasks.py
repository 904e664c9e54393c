"""What a probe is asked: a data folder's splits and labels, or those of each of its folds."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional

import numpy as np

from ..data.labels import LabelTable, read_clip_labels
from ..data.manifest import Manifest
from ..inference.clips import Clip, find_clips


@dataclass(frozen=True)
class Split:
    """Clips and their classes.

    Attributes:
        clips: in the manifest's order.
        targets: (n, C), 1 where a clip has the class, NaN where it was not judged.
    """

    clips: Sequence[Clip]
    targets: np.ndarray

    def keep(self, wanted: Callable[[Clip], bool]) -> Split:
        """The clips that are wanted."""
        rows = [row for row, clip in enumerate(self.clips) if wanted(clip)]
        return Split([self.clips[row] for row in rows], self.targets[rows])

    def having(self, index: int) -> list[Clip]:
        """The clips of a class."""
        return [self.clips[row] for row in np.flatnonzero(self.targets[:, index] == 1).tolist()]

    @property
    def has_class(self) -> np.ndarray:
        """(C,) bool, whether any clip has the class."""
        return (self.targets == 1).any(axis=0)


@dataclass(frozen=True)
class Task:
    """One question to features: classes of a train split, asked of an eval split.

    Attributes:
        name: of its folder.
        class_names: in the order of the targets.
        train: what the probe is fitted to.
        eval: what it is judged on, and nothing else.
        valid: what its setting is chosen on; None: parts of train in turn.
        notes: what people should know of the splits.
    """

    name: str
    class_names: list[str]
    train: Split
    eval: Split
    valid: Optional[Split] = None
    notes: list[str] = field(default_factory=list)

    @property
    def splits(self) -> list[Split]:
        """Those that there are."""
        return [split for split in (self.train, self.valid, self.eval) if split is not None]

    @property
    def clips(self) -> list[Clip]:
        """Those of all splits."""
        return [clip for split in self.splits for clip in split.clips]

    @property
    def single_label(self) -> bool:
        """Each clip has one label, and was judged for all classes."""
        return all(bool((split.targets.sum(axis=1) == 1).all()) for split in self.splits)


def find_folds(folder: Path) -> list[Path]:
    """The data folders that a folder stands for: itself if it has train.tsv, else its folds (fold1, fold2, ...).

    Raises:
        ValueError: it is neither.
    """
    expected = "expected train.tsv and eval.tsv with their labels, or folders fold1, fold2, ... with them"
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder; {expected}")
    if (folder / "train.tsv").is_file():
        return [folder]
    numbered = {int(found[1]): path for path in folder.iterdir() if (found := re.fullmatch(r"fold_?(\d+)", path.name))}
    if not numbered:
        raise ValueError(f"{folder}: {expected}")
    return [numbered[number] for number in sorted(numbered)]


def read_split(folder: Path, split: str) -> Split:
    """Clips and targets of `{split}.tsv` and `{split}.lbl`, in the classes of `label_descriptors.csv`."""
    table = LabelTable.read(folder / "label_descriptors.csv")
    manifest = Manifest.read(folder / f"{split}.tsv")
    targets = read_clip_labels(folder / f"{split}.lbl", manifest, table).multi_hots()
    return Split(list(find_clips([str(manifest.file)])), targets)


def read_task(folder: Path, checksum: Callable[[str], str], name: str) -> Task:
    """Reads a data folder, and sees what of it is known from elsewhere.

    A valid split that shares sound with eval or train is not used: eval would have a say in what is chosen, or what
    does best would be what is known already. Eval clips that have the sound of train clips are told: splits are
    compared as they are.

    Args:
        folder: with train, eval and perhaps valid.
        checksum: of a clip's path; equal where the sound is.
        name: of the task.

    Raises:
        ValueError: a manifest or label file is missing, empty or wrong.
    """
    train, held_out = read_split(folder, "train"), read_split(folder, "eval")
    valid = read_split(folder, "valid") if all((folder / f"valid.{end}").is_file() for end in ("tsv", "lbl")) else None
    trained, tested = ({checksum(clip.path) for clip in split.clips} for split in (train, held_out))
    notes = []
    known = sum(checksum(clip.path) in trained for clip in held_out.clips)
    if known:
        share = f"{known} of {len(held_out.clips)}"
        notes.append(f"{folder}: {share} eval clips have the sound of train clips, which flatters the probe")
    if valid is not None:
        elsewhere = trained | tested
        shared = sum(checksum(clip.path) in elsewhere for clip in valid.clips)
        if shared:
            notes.append(
                f"{folder}: valid shares the sound of {shared} clips with train or eval and is not used; settings are "
                "chosen within train"
            )
            valid = None
    class_names = LabelTable.read(folder / "label_descriptors.csv").names
    return Task(name, class_names, train, held_out, valid, notes)


def require_clips(task: Task) -> Task:
    """Refuses a task that nothing can be fitted to or judged on.

    Raises:
        ValueError: train or eval has no clips, or none with a class; there is one class to choose from.
    """
    for split, what in ((task.train, "train"), (task.eval, "eval")):
        if not len(split.clips):
            raise ValueError(f"{task.name}: {what} has no clip that can be read")
        if not split.has_class.any():
            raise ValueError(f"{task.name}: no {what} clip that can be read has a class; a probe needs labels")
    if task.single_label and task.train.has_class.sum() < 2:
        only = task.class_names[int(task.train.has_class.argmax())]
        raise ValueError(f"{task.name}: all train clips are of the class {only}; a probe tells at least two apart")
    return task
