"""`asda-manifest`: from a folder of audio to the manifests of a training run, and what to know about them."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from ..data.labels import LabelTable
from ..data.manifest import Manifest, ManifestError
from ..data.preparation.checking import check_manifest
from ..data.preparation.folder import Division, plan_folder
from ..data.preparation.grouping import grouped, shared_groups
from ..data.preparation.identical import SplitContents, identical_clips
from ..data.preparation.lengths import PATCH_FRAMES, LengthDistribution
from ..data.preparation.plan import Plan, Problem
from ..data.preparation.published import unlike_published
from ..data.preparation.splitting import hold_out
from ..data.preparation.statistics import FeatureStatistics, feature_statistics
from ..data.preparation.writing import REPORT_NAME, refuse_existing, write_plan
from ._console import EXIT_OK, MAX_LISTED, note, run
from ._hub_formats import HUB_FORMATS
from ._known_data_sets import KNOWN_DATA_SETS, KnownDataSet
from ._manifest_flags import manifest_parser
from ._outputs import holds, one_line, printable, refuse_foreign
from ._worker_processes import reads_in_processes

EXIT_PROBLEMS = 1
"""`check` has found problems."""
MAX_CLASSES_LISTED = 10
MAX_LEFT_OUT_NAMED = 3


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program.

    Returns:
        The exit code: 0, or 1 after an error or when `check` has found problems.
    """
    args = _parser().parse_args(argv)
    return run(f"asda-manifest {args.command}", lambda: _RUNS[args.command](args))


def _parser() -> argparse.ArgumentParser:
    return manifest_parser(__doc__ or "")


def _run_folder(args: argparse.Namespace) -> int:
    ratios = dict(args.split) if args.split else None
    division = Division(ratios, args.split_column, args.split_folders, args.folds, args.seed)
    return _write(
        args,
        lambda: plan_folder(
            args.root,
            labels=args.labels,
            table=LabelTable.read(args.label_table) if args.label_table else None,
            division=division,
            label_level=args.label_level,
            grouping=args.group_by,
        ),
        divides=bool(args.folds) or len(ratios or {}) > 1,
    )


def _run_known(known: KnownDataSet, args: argparse.Namespace) -> int:
    return _write(args, lambda: known.plan(args))


def _write(args: argparse.Namespace, make_plan: Callable[[], Plan], divides: bool = False) -> int:
    """Makes a plan's manifests and says what is in them; ``divides``: the plan itself draws splits at random."""
    _require_use_of_flags(args)
    if args.group_by and not (divides or args.hold_out):
        raise ManifestError("--group-by keeps groups whole when clips are divided: add --hold-out, --split or --folds")
    refuse_existing(args.out, args.overwrite)  # before any long work
    plan = make_plan()
    if args.group_by:
        if not any(clip.group for clips in plan.splits.values() for clip in clips):  # only a folder's plan has them
            plan.splits = {name: grouped(clips, args.group_by) for name, clips in plan.splits.items()}
        plan.warnings += shared_groups(plan.splits)
    if args.hold_out:
        plan.splits = hold_out(plan.splits, *args.hold_out, args.hold_out_seed, plan.warnings)
    for summary in write_plan(plan, args.out, args.workers, args.overwrite):
        groups = f", {summary.num_groups} groups" if summary.num_groups else ""
        print(f"{summary.name}: {summary.num_clips} clips, {summary.hours:.2f} h{groups}")
    _print_lengths(args, plan.lengths)
    _print_classes(plan)
    _print_problems("reported", plan.problems, listed=0)
    _note_left_out(plan.problems)
    for warning in plan.warnings + unlike_published(plan, args.hold_out[0] if args.hold_out else ""):
        note(f"warning: {warning}")
    print(f"written to {args.out}" + (f"; {REPORT_NAME} there names each clip" if plan.problems else ""))
    return EXIT_OK


def _note_left_out(problems: Sequence[Problem]) -> None:
    """Names the first clips that the manifests lack although the data set has them; the report names them all."""
    left_out = [problem for problem in problems if problem.kind in ("unreadable", "missing")]
    for problem in left_out[:MAX_LEFT_OUT_NAMED]:
        note(f"left out: {problem.clip}: {problem.kind}, {problem.detail}")
    if len(left_out) > MAX_LEFT_OUT_NAMED:
        note(f"left out: {len(left_out) - MAX_LEFT_OUT_NAMED} more clips")


def _require_use_of_flags(args: argparse.Namespace) -> None:
    if args.patch_frames and not args.suggest:
        raise ManifestError("--patch-frames says which windows --suggest may propose; add --suggest")


def _print_lengths(args: argparse.Namespace, lengths: LengthDistribution, indent: str = "") -> None:
    """How long the clips are, and with --suggest the window that fits them."""
    if not lengths.counts:
        return
    print(f"{indent}{lengths.summary()}")
    if args.suggest:
        print(f"{indent}{lengths.window(args.patch_frames or PATCH_FRAMES).suggestion()}")


def _print_classes(plan: Plan) -> None:
    """How many classes; where their names were a choice also which, and how many clips each has."""
    if plan.table is None:
        return
    if not plan.labels_from:
        print(f"{len(plan.table)} classes")
        return
    print(f"{len(plan.table)} classes, {plan.labels_from}:")
    counts = list(plan.clips_of_classes().items())
    for name, count in counts[:MAX_CLASSES_LISTED]:
        print(f"  {one_line(name)}: {count} clips")
    if len(counts) > MAX_CLASSES_LISTED:
        print(f"  ... and {len(counts) - MAX_CLASSES_LISTED} more")


def _run_stats(args: argparse.Namespace) -> int:
    _require_use_of_flags(args)
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
                in_processes=partial(reads_in_processes, args),
            )
            statistics = statistics.merge(part)
            if len(bad_clips):
                note(f"{file}: {len(bad_clips)} clips could not be read and are left out")
    statistics.require_usable(", ".join(map(str, args.files)))
    print(f"{statistics.num_clips} clips, {statistics.num_values} values")
    if len(statistics.lengths) >= statistics.num_clips:  # not of files that an earlier version wrote
        _print_lengths(args, statistics.lengths)
    elif args.suggest:
        raise ManifestError("these files hold no lengths to suggest a window by; take the statistics anew")
    print(statistics.overrides)
    if args.out:
        statistics.write(args.out)
    return EXIT_OK


def _run_check(args: argparse.Namespace) -> int:
    _require_use_of_flags(args)
    num_problems = 0
    splits: dict[Path, list[SplitContents]] = {}  # of a folder: those of a fold are not compared with another fold's
    for file in _manifests(args.paths):
        result = check_manifest(file, args.workers, args.h5_sample_rate, partial(reads_in_processes, args))
        if result.contents is not None:
            splits.setdefault(file.resolve().parent, []).append(result.contents)
            result.notes += identical_clips([result.contents])[1]
        num_problems += len(result.problems)
        print(f"{file}: {result.num_clips} clips, {result.seconds / 3600:.2f} h")
        _print_lengths(args, result.lengths, indent="  ")
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
        print(f"    {problem.kind}\t{one_line(problem.clip)}\t{printable(problem.detail)}")
    if listed and len(problems) > listed:
        print(f"    ... and {len(problems) - listed} more")


_RUNS: dict[str, Callable[[argparse.Namespace], int]] = {
    "folder": _run_folder,
    **{known.name: partial(_run_known, known) for known in (*HUB_FORMATS, *KNOWN_DATA_SETS)},
    "stats": _run_stats,
    "check": _run_check,
}

if __name__ == "__main__":
    sys.exit(main())
