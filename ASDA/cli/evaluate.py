"""asda-eval: how good is a fine-tuned model on a labelled data set?

asda-eval --checkpoint_dir finetuned.pt --eval_dir manifests/ --label_file labels.csv --ap_log_path per_class.csv
"""

from __future__ import annotations

import argparse
import csv
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np

from . import _threads  # noqa: F401 (its settings are to be there when torch loads)

# isort: split
from ..atomic import atomic_writer
from ..data.labels import LabelTable, read_clip_labels
from ..data.manifest import Manifest
from ..inference.clips import find_clips
from ..inference.half_precision import cast_weights
from ..inference.model import TrainedClassifier, build_classifier
from ..inference.predictions import clip_scores, window_scores
from ..inference.run import run_clips
from ..inference.windows import BadClip
from ..metrics import (
    accuracy,
    average_precision_per_class,
    bootstrap_interval,
    confusion_matrix,
    d_prime,
    mean_auc,
    mean_average_precision,
)
from . import _console as console
from . import _flags as flags
from ._json import to_json
from ._outputs import begins_with, refuse_foreign, refuse_same
from ._parser import Parser

BOOTSTRAP_SEED = 1
MATRIX_CORNER = "class \\ taken for"
TABLE_COLUMNS = ("index", "mid", "display_name", "positives")


def main(argv: list[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    parser = Parser(prog="asda-eval", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--eval_dir", required=True, metavar="DIR", help="folder with {split}.tsv and {split}.lbl")
    parser.add_argument("--split", default="eval", help="which of its manifests [%(default)s]")
    flags.add_h5_argument(parser)
    flags.add_model_arguments(parser)
    flags.add_classifier_arguments(parser)
    group = parser.add_argument_group("report")
    group.add_argument("--ap_log_path", metavar="CSV", help="write the per-class table there")
    group.add_argument(
        "--confusion", metavar="CSV", help="one label per clip: write there what the clips of each class were taken for"
    )
    group.add_argument(
        "--bootstrap", type=int, default=1000, metavar="N", help="draws for the 95 %% intervals; 0: none [%(default)s]"
    )
    group.add_argument("--json", action="store_true", help="print one json object instead of lines")
    group.add_argument("--errors", metavar="TSV", help="write the list of unreadable clips there")
    args = parser.parse_args(argv)
    return console.run("asda-eval", lambda: evaluate(args))


def evaluate(args) -> int:
    """Scores every clip of the split and prints the metrics."""
    console.check_errors_path(args.errors)
    if args.ap_log_path:
        refuse_foreign(args.ap_log_path, "a per-class table", begins_with(",".join(TABLE_COLUMNS)))
    if args.confusion:
        refuse_foreign(args.confusion, "a confusion matrix", begins_with(f"{MATRIX_CORNER},"))
    refuse_same({"--errors": args.errors, "--ap_log_path": args.ap_log_path, "--confusion": args.confusion})
    checkpoint = flags.open_checkpoint(args)
    device = flags.choose_device(args.device)
    flags.share_cores(args, device)
    folder = Path(args.eval_dir)
    table = LabelTable.read(args.label_file or folder / "label_descriptors.csv")
    flags.check_labels(checkpoint, table)
    manifest = Manifest.read(folder / f"{args.split}.tsv")
    labels_file = folder / f"{args.split}.lbl"
    labels = read_clip_labels(labels_file, manifest, table)
    model = build_classifier(checkpoint).to(device)
    flags.choose_scores(args, model)
    if args.half:
        cast_weights(model, device)

    partial = labels.absent is not None
    if args.confusion and (labels.max_labels_per_clip > 1 or partial):
        fault = "was not judged for every class of each clip" if partial else "has clips with several labels"
        raise ValueError(f"--confusion: {labels_file} {fault}; leave --confusion out")
    targets = labels.multi_hots()
    scores, bad = score_clips(args, model, manifest)
    readable = np.ones(len(manifest), dtype=bool)
    readable[[clip.index for clip in bad]] = False
    if not readable.any():
        raise ValueError(
            f"{manifest.file}: none of its {len(manifest)} clips could be read; the first: {bad[0].reason}"
        )
    targets, scores = targets[readable], scores[readable]

    single_label = not partial and (
        checkpoint.multi_label is False or (checkpoint.multi_label is None and bool((targets.sum(axis=1) == 1).all()))
    )
    if partial:
        console.note(
            f"partial labels: {labels.judged_share:.1%} of the pairs of a clip and a class were judged; the others "
            "enter no metric" + (", and there is no accuracy" if checkpoint.multi_label is False else "")
        )
    elif num_unlabelled := int((~targets.any(axis=1)).sum()):
        console.note(
            f"{num_unlabelled} clips have no label: they count as negatives of every class"
            + (", and accuracy leaves them out" if single_label else "")
        )
    report = {"clips": len(targets), "unreadable": len(bad), **metrics(targets, scores, single_label, args.bootstrap)}
    if args.json:
        print(to_json(report))
    else:
        print_report(report)
    if args.ap_log_path:
        write_table(Path(args.ap_log_path), table, targets, scores, single_label)
        console.note(f"per-class table: {args.ap_log_path}")
    if args.confusion:
        labelled = targets.any(axis=1)
        write_matrix(Path(args.confusion), table, confusion_matrix(targets[labelled], scores[labelled]))
        console.note(f"confusion matrix: {args.confusion}")
    return console.report_bad_clips(bad, len(manifest), args.errors)


def score_clips(args, model: TrainedClassifier, manifest: Manifest) -> tuple[np.ndarray, list[BadClip]]:
    """Scores (clips, C) of a manifest, in its order, and the clips that could not be read."""
    clips = find_clips([str(manifest.file)])
    windowing = flags.score_windowing(args, model)
    scores = np.zeros((len(clips), model.num_classes), dtype=np.float32)
    bad: list[BadClip] = []
    lengths = console.ClipLengths(windowing)
    device = next(model.parameters()).device
    results = run_clips(
        model.logits,
        enumerate(clips),
        windowing,
        device=device,
        batch_size=args.batch_size,
        half=args.half,
        num_workers=args.num_workers,
        processes=flags.decodes_in_processes(args, device, clips, range(len(clips))),
        h5_sample_rate_hz=args.h5_sample_rate,
    )
    for result in console.progress(results, len(clips)):
        if isinstance(result, BadClip):
            bad.append(result)
        else:
            lengths.count(result.clip)
            scores[result.clip.index] = clip_scores(window_scores(result, model), result).numpy()
    lengths.report()
    return scores, bad


def metrics(targets: np.ndarray, scores: np.ndarray, single_label: bool, draws: int) -> dict[str, Any]:
    """The metrics that fit the data, each as (value, low, high), or the value alone without bootstrap."""

    def with_interval(metric, value: float, targets=targets, scores=scores) -> dict[str, float]:
        if draws < 1 or len(scores) == 0:
            return {"value": value}
        low, high = bootstrap_interval(metric, targets, scores, BOOTSTRAP_SEED, draws, value=value)
        return {"value": value, "low": low, "high": high}

    precision = mean_average_precision(targets, scores)
    auc = with_interval(mean_auc, mean_auc(targets, scores))
    found: dict[str, Any] = {
        "classes_left_out": precision.num_skipped_classes,
        "mAP": with_interval(mean_average_precision, precision.value),
        "AUC": auc,
        # d' is a monotonic function of the AUC, so the interval's ends go through it too.
        "d_prime": {name: d_prime(value) for name, value in auc.items()},
    }
    if single_label:
        labelled = targets.any(axis=1)  # a clip of no class has no right answer
        theirs = targets[labelled], scores[labelled]
        found["accuracy"] = with_interval(accuracy, accuracy(*theirs), *theirs)
    return found


def print_report(report: dict[str, Any]) -> None:
    """One metric per line."""
    for name, value in report.items():
        if not isinstance(value, dict):
            print(f"{name}: {value}")
        elif "low" in value:
            print(f"{name}: {value['value']:.5f}  (95 % interval {value['low']:.5f} to {value['high']:.5f})")
        else:
            print(f"{name}: {value['value']:.5f}")


def write_table(path: Path, table: LabelTable, targets: np.ndarray, scores: np.ndarray, single_label: bool) -> None:
    """One row per class, in the order of the head; a metric that is not defined stays empty."""
    columns = {
        "average_precision": average_precision_per_class(targets, scores).tolist(),
        "auc": [mean_auc(targets[:, [c]], scores[:, [c]]) for c in range(len(table))],
    }
    if single_label:
        columns["accuracy"] = [
            accuracy(targets[mine], scores[mine]) if (mine := targets[:, c] == 1).any() else math.nan
            for c in range(len(table))
        ]
    with atomic_writer(path) as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow([*TABLE_COLUMNS, *columns])
        for index, (mid, name) in enumerate(zip(table.mids, table.names, strict=True)):
            values = ["" if math.isnan(column[index]) else f"{column[index]:.6f}" for column in columns.values()]
            rows.writerow([index, mid, name, int((targets[:, index] == 1).sum()), *values])


def write_matrix(path: Path, table: LabelTable, matrix: np.ndarray) -> None:
    """A row per class, by name, in the order of the head: how many of its clips were taken for each class."""
    with atomic_writer(path) as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow([MATRIX_CORNER, *table.names])
        rows.writerows([name, *counts] for name, counts in zip(table.names, matrix.tolist(), strict=True))


if __name__ == "__main__":
    sys.exit(main())
