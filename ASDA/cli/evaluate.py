"""asda-eval: how good is a fine-tuned model on a labelled data set?"""

from __future__ import annotations

import csv
import math
import sys
from pathlib import Path

import numpy as np

from ..data.atomic import atomic_writer
from ..data.labels import LabelTable, read_clip_labels
from ..data.manifest import Manifest
from ..inference.clips import find_clips
from ..inference.model import build_classifier
from ..inference.run import run_clips
from ..inference.windows import BadClip, Windowing
from ..metrics import accuracy, mean_average_precision
from . import _common as common


def main(argv: list[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    parser = common.Parser(prog="asda-eval", description=__doc__)
    parser.add_argument("--eval_dir", required=True, metavar="DIR", help="folder with eval.tsv and eval.lbl")
    parser.add_argument("--split", default="eval", help="name of the manifest [%(default)s]")
    parser.add_argument("--label_file", metavar="CSV", help="class table [label_descriptors.csv in --eval_dir]")
    parser.add_argument("--ap_log_path", metavar="CSV", help="where to write the per-class table")
    common.add_model_arguments(parser)
    args = parser.parse_args(argv)
    return common.run("asda-eval", lambda: evaluate(args))


def evaluate(args) -> int:
    """Scores every clip of the split and prints the metrics."""
    checkpoint = common.open_checkpoint(args)
    device = common.choose_device(args.device)
    folder = Path(args.eval_dir)
    table = LabelTable.read(args.label_file or folder / "label_descriptors.csv")
    common.check_labels(checkpoint, table)
    manifest = Manifest.read(folder / f"{args.split}.tsv")
    labels = read_clip_labels(folder / f"{args.split}.lbl", manifest, table)
    model = build_classifier(checkpoint).to(device)

    targets = np.zeros((len(manifest), len(table)), dtype=bool)
    scores = np.zeros((len(manifest), len(table)), dtype=np.float32)
    for row in range(len(manifest)):
        targets[row, labels.targets(row)] = True
    bad: list[BadClip] = []
    results = run_clips(
        model.logits,
        enumerate(find_clips([str(manifest.file)])),
        Windowing(model.front_end, patch_size=model.encoder.patch_size),
        device=device,
        batch_size=args.batch_size,
        num_threads=args.num_workers,
    )
    for result in results:
        if isinstance(result, BadClip):
            bad.append(result)
            continue
        scores[result.clip.index] = model.scores_of(result.outputs[0]).numpy()
    kept = np.ones(len(manifest), dtype=bool)
    kept[[clip.index for clip in bad]] = False
    if not kept.any():
        raise ValueError(
            f"{manifest.file}: none of the {len(manifest)} clips could be read; the first: {bad[0].reason}"
        )
    targets, scores = targets[kept], scores[kept]

    result = mean_average_precision(targets, scores)
    print(f"clips: {len(targets)}")
    print(f"mAP: {result.value:.5f}")
    if result.num_skipped_classes:
        print(f"classes without a positive clip, left out: {result.num_skipped_classes}")
    if checkpoint.multi_label is False:
        print(f"accuracy: {accuracy(targets, scores):.5f}")
    if args.ap_log_path:
        write_table(args.ap_log_path, table, targets, result.per_class)
        print(f"per-class AP: {args.ap_log_path}")
    for clip in bad:
        common.note(f"{clip.clip.path}: {clip.reason}")
    if bad:
        common.note(f"{len(bad)} of {len(manifest)} clips could not be read and are not in the metrics")
    return common.EXIT_BAD_CLIPS if bad else common.EXIT_OK


def write_table(path: str, table: LabelTable, targets: np.ndarray, per_class: list[float]) -> None:
    """One row per class, in the order of the head."""
    with atomic_writer(path) as handle:
        rows = csv.writer(handle, lineterminator="\n")
        rows.writerow(["index", "mid", "display_name", "positives", "average_precision"])
        for index, (mid, name, value) in enumerate(zip(table.mids, table.names, per_class, strict=True)):
            shown = "" if math.isnan(value) else f"{value:.6f}"
            rows.writerow([index, mid, name, int(targets[:, index].sum()), shown])


if __name__ == "__main__":
    sys.exit(main())
