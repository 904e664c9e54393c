"""The formats of the Hugging Face hub as sub-commands of `asda-manifest`: their flags, their plans."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from ..data.corpora.hub_copies import HUB_COPIES
from ..data.corpora.tables import official_table
from ..data.labels import LabelTable
from ..data.manifest import ManifestError
from ..data.preparation.given_labels import Choice, GivenLabels
from ..data.preparation.grouping import ByColumn
from ..data.preparation.parquet import plan_parquet
from ..data.preparation.plan import Plan
from ..data.preparation.webdataset import plan_webdataset
from ._known_data_sets import KnownDataSet
from ._parser import pair


def _parquet_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--audio", metavar="COLUMN", help="of the clips, if several columns hold audio")
    parser.add_argument("--labels", metavar="COLUMN", help="default: labels, label, category, ... if there is one")
    _add_common(parser, "column")


def _webdataset_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--audio", metavar="ENDING", help="of the clips, if several members of a clip are audio")
    parser.add_argument(
        "--labels", metavar="cls|txt|json:FIELD",
        help="member with the label of its clip (default: cls, or a usual field of json, if there is one)",
    )  # fmt: skip
    _add_common(parser, "field of json")


def _add_common(parser: argparse.ArgumentParser, column: str) -> None:
    parser.add_argument("--no-labels", action="store_true", help="manifests for pre-training")
    parser.add_argument("--label-separator", metavar="TEXT", help="between several labels in one text, such as ;")
    parser.add_argument("--label-table", type=Path, metavar="CSV", help="classes and their order (index,mid,name)")
    parser.add_argument(
        "--dataset", choices=sorted(HUB_COPIES), help="a copy of this data set: its classes in their order, its folds"
    )
    parser.add_argument(
        "--split", nargs="+", type=pair(str), default=[], metavar="NAME=PATTERN",
        help="files of a split: train='data/bal_train/*' (default: by train, validation, test in their names)",
    )  # fmt: skip
    parser.add_argument("--fold-column", metavar="NAME", help=f"{column} that says the fold of each clip")


def _given_labels(args: argparse.Namespace) -> GivenLabels:
    if args.no_labels and (args.labels or args.label_table or args.label_separator):
        raise ManifestError("--no-labels leaves labels out; it contradicts the flags that say how to read them")
    table = LabelTable.read(args.label_table) if args.label_table else None
    given = GivenLabels(args.labels, not args.no_labels, table, args.label_separator, folds=args.fold_column)
    if args.dataset is None:
        return given
    copy = HUB_COPIES[args.dataset]
    official = official_table(copy.corpus) if copy.corpus.class_table else None
    return replace(
        given,
        table=table or official,
        separator=args.label_separator or copy.separator,
        usual_folds=copy.folds,
        left_out=copy.left_out,
        usual=copy.labels,
    )


def _finished(plan: Plan, args: argparse.Namespace) -> Plan:
    """What goes with a known data set, and with clips that nobody has said to have no labels."""
    if plan.table is None and not args.no_labels:
        plan.warnings.append("no labels are found: the manifests are for pre-training; --labels says where they stand")
    if args.dataset is None:
        return plan
    copy = HUB_COPIES[args.dataset]
    corpus = copy.corpus
    plan.title = corpus.title
    if plan.splits.keys() & corpus.num_clips.keys():  # not of folds where the copy has none
        plan.published = corpus.num_clips
    if copy.weighted and plan.table is not None:
        plan.weighted_splits = ("train",)
    if plan.table is not None and len(plan.table) != corpus.num_classes:
        plan.warnings.append(f"{len(plan.table)} classes, but {corpus.title} has {corpus.num_classes}")
    return plan


def _grouped_by(args: argparse.Namespace) -> tuple[str, ...]:
    return (args.group_by.column,) if isinstance(args.group_by, ByColumn) else ()


def _plan(make: Callable[[Path, Choice], Plan], args: argparse.Namespace) -> Plan:
    choice = Choice(_given_labels(args), args.audio, tuple(args.split), _grouped_by(args))
    return _finished(make(args.root, choice), args)


HUB_FORMATS = (
    KnownDataSet(
        "parquet", "Parquet files with embedded audio (Hugging Face)", partial(_plan, plan_parquet), _parquet_flags
    ),
    KnownDataSet(
        "webdataset",
        "tars of webdataset, json, cls or txt beside the audio",
        partial(_plan, plan_webdataset),
        _webdataset_flags,
    ),
)
"""In the order in which `--help` lists them."""
