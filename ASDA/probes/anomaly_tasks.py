"""Normal and other sounds: what is remembered, what is tested, in the layouts in which such data comes."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..data.labels import LabelError, LabelTable
from ..inference.clips import Clip, find_clips
from .tasks import read_split

NORMAL = "normal"
_OTHER = {"anomaly", "abnormal", "anomalous"}
_SPLIT_SEED = 1

_Sounds = tuple[Sequence[Clip], Sequence[Clip], np.ndarray]  # to remember, to test, which of these are not normal


@dataclass(frozen=True)
class AnomalyTask:
    """Normal clips to remember, and clips to tell apart.

    Attributes:
        name: of its folder.
        memory: normal clips.
        test: normal and other clips, none of the memory.
        other: (n,) bool, which test clips are not normal.
        notes: what people should know of the clips.
    """

    name: str
    memory: Sequence[Clip]
    test: Sequence[Clip]
    other: np.ndarray
    notes: list[str] = field(default_factory=list)

    @property
    def clips(self) -> list[Clip]:
        """All of them."""
        return [*self.memory, *self.test]


def read_anomaly_task(folder: Path, checksum: Callable[[str], str], name: str) -> AnomalyTask:
    """Reads normal and other sounds in one of these layouts:

    * `train.tsv`, `eval.tsv` and `eval.lbl` with a class `normal`: eval clips without it are other sounds; of train
      those labelled `normal` are remembered, without `train.lbl` all;
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
        memory, test, other = _of_train_and_test(folder)
    elif (folder / NORMAL).is_dir():
        memory, test, other = _of_kinds(folder)
    else:
        raise ValueError(
            f"{folder}: expected train.tsv and eval.tsv, train/ and test/, or normal/ and folders of other sounds"
        )
    tested = {checksum(clip.path) for clip in test}
    kept = [clip for clip in memory if checksum(clip.path) not in tested]
    left_out = len(memory) - len(kept)
    note = f"{folder}: {left_out} clips to remember have the sound of test clips and are left out"
    return require_both(AnomalyTask(name, kept, test, other, [note] if left_out else []))


def require_both(task: AnomalyTask) -> AnomalyTask:
    """Refuses a task that cannot be judged.

    Raises:
        ValueError: fewer than two clips to remember, no normal or no other clip to test.
    """
    counts = (len(task.memory), int((~task.other).sum()), int(task.other.sum()))
    if counts[0] < 2 or not counts[1] or not counts[2]:
        raise ValueError(
            f"{task.name}: expected at least 2 normal clips to remember (that are not tested too), 1 normal and 1 "
            f"other to test, found {counts[0]}, {counts[1]} and {counts[2]} that can be read"
        )
    return task


def _of_manifests(folder: Path) -> _Sounds:
    table = LabelTable.read(folder / "label_descriptors.csv")
    if NORMAL not in table:
        raise LabelError(f"{table.file}: expected a class {NORMAL}, found {', '.join(table.names[:10])}")
    normal = table.index(NORMAL)
    tested = read_split(folder, "eval")
    unjudged = np.flatnonzero(np.isnan(tested.targets[:, normal]))
    if len(unjudged):
        raise LabelError(
            f"{folder / 'eval.lbl'}: {tested.clips[unjudged[0]].name} was not judged for the class {NORMAL}; leave "
            "such clips out of eval.tsv"
        )
    if (folder / "train.lbl").is_file():
        memory = read_split(folder, "train").having(normal)
    else:
        memory = list(find_clips([str(folder / "train.tsv")]))
    return memory, tested.clips, tested.targets[:, normal] == 0


def _of_train_and_test(folder: Path) -> _Sounds:
    memory = list(find_clips([str(folder / "train")]))
    strangers = [clip.name for clip in memory if _is_other(clip.name)]
    if strangers:
        raise ValueError(f"{folder}/train: {strangers[0]} is no normal clip by its name; only those belong there")
    test = list(find_clips([str(folder / "test")]))
    kinds = [_is_other(clip.name) for clip in test]
    if None in kinds:
        raise ValueError(
            f"{folder}/test: {test[kinds.index(None)].name}: expected folders normal/ and others, or the word "
            "normal or anomaly in the name"
        )
    return memory, test, np.array(kinds, dtype=bool)


def _of_kinds(folder: Path) -> _Sounds:
    clips = list(find_clips([str(folder)]))
    stray = [clip.name for clip in clips if len(Path(clip.name).parts) == 1]
    if stray:
        raise ValueError(f"{folder}: {stray[0]} lies in no folder, so whether it is normal is not said")
    is_other = np.array([Path(clip.name).parts[0] != NORMAL for clip in clips])
    normal = np.random.default_rng(_SPLIT_SEED).permutation(np.flatnonzero(~is_other))
    half = len(normal) // 2
    test = np.sort(np.concatenate([normal[half:], np.flatnonzero(is_other)]))
    return [clips[row] for row in np.sort(normal[:half])], [clips[row] for row in test], is_other[test]


def _is_other(name: str) -> bool | None:
    """Whether a clip is another sound than a normal one, by its folder or the words of its name; None: nobody says."""
    path = Path(name)
    if len(path.parts) > 1:
        return path.parts[0].lower() != NORMAL
    words = set(re.split(r"[\W_]+", path.stem.lower()))
    says_normal, says_other = NORMAL in words, bool(words & _OTHER)
    return None if says_normal == says_other else says_other
