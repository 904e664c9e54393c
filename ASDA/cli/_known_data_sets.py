"""The known data sets as sub-commands of `asda-manifest`: what each is called, its own flags, its plan."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ..data.corpora.audioset import plan_audioset
from ..data.corpora.corpus import (
    AUDIOSET,
    FSD50K,
    GTZAN,
    IEMOCAP,
    OPENMIC,
    SPEECH_COMMANDS_V1_WORDS,
    SPEECH_COMMANDS_V2,
    VOXCELEB1,
)
from ..data.corpora.folded import FOLDED_LAYOUTS, FoldedLayout, plan_folded
from ..data.corpora.fsd50k import plan_fsd50k
from ..data.corpora.gtzan import plan_gtzan
from ..data.corpora.iemocap import plan_iemocap
from ..data.corpora.librispeech import SUBSETS, plan_librispeech
from ..data.corpora.openmic import plan_openmic
from ..data.corpora.speechcommands import plan_commands, plan_words
from ..data.corpora.tables import official_table
from ..data.corpora.voxceleb1 import plan_voxceleb1
from ..data.labels import LabelTable
from ..data.manifest import ManifestError
from ..data.preparation.plan import Plan
from ._parser import pair

SPEECH_COMMANDS_CLASSES = {1: (12, 30), 2: (35,)}
"""Numbers of classes of each version, the default first."""


def _no_flags(parser: argparse.ArgumentParser) -> None:
    """Of a data set that needs none."""


@dataclass(frozen=True)
class KnownDataSet:
    """A sub-command.

    Attributes:
        name: of the sub-command.
        help: what it makes manifests of.
        plan: from what was parsed (`root`, `out`, `workers` and the data set's own flags).
        add_flags: adds these.
    """

    name: str
    help: str
    plan: Callable[[argparse.Namespace], Plan]
    add_flags: Callable[[argparse.ArgumentParser], None] = _no_flags


def _audioset_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--segments", nargs="+", type=pair(str), required=True, metavar="SPLIT=CSV",
        help="lists of a split, several if need be: train=balanced.csv train=unbalanced.csv eval=eval.csv",
    )  # fmt: skip
    parser.add_argument(
        "--class-labels", type=Path, metavar="CSV", help="class_labels_indices.csv, if not the official"
    )
    parser.add_argument("--short-below-s", type=float, default=1.0, help="report clips shorter than this (default 1 s)")


def _plan_audioset(args: argparse.Namespace) -> Plan:
    table = LabelTable.read(args.class_labels) if args.class_labels else official_table(AUDIOSET)
    lists: dict[str, list[Path]] = {}
    for split, file in args.segments:
        lists.setdefault(split, []).append(Path(file))
    return plan_audioset(args.root, lists, table, args.short_below_s)


def _plan_folded(layout: FoldedLayout, args: argparse.Namespace) -> Plan:
    return plan_folded(args.root, layout)


def _speechcommands_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--version", type=int, choices=(1, 2), default=2, help="of the data set (default 2)")
    parser.add_argument(
        "--classes", type=int, choices=(12, 30, 35),
        help="version 1: 12 (default), ten commands, unknown and silence; or 30, all words. Version 2: 35, all words",
    )  # fmt: skip
    parser.add_argument(
        "--test-set", type=Path, metavar="DIR", help="12 classes: their own test set, speech_commands_test_set_v0.01"
    )
    parser.add_argument("--seed", type=int, default=1, help="12 classes: of the places where silence is cut")


def _plan_speechcommands(args: argparse.Namespace) -> Plan:
    choices = SPEECH_COMMANDS_CLASSES[args.version]
    classes = args.classes or choices[0]
    if classes not in choices:
        there = " or ".join(map(str, choices))
        raise ManifestError(f"--classes {classes}: version {args.version} of Speech Commands has {there}")
    if args.test_set and classes != 12:
        raise ManifestError("--test-set is that of the twelve classes (--version 1); all words have their own lists")
    if classes == 12:
        return plan_commands(args.root, args.out / "silence", args.seed, args.test_set)
    return plan_words(args.root, SPEECH_COMMANDS_V2 if classes == 35 else SPEECH_COMMANDS_V1_WORDS)


def _librispeech_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--subsets", nargs="+", choices=list(SUBSETS), help="those to take (default: all there are)")
    parser.add_argument("--separate", action="store_true", help="a manifest for each train-* subset, no joint train")


def _plan_librispeech(args: argparse.Namespace) -> Plan:
    return plan_librispeech(args.root, args.subsets, args.separate, args.workers)


def _voxceleb1_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--list", type=Path, metavar="TXT", help="iden_split.txt, if it does not lie in the root")


def _gtzan_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--lists", type=Path, metavar="DIR",
        help="folder of the fault-filtered lists ({train,valid,test}_filtered.txt), if they do not lie in the root",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=1, help="without the lists: of the random division (default 1)")


KNOWN_DATA_SETS = (
    KnownDataSet(
        AUDIOSET.name, "AudioSet: Google's segment lists and a folder of clips", _plan_audioset, _audioset_flags
    ),
    *(
        KnownDataSet(
            layout.corpus.name, f"{layout.corpus.title}, {layout.corpus.num_folds} folds", partial(_plan_folded, layout)
        )
        for layout in FOLDED_LAYOUTS
    ),
    KnownDataSet(FSD50K.name, FSD50K.title, lambda args: plan_fsd50k(args.root)),
    KnownDataSet(
        "speechcommands", "Speech Commands with its official lists", _plan_speechcommands, _speechcommands_flags
    ),
    KnownDataSet("librispeech", "LibriSpeech without labels, for pre-training", _plan_librispeech, _librispeech_flags),
    KnownDataSet(
        VOXCELEB1.name,
        "VoxCeleb1, speaker identification by iden_split.txt",
        lambda args: plan_voxceleb1(args.root, args.list),
        _voxceleb1_flags,
    ),
    KnownDataSet(IEMOCAP.name, "IEMOCAP, four emotions, five sessions as folds", lambda args: plan_iemocap(args.root)),
    KnownDataSet(OPENMIC.name, "OpenMIC-2018, 20 instruments, partly judged", lambda args: plan_openmic(args.root)),
    KnownDataSet(
        GTZAN.name, "GTZAN, ten genres", lambda args: plan_gtzan(args.root, args.lists, args.seed), _gtzan_flags
    ),
)
"""In the order in which `--help` lists them."""
