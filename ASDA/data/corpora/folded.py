"""Data sets that are published in folds for cross-validation: fold k is for evaluation, all others for training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..manifest import ManifestError
from ..preparation.plan import Plan, PlannedClip
from ..preparation.splitting import cross_validation
from .tables import official_table, read_csv, require_layout


@dataclass(frozen=True)
class FoldedDataset:
    """Layout of a data set whose clips are listed in one csv file.

    Args:
        name: folder of its class table in `data_manifest/`.
        num_folds: how many folds there are.
        list_file: the csv file.
        file_column, fold_column, index_column, class_column: its columns.
        path: where a clip lies, from its fold and file name.
    """

    name: str
    num_folds: int
    list_file: str
    file_column: str
    index_column: str
    class_column: str
    path: str
    fold_column: str = "fold"


ESC50 = FoldedDataset("esc50", 5, "meta/esc50.csv", "filename", "target", "category", "audio/{file}")
URBANSOUND8K = FoldedDataset(
    "urbansound8k",
    10,
    "metadata/UrbanSound8K.csv",
    "slice_file_name",
    "classID",
    "class",
    "audio/fold{fold}/{file}",
)


def plan_folded(root: Path, dataset: FoldedDataset) -> Plan:
    """Reads the layout; `fold1/train`, `fold1/eval`, and so on.

    Raises:
        ManifestError: another layout, or a class whose number is not the official one.
    """
    require_layout(root, ("audio", dataset.list_file), dataset.name)
    table = official_table(dataset.name)
    folds: dict[str, list[PlannedClip]] = {str(k): [] for k in range(1, dataset.num_folds + 1)}
    columns = (dataset.file_column, dataset.fold_column, dataset.index_column, dataset.class_column)
    for where, row in read_csv(root / dataset.list_file, columns):
        file, fold, index, name = (row[column] for column in columns)
        if fold not in folds:
            raise ManifestError(f"{where}: expected a fold from 1 to {dataset.num_folds}, got {fold!r}")
        if index != str(table.index(name, where)):
            raise ManifestError(f"{where}: {name!r} is class {table.index(name)} of {dataset.name}, got {index!r}")
        folds[fold].append(PlannedClip(dataset.path.format(fold=fold, file=file), (name,)))
    return Plan(root, cross_validation(folds), table)
