"""asda-extract: features of audio clips, as .npy files."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ..data.atomic import atomic_path
from ..inference.clips import find_clips
from ..inference.features import GRANULARITIES, FeatureSpec, assemble, hidden_states
from ..inference.model import build_encoder
from ..inference.run import run_clips
from ..inference.windows import BadClip, Windowing
from . import _common as common


def main(argv: list[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    parser = common.Parser(prog="asda-extract", description=__doc__)
    parser.add_argument("inputs", nargs="*", help="audio files, folders, manifests (.tsv), or - for a list on stdin")
    parser.add_argument("--source_file", metavar="WAV", help="a single audio file, with --target_file")
    parser.add_argument("--target_file", metavar="NPY", help="where the features of --source_file go")
    parser.add_argument("--output", metavar="DIR", help="folder for the features of inputs, one .npy for each clip")
    parser.add_argument("--granularity", choices=GRANULARITIES, default="all", help="[%(default)s]")
    parser.add_argument(
        "--mode", choices=("pretrain", "finetune"), help="what the checkpoint has to be; by default whatever it is"
    )
    common.add_model_arguments(parser)
    args = parser.parse_args(argv)
    if bool(args.source_file) != bool(args.target_file):
        parser.error("--source_file and --target_file go together")
    if bool(args.source_file) == bool(args.inputs) or bool(args.inputs) != bool(args.output):
        parser.error("give either --source_file and --target_file, or inputs and --output")
    return common.run("asda-extract", lambda: extract(args))


def extract(args) -> int:
    """Extracts the features of every clip."""
    checkpoint = common.open_checkpoint(args)
    if args.mode is not None and (args.mode == "finetune") != bool(checkpoint.head):
        kind = "a fine-tuned" if checkpoint.head else "a pre-trained"
        raise ValueError(f"{checkpoint.path}: --mode {args.mode}, but this is {kind} checkpoint")
    device = common.choose_device(args.device)
    model = build_encoder(checkpoint).to(device)
    spec = FeatureSpec(args.granularity)
    windowing = Windowing(model.front_end, patch_size=model.encoder.patch_size)
    clips = find_clips(args.inputs or [args.source_file], stdin=sys.stdin)
    bad: list[BadClip] = []
    results = run_clips(
        lambda source, padding_mask: hidden_states(model.encoder, source, padding_mask, spec.layers),
        enumerate(clips),
        windowing,
        device=device,
        batch_size=args.batch_size,
        num_threads=args.num_workers,
    )
    for result in tqdm(results, total=len(clips), unit="clip", disable=None if len(clips) > 1 else True):
        if isinstance(result, BadClip):
            bad.append(result)
            continue
        features = assemble(result.clip, result.outputs, spec, windowing)
        target = args.target_file or Path(args.output, os.path.splitext(result.clip.clip.name)[0] + ".npy")
        with atomic_path(target) as temporary, open(temporary, "wb") as handle:
            np.save(handle, features.values.numpy())
    for clip in bad:
        common.note(f"{clip.clip.path}: {clip.reason}")
    return common.EXIT_BAD_CLIPS if bad else common.EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
