"""asda-infer: which sounds does a clip hold?

asda-infer --checkpoint_dir finetuned.pt --source_file clip.wav --label_file labels.csv --top_k_prediction 5
asda-infer --checkpoint_dir finetuned.pt recordings/ --threshold 0.3 --json > predictions.jsonl
asda-infer --checkpoint_dir finetuned.pt meeting.flac --segments --hop 1.0 --target_length 200
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict

from . import _threads  # noqa: F401 (its settings are to be there when torch loads)

# isort: split
from ..inference.clips import find_clips
from ..inference.half_precision import cast_weights
from ..inference.model import build_classifier
from ..inference.predictions import Event, Prediction, clip_scores, events, predictions, window_scores
from ..inference.run import run_clips
from ..inference.windows import BadClip
from . import _console as console
from . import _flags as flags
from ._json import to_json
from ._outputs import one_line
from ._parser import Parser, finite, positive

DEFAULT_EVENT_THRESHOLD = 0.3


def main(argv: list[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    parser = Parser(prog="asda-infer", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_input_arguments(parser)
    flags.add_model_arguments(parser)
    flags.add_classifier_arguments(parser)
    group = parser.add_argument_group("predictions")
    group.add_argument(
        "--top_k_prediction",
        "--top_k",
        type=positive,
        default=12,
        metavar="K",
        help="most classes [%(default)s]",
    )
    group.add_argument("--threshold", type=finite, help="leave out classes with a lower score [0; for --segments 0.3]")
    group.add_argument(
        "--segments", action="store_true", help="a time line: the clip in overlapping windows of --target_length"
    )
    group.add_argument("--json", action="store_true", help="one json object per clip and line, for programs")
    group.add_argument("--errors", metavar="TSV", help="write the list of unreadable clips there")
    args = parser.parse_args(argv)
    if not args.inputs and not args.source_file:
        parser.error("name an input: --source_file, or files, folders, manifests, or - for a list on stdin")
    return console.run("asda-infer", lambda: infer(args))


def infer(args) -> int:
    """Scores every clip and prints what was found."""
    console.check_errors_path(args.errors)
    checkpoint = flags.open_checkpoint(args)
    device = flags.choose_device(args.device)
    flags.share_cores(args, device)
    model = build_classifier(checkpoint).to(device)
    flags.choose_scores(args, model)
    if args.half:
        cast_weights(model, device)
    names = flags.label_names(args, checkpoint)
    if args.segments:
        args.long = "windows"
    windowing = flags.score_windowing(args, model)
    threshold = args.threshold if args.threshold is not None else DEFAULT_EVENT_THRESHOLD if args.segments else 0.0
    clips = find_clips([*args.inputs, *([args.source_file] if args.source_file else [])], args.glob, sys.stdin)
    bad: list[BadClip] = []
    lengths = console.ClipLengths(windowing)
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
    for result in results:
        if isinstance(result, BadClip):
            bad.append(result)
            continue
        lengths.count(result.clip)
        scores = window_scores(result, model)
        path, duration_s = result.clip.clip.path, round(result.clip.duration_s, 3)
        best = predictions(clip_scores(scores, result), names, args.top_k_prediction, threshold)
        timeline = events(scores, result, names, args.top_k_prediction, threshold) if args.segments else None
        if args.json:
            record = {"path": path, "duration_s": duration_s, "predictions": [asdict(found) for found in best]}
            if timeline is not None:
                record["segments"] = [asdict(event) for event in timeline]
            print(to_json(record), flush=True)
        elif timeline is not None:
            print_timeline(path, timeline)
        else:
            print_table(path, best)
    lengths.report()
    return console.report_bad_clips(bad, len(clips), args.errors)


def print_table(path: str, best: list[Prediction]) -> None:
    """LABEL / PREDICTION, best first."""
    width = max([30, *(len(found.label) for found in best)])
    print(f"\n{one_line(path)}\n{'LABEL':<{width}}  PREDICTION")
    for found in best:
        print(f"{one_line(found.label):<{width}}  {found.score:.4f}")
    sys.stdout.flush()


def print_timeline(path: str, timeline: list[Event]) -> None:
    """START / END / LABEL / PREDICTION, in order of time."""
    width = max([30, *(len(event.label) for event in timeline)])
    print(f"\n{one_line(path)}\n{'START':>9}  {'END':>9}  {'LABEL':<{width}}  PREDICTION")
    for event in timeline:
        print(f"{event.start_s:>8.2f}s  {event.end_s:>8.2f}s  {one_line(event.label):<{width}}  {event.score:.4f}")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
