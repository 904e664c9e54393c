"""The flags of `asda-manifest`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from ..data.preparation.folder_levels import parse_level
from ..data.preparation.grouping import parse_grouping
from ._hub_formats import HUB_FORMATS
from ._known_data_sets import KNOWN_DATA_SETS
from ._parser import Parser, pair, positive

Value = TypeVar("Value")


def manifest_parser(description: str) -> argparse.ArgumentParser:
    """All sub-commands, `command` in what they parse."""
    parser = Parser(prog="asda-manifest", description=description)
    commands = parser.add_subparsers(dest="command", required=True)
    _add_folder(commands)
    for known in (*HUB_FORMATS, *KNOWN_DATA_SETS):
        known.add_flags(_writer(commands, known.name, known.help))
    _add_stats(commands)
    check = commands.add_parser("check", help="read every clip and list what a run would trip on")
    check.add_argument("paths", nargs="+", type=Path, help="manifests, or folders of manifests")
    _add_reading(check)
    _add_suggesting(check)
    return parser


def _add_folder(commands) -> None:
    folder = _writer(commands, "folder", "any tree of audio files, h5, parquet, tar or zip")
    folder.add_argument(
        "--labels", metavar="folders|CSV", help="names of sub-folders, or a csv file with file,label[;label]"
    )
    folder.add_argument(
        "--label-level",
        type=_said(parse_level),
        metavar="N|innermost",
        help="which folder names the class: 1, the outermost below the root (default), 2, ...; -1, the innermost, ...",
    )
    folder.add_argument("--label-table", type=Path, metavar="CSV", help="classes and their order (index,mid,name)")
    folder.add_argument(
        "--split",
        nargs="+",
        type=pair(float),
        metavar="NAME=SHARE",
        help="shares, scaled to a sum of 1: train=8 eval=2 (default: train=1)",
    )
    folder.add_argument("--split-column", metavar="COLUMN", help="column of the csv file that names each clip's split")
    folder.add_argument("--split-folders", action="store_true", help="the folders directly under the root are splits")
    folder.add_argument("--folds", type=int, metavar="K", help="make K folds for cross-validation")
    folder.add_argument("--seed", type=int, default=1, help="of the random division (default 1)")
    _add_suggesting(folder)


def _add_stats(commands) -> None:
    stats = commands.add_parser("stats", help="mean and standard deviation of the log-mel features")
    stats.add_argument("files", nargs="+", type=Path, help="manifests, or with --merge files written by --out")
    stats.add_argument("--merge", action="store_true", help="join the statistics of several runs or shards")
    stats.add_argument("--out", type=Path, metavar="JSON", help="write the result, for --merge and for keeping")
    stats.add_argument("--target-length", type=int, metavar="FRAMES", help="use the first frames of each clip only")
    stats.add_argument(
        "--shard", type=_shard, default=(1, 1), metavar="K/N", help="the K-th of N parts of the manifest"
    )
    stats.add_argument(
        "--max-bad-fraction", type=float, default=0.01, help="unreadable clips that stop it (default 0.01)"
    )
    _add_reading(stats)
    _add_suggesting(stats)


def _writer(commands, name: str, help: str) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=help, description=f"Manifests of {help}.")
    parser.set_defaults(suggest=False, patch_frames=None)
    parser.add_argument("root", type=Path, help="folder of the data set")
    parser.add_argument("--out", type=Path, required=True, help="folder for the manifests")
    parser.add_argument("--overwrite", action="store_true", help="replace manifests that are there")
    parser.add_argument("--workers", type=int, default=0, help="threads that read headers (default: one per core)")
    parser.add_argument(
        "--hold-out", type=pair(float), metavar="NAME=SHARE", help="carve a split out of train, e.g. valid=0.1"
    )
    parser.add_argument("--hold-out-seed", type=int, default=1, help="of that division (default 1)")
    parser.add_argument(
        "--group-by",
        type=_said(parse_grouping),
        metavar="folder[:N]|column:NAME|regex:PATTERN",
        help="keep the clips of a group, such as a speaker's, on one side of every division: by folder (the outermost "
        "that is neither split nor class, or the N-th), by a column of the csv file, or by what a pattern finds in "
        "the path",
    )
    return parser


def _add_reading(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--workers", type=int, default=0, help="threads or processes (default: one per core)")
    parser.add_argument(
        "--worker-processes",
        action=argparse.BooleanOptionalAction,
        help="the workers are processes (default: for 10,000 clips of at most 4 s, and more)",
    )
    parser.add_argument("--h5-sample-rate", type=int, default=32_000, metavar="HZ", help="of h5 data that does not say")


def _add_suggesting(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--suggest", action="store_true", help="propose task.target_length, whole patches that hold 90 %% of the clips"
    )
    parser.add_argument(
        "--patch-frames", type=positive, metavar="N", help="with --suggest: frames of a patch (default 16)"
    )


def _said(parse: Callable[[str], Value]) -> Callable[[str], Value]:
    """A type whose errors argparse prints as they are."""

    def said(text: str) -> Value:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return said


def _shard(text: str) -> tuple[int, int]:
    try:
        part, num_parts = map(int, text.split("/"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected K/N, got {text!r}") from None
    return part, num_parts
