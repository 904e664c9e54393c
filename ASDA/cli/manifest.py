"""`asda-manifest`: from a folder of audio to the manifests of a training run, and what to know about them."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from ..data.corpora.audioset import plan_audioset
from ..data.corpora.corpus import AUDIOSET, FSD50K
from ..data.corpora.folded import FOLDED_LAYOUTS, plan_folded
from ..data.corpora.fsd50k import plan_fsd50k
from ..data.corpora.speechcommands import plan_speechcommands_v1, plan_speechcommands_v2
from ..data.corpora.tables import official_table
from ..data.labels import LabelTable
from ..data.manifest import Manifest, ManifestError
from ..data.preparation.checking import check_manifest
from ..data.preparation.folder import plan_folder
from ..data.preparation.identical import SplitContents, identical_clips
from ..data.preparation.plan import Plan, Problem
from ..data.preparation.splitting import hold_out
from ..data.preparation.statistics import FeatureStatistics, feature_statistics
from ..data.preparation.writing import REPORT_NAME, refuse_existing, write_plan
from ._console import EXIT_OK, MAX_LISTED, note, run
from ._outputs import holds, refuse_foreign
from ._parser import Parser

EXIT_PROBLEMS = 1
"""`check` has found problems."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program.

    Returns:
        The exit code: 0, or 1 after an error or when `check` has found problems.
    """
    args = _parser().parse_args(argv)
    return run(f"asda-manifest {args.command}", lambda: args.run(args))


def _run_folder(args: argparse.Namespace) -> int:
    return _write(
        args,
        lambda: plan_folder(
            args.root,
            labels=args.labels,
            table=LabelTable.read(args.label_table) if args.label_table else None,
            ratios=dict(args.split) if args.split else None,
            split_column=args.split_column,
            split_folders=args.split_folders,
            num_folds=args.folds,
            seed=args.seed,
        ),
    )


def _run_audioset(args: argparse.Namespace) -> int:
    table = LabelTable.read(args.class_labels) if args.class_labels else official_table(AUDIOSET)
    lists: dict[str, list[Path]] = {}
    for split, file in args.segments:
        lists.setdefault(split, []).append(Path(file))
    return _write(args, lambda: plan_audioset(args.root, lists, table, args.short_below_s))


def _run_folded(args: argparse.Namespace) -> int:
    return _write(args, lambda: plan_folded(args.root, args.layout))


def _run_speechcommands(args: argparse.Namespace) -> int:
    if args.version == 2:
        return _write(args, lambda: plan_speechcommands_v2(args.root))
    return _write(args, lambda: plan_speechcommands_v1(args.root, args.out / "silence", args.seed))


def _write(args: argparse.Namespace, make_plan) -> int:
    refuse_existing(args.out, args.overwrite)  # before any long work
    plan: Plan = make_plan()
    if args.hold_out:
        plan.splits = hold_out(plan.splits, *args.hold_out, args.hold_out_seed)
    for summary in write_plan(plan, args.out, args.workers, args.overwrite):
        print(f"{summary.name}: {summary.num_clips} clips, {summary.hours:.2f} h")
    if plan.table is not None:
        print(f"{len(plan.table)} classes")
    _print_problems("reported", plan.problems, listed=0)
    print(f"written to {args.out}" + (f"; {REPORT_NAME} there names each clip" if plan.problems else ""))
    return EXIT_OK


def _run_stats(args: argparse.Namespace) -> int:
    if args.out:
        refuse_foreign(args.out, "statistics of features", holds('"sum_of_squares"'))
    if args.merge:
        statistics = FeatureStatistics.read(args.files[0])
        for file in args.files[1:]:
            statistics = statistics.merge(FeatureStatistics.read(file))
    else:
        statistics = FeatureStatistics(target_length_frames=args.target_length)
        for file in args.files:
            part, bad_clips = feature_statistics(
                Manifest.read(file),
                target_length_frames=args.target_length,
                shard=args.shard,
                workers=args.workers,
                max_bad_fraction=args.max_bad_fraction,
                h5_sample_rate_hz=args.h5_sample_rate,
            )
            statistics = statistics.merge(part)
            if len(bad_clips):
                note(f"{file}: {len(bad_clips)} clips could not be read and are left out")
    statistics.require_usable()
    print(f"{statistics.num_clips} clips, {statistics.num_values} values")
    if len(statistics.lengths) == statistics.num_clips:  # not of files that an earlier version wrote
        print(statistics.lengths.summary())
    print(statistics.overrides)
    if args.out:
        statistics.write(args.out)
    return EXIT_OK


def _run_check(args: argparse.Namespace) -> int:
    num_problems = 0
    splits: dict[Path, list[SplitContents]] = {}  # of a folder: those of a fold are not compared with another fold's
    for file in _manifests(args.paths):
        result = check_manifest(file, args.workers, args.h5_sample_rate)
        if result.contents is not None:
            splits.setdefault(file.resolve().parent, []).append(result.contents)
            result.notes += identical_clips([result.contents])[1]
        num_problems += len(result.problems)
        print(f"{file}: {result.num_clips} clips, {result.seconds / 3600:.2f} h")
        if result.lengths.counts:
            print(f"  {result.lengths.summary()}")
        for (rate_hz, channels), count in result.formats.most_common():
            print(f"  {count} clips at {rate_hz} Hz with {channels} channel{'s' if channels > 1 else ''}")
        _print_problems("problems", result.problems, listed=None)
        _print_problems("notes", result.notes, listed=MAX_LISTED)
    for folder, contents in splits.items():
        shared = identical_clips(contents)[0]
        num_problems += len(shared)
        if shared:
            print(f"{folder}: clips of one split are in another")
            _print_problems("problems", shared, listed=None)
    print("no problems" if num_problems == 0 else f"{num_problems} problems")
    return EXIT_PROBLEMS if num_problems else EXIT_OK


def _manifests(paths: Sequence[Path]) -> list[Path]:
    files = []
    for path in paths:
        found = sorted(path.rglob("*.tsv")) if path.is_dir() else [path]
        files += found
        if not found:
            raise ManifestError(f"{path}: no manifest in this folder")
    return files


def _print_problems(title: str, problems: Sequence[Problem], listed: int | None) -> None:
    if not problems:
        return
    counts = Counter(problem.kind for problem in problems)
    print(f"  {title}: " + ", ".join(f"{count} {kind}" for kind, count in counts.items()))
    shown = problems if listed is None else problems[:listed]
    for problem in shown:
        print(f"    {problem.kind}\t{problem.clip}\t{problem.detail}")
    if listed and len(problems) > listed:
        print(f"    ... and {len(problems) - listed} more")


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="asda-manifest", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    folder = _writer(commands, "folder", "any tree of audio files, h5, tar or zip", _run_folder)
    folder.add_argument(
        "--labels", metavar="folders|CSV", help="sub-folder names, or a csv file with file,label[;label]"
    )
    folder.add_argument("--label-table", type=Path, metavar="CSV", help="classes and their order (index,mid,name)")
    folder.add_argument(
        "--split",
        nargs="+",
        type=_pair(float),
        metavar="NAME=SHARE",
        help="shares, scaled to a sum of 1: train=8 eval=2 (default: train=1)",
    )
    folder.add_argument("--split-column", metavar="COLUMN", help="column of the csv file that names each clip's split")
    folder.add_argument("--split-folders", action="store_true", help="the folders directly under the root are splits")
    folder.add_argument("--folds", type=int, metavar="K", help="make K folds for cross-validation")
    folder.add_argument("--seed", type=int, default=1, help="of the random division (default 1)")

    audioset = _writer(commands, AUDIOSET.name, "AudioSet: Google's segment lists and a folder of clips", _run_audioset)
    audioset.add_argument(
        "--segments", nargs="+", type=_pair(str), required=True, metavar="SPLIT=CSV",
        help="lists of a split, several if need be: train=balanced.csv train=unbalanced.csv eval=eval.csv",
    )  # fmt: skip
    audioset.add_argument(
        "--class-labels", type=Path, metavar="CSV", help="class_labels_indices.csv, if not the official"
    )
    audioset.add_argument(
        "--short-below-s", type=float, default=1.0, help="report clips shorter than this (default 1 s)"
    )

    for layout in FOLDED_LAYOUTS:
        corpus = layout.corpus
        writer = _writer(commands, corpus.name, f"{corpus.title}, {corpus.num_folds} folds", _run_folded)
        writer.set_defaults(layout=layout)
    _writer(commands, FSD50K.name, FSD50K.title, lambda args: _write(args, lambda: plan_fsd50k(args.root)))
    speech = _writer(commands, "speechcommands", "Speech Commands with its official lists", _run_speechcommands)
    speech.add_argument(
        "--version", type=int, choices=(1, 2), default=2, help="1: 10 commands, unknown, silence; 2: 35 words"
    )
    speech.add_argument("--seed", type=int, default=1, help="of the places where silence is cut (version 1)")

    stats = commands.add_parser("stats", help="mean and standard deviation of the log-mel features")
    stats.set_defaults(run=_run_stats)
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

    check = commands.add_parser("check", help="read every clip and list what a run would trip on")
    check.set_defaults(run=_run_check)
    check.add_argument("paths", nargs="+", type=Path, help="manifests, or folders of manifests")
    _add_reading(check)
    return parser


def _writer(commands, name: str, help: str, run) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=help, description=f"Manifests of {help}.")
    parser.set_defaults(run=run)
    parser.add_argument("root", type=Path, help="folder of the data set")
    parser.add_argument("--out", type=Path, required=True, help="folder for the manifests")
    parser.add_argument("--overwrite", action="store_true", help="replace manifests that are there")
    parser.add_argument("--workers", type=int, default=0, help="threads that read headers (default: one per core)")
    parser.add_argument(
        "--hold-out", type=_pair(float), metavar="NAME=SHARE", help="carve a split out of train, e.g. valid=0.1"
    )
    parser.add_argument("--hold-out-seed", type=int, default=1, help="of that division (default 1)")
    return parser


def _add_reading(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--workers", type=int, default=0, help="threads (default: one per core)")
    parser.add_argument("--h5-sample-rate", type=int, default=32_000, metavar="HZ", help="of h5 data that does not say")


def _pair(value_type):
    def pair(text: str):
        name, equals, value = text.partition("=")
        if not name or not equals or not value or "/" in name:
            raise argparse.ArgumentTypeError(f"expected NAME=VALUE, got {text!r}")
        try:
            return name, value_type(value)
        except ValueError:
            raise argparse.ArgumentTypeError(f"expected a number after {name}=, got {value!r}") from None

    return pair


def _shard(text: str) -> tuple[int, int]:
    try:
        part, num_parts = map(int, text.split("/"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected K/N, got {text!r}") from None
    return part, num_parts


if __name__ == "__main__":
    sys.exit(main())
