"""asda-infer: which classes does a clip hold? A table of the best scores for each clip."""

from __future__ import annotations

import sys

import torch

from ..data.labels import LabelTable
from ..inference.clips import find_clips
from ..inference.model import build_classifier
from ..inference.run import run_clips
from ..inference.windows import BadClip, Windowing
from . import _common as common


def main(argv: list[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    parser = common.Parser(prog="asda-infer", description=__doc__)
    parser.add_argument("inputs", nargs="*", help="audio files, folders, manifests (.tsv), or - for a list on stdin")
    parser.add_argument("--source_file", metavar="WAV", help="the audio file, in EAT's spelling")
    parser.add_argument("--label_file", metavar="CSV", help="index,mid,display_name rows [the checkpoint's labels]")
    parser.add_argument("--top_k_prediction", "--top-k", type=common.positive, default=12, help="rows [%(default)s]")
    common.add_model_arguments(parser)
    args = parser.parse_args(argv)
    inputs = [*args.inputs, *([args.source_file] if args.source_file else [])]
    if not inputs:
        parser.error("name an input: --source_file, or files, folders, manifests, or - for a list on stdin")
    return common.run("asda-infer", lambda: infer(args, inputs))


def infer(args, inputs: list[str]) -> int:
    """Scores every clip and prints a table for each."""
    checkpoint = common.open_checkpoint(args)
    device = common.choose_device(args.device)
    model = build_classifier(checkpoint).to(device)
    names = checkpoint.label_names
    if args.label_file:
        table = LabelTable.read(args.label_file)
        common.check_labels(checkpoint, table)
        names = table.names
    names = names or [f"class {index}" for index in range(model.num_classes)]
    clips = find_clips(inputs, stdin=sys.stdin)
    windowing = Windowing(model.front_end, patch_size=model.encoder.patch_size)
    num_bad = 0
    results = run_clips(
        model.logits,
        enumerate(clips),
        windowing,
        device=device,
        batch_size=args.batch_size,
        num_threads=args.num_workers,
    )
    for result in results:
        if isinstance(result, BadClip):
            common.note(f"{result.clip.path}: {result.reason}")
            num_bad += 1
            continue
        print_table(result.clip.clip.path, model.scores_of(result.outputs[0]), names, args.top_k_prediction)
    return common.EXIT_BAD_CLIPS if num_bad else common.EXIT_OK


def print_table(path: str, scores: torch.Tensor, names: list[str], top_k: int) -> None:
    """LABEL / PREDICTION, best first."""
    values, classes = scores.topk(min(top_k, len(scores)))
    width = max(30, *(len(names[index]) for index in classes))
    print(f"\n{path}\n{'LABEL':<{width}}  PREDICTION")
    for value, index in zip(values.tolist(), classes.tolist(), strict=True):
        print(f"{names[index]:<{width}}  {value:.4f}")


if __name__ == "__main__":
    sys.exit(main())
