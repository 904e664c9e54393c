"""FSD50K: 51,197 clips of 0.3 to 30 s, 200 classes, several per clip.

Layout: `FSD50K.dev_audio/`, `FSD50K.eval_audio/` and `FSD50K.ground_truth/` with `dev.csv`
(`fname,labels,mids,split`), `eval.csv` (`fname,labels,mids`) and `vocabulary.csv` (`index,label,mid`, no heading).
"""

from __future__ import annotations

import csv
from pathlib import Path

from ..labels import LabelTable
from ..manifest import ManifestError, open_table
from ..preparation.plan import Plan, PlannedClip
from .corpus import FSD50K
from .tables import mids_of, read_csv, require_layout

_SPLIT_NAMES = {"train": "train", "val": "valid"}


def plan_fsd50k(root: Path) -> Plan:
    """Reads the layout; `train` and `valid` are the published division of the development set, `eval` the other set."""
    truth = root / "FSD50K.ground_truth"
    folders = ("FSD50K.dev_audio", "FSD50K.eval_audio", "FSD50K.ground_truth/vocabulary.csv")
    require_layout(root, folders, "FSD50K")
    table = _read_vocabulary(truth / "vocabulary.csv")
    splits: dict[str, list[PlannedClip]] = {"train": [], "valid": [], "eval": []}
    for where, row in read_csv(truth / "dev.csv", ("fname", "mids", "split")):
        if row["split"] not in _SPLIT_NAMES:
            raise ManifestError(f"{where}: expected split train or val, got {row['split']!r}")
        splits[_SPLIT_NAMES[row["split"]]].append(_clip("FSD50K.dev_audio", row, table, where))
    for where, row in read_csv(truth / "eval.csv", ("fname", "mids")):
        splits["eval"].append(_clip("FSD50K.eval_audio", row, table, where))
    return Plan(root, splits, table, title=FSD50K.title, published=FSD50K.num_clips)


def _clip(folder: str, row: dict[str, str], table: LabelTable, where: str) -> PlannedClip:
    return PlannedClip(f"{folder}/{row['fname']}.wav", mids_of(row["mids"], table, where), columns=row)


def _read_vocabulary(file: Path) -> LabelTable:
    with open_table(file) as handle:
        rows = list(csv.reader(handle))
    for line, row in enumerate(rows, start=1):
        if len(row) != 3 or row[0] != str(line - 1):
            raise ManifestError(f"{file}:{line}: expected `{line - 1},label,mid`, got {','.join(row)!r}")
    return LabelTable([mid for _, _, mid in rows], [name.replace("_", " ") for _, name, _ in rows], file)
