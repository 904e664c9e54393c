"""Data sets that are published in folds for cross-validation: fold k is for evaluation, all others for training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..manifest import ManifestError
from ..preparation.plan import Plan, PlannedClip
from ..preparation.splitting import cross_validation
from .corpus import ESC50, URBANSOUND8K, Corpus
from .tables import official_table, read_csv, require_layout


@dataclass(frozen=True)
class FoldedLayout:
    """Where a data set in folds keeps what; its clips are listed in one csv file.

    Attributes:
        corpus: the data set, which has folds and an official class table.
        list_file: the csv file.
        file_column, fold_column, index_column, class_column: its columns.
        path: where a clip lies, from its fold and file name.
    """

    corpus: Corpus
    list_file: str
    file_column: str
    index_column: str
    class_column: str
    path: str
    fold_column: str = "fold"


FOLDED_LAYOUTS = (
    FoldedLayout(ESC50, "meta/esc50.csv", "filename", "target", "category", "audio/{file}"),
    FoldedLayout(
        URBANSOUND8K,
        "metadata/UrbanSound8K.csv",
        "slice_file_name",
        "classID",
        "class",
        "audio/fold{fold}/{file}",
    ),
)


def plan_folded(root: Path, layout: FoldedLayout) -> Plan:
    """Reads the layout; `fold1/train`, `fold1/eval`, and so on.

    Raises:
        ManifestError: another layout, or a class whose number is not the official one.
    """
    corpus = layout.corpus
    require_layout(root, ("audio", layout.list_file), corpus.name)
    table = official_table(corpus)
    assert corpus.num_folds is not None  # that of a FoldedLayout has folds
    folds: dict[str, list[PlannedClip]] = {str(k): [] for k in range(1, corpus.num_folds + 1)}
    columns = (layout.file_column, layout.fold_column, layout.index_column, layout.class_column)
    for where, row in read_csv(root / layout.list_file, columns):
        file, fold, index, name = (row[column] for column in columns)
        if fold not in folds:
            raise ManifestError(f"{where}: expected a fold from 1 to {corpus.num_folds}, got {fold!r}")
        if index != str(table.index(name, where)):
            raise ManifestError(f"{where}: {name!r} is class {table.index(name)} of {corpus.name}, got {index!r}")
        folds[fold].append(PlannedClip(layout.path.format(fold=fold, file=file), (name,), columns=row))
    return Plan(root, cross_validation(folds), table, title=corpus.title, published=corpus.num_clips)
