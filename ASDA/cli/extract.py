"""asda-extract: features of audio clips, as .npy files, one .h5, or Parquet.

asda-extract --checkpoint_dir model.pt --source_file clip.wav --target_file clip.npy --granularity frame
asda-extract --checkpoint_dir model.pt recordings/ --output features/ --granularity utterance --resume
find /data -name "*.flac" | asda-extract --checkpoint_dir model.pt - --output features.h5 --shard 1/4
asda-extract --checkpoint_dir model.pt /data/clips --output features.parquet --ray auto
"""

from __future__ import annotations

import argparse
import sys
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from . import _threads  # noqa: F401 (its settings are to be there when torch loads)

# isort: split
import torch

from ..inference.clips import Clips, find_clips
from ..inference.features import GRANULARITIES, MEAN_OF_LAYERS, POOLS, FeatureSpec, run_encoder
from ..inference.h5_store import H5File
from ..inference.half_precision import cast_weights
from ..inference.model import TrainedEncoder, build_encoder
from ..inference.npy_store import NpyFile, NpyTree
from ..inference.parquet_store import ParquetFolder
from ..inference.store import FeatureStore
from ..inference.windows import BadClip, Windowing, clips_together
from ..inference.writing import FeatureWriter, Finished
from . import _cluster_flags as cluster_flags
from . import _console as console
from . import _flags as flags
from ._outputs import refuse_same
from ._parser import Parser

_TABLES = {".h5": H5File, ".parquet": ParquetFolder}
"""Outputs that hold all clips, by the ending of their names."""


def main(argv: list[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    parser = Parser(prog="asda-extract", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_input_arguments(parser)
    parser.add_argument("--target_file", metavar="NPY", help="where the features of --source_file go")
    parser.add_argument(
        "--output", metavar="PATH", help="folder for one .npy per clip, or a name that ends in .h5 or .parquet"
    )
    flags.add_model_arguments(parser)
    _add_feature_arguments(parser)
    _add_run_arguments(parser)
    cluster_flags.add_cluster_arguments(parser)
    args = parser.parse_args(argv)
    if bool(args.source_file) != bool(args.target_file):
        parser.error("--source_file and --target_file go together")
    if bool(args.source_file) == bool(args.inputs) or bool(args.inputs) != bool(args.output):
        parser.error("give either --source_file and --target_file, or inputs and --output")
    if args.target_file and args.shard != (1, 1):
        parser.error("--shard splits several clips; it does not go with --source_file")
    cluster_flags.check(parser, args)
    return console.run("asda-extract", lambda: extract(args))


def _add_feature_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("features")
    group.add_argument(
        "--granularity",
        choices=GRANULARITIES,
        default="all",
        help="CLS and patches (1+N, D), the patches (N, D), CLS (D,), or the patches as a grid (P, Q, D) [%(default)s]",
    )
    group.add_argument(
        "--layers", type=_layers, metavar="6,12|mean", help="layers to stack, or the mean of all [the last]"
    )
    group.add_argument(
        "--pool", choices=POOLS, help="mean of the patches: all of them (D,), over frequency (P, D), over time (Q, D)"
    )
    flags.add_window_arguments(group)
    group.add_argument(
        "--mode", choices=("pretrain", "finetune"), help="what the checkpoint has to be; by default whatever it is"
    )
    group.add_argument(
        "--timestamps",
        action="store_true",
        help="write NAME.times.npy, start and end in seconds of each row (.h5, .parquet: always)",
    )


def _add_run_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("long runs")
    group.add_argument("--resume", action="store_true", help="skip what an earlier run has written")
    group.add_argument("--shard", type=_shard, default=(1, 1), metavar="I/N", help="do part I of N, counted from 1")
    group.add_argument("--errors", metavar="TSV", help="list of unreadable clips [errors.tsv beside the output]")


def _layers(text: str) -> tuple[int, ...] | str:
    if text == MEAN_OF_LAYERS:
        return text
    try:
        return tuple(int(number) for number in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f'expected layer numbers such as 6,12, or "mean", got {text!r}') from None


def _shard(text: str) -> tuple[int, int]:
    number, _, count = text.partition("/")
    if not (number.isdigit() and count.isdigit() and 1 <= int(number) <= int(count)):
        raise argparse.ArgumentTypeError(f"expected I/N with I from 1 to N, such as 2/8, got {text!r}")
    return int(number), int(count)


def extract(args) -> int:
    """Extracts the features of every clip."""
    console.check_errors_path(_errors_path(args))
    refuse_same({"--errors": args.errors, "--target_file": args.target_file, "--output": args.output})
    checkpoint = flags.open_checkpoint(args)
    if args.mode is not None and (args.mode == "finetune") != bool(checkpoint.head):
        kind = "a fine-tuned" if checkpoint.head else "a pre-trained"
        raise ValueError(f"{checkpoint.path}: --mode {args.mode}, but this is {kind} checkpoint")
    device = torch.device("cpu") if args.ray else flags.choose_device(args.device)
    if not args.ray:
        flags.share_cores(args, device)
    model = build_encoder(checkpoint).to(device)
    spec = FeatureSpec(args.granularity, args.layers, args.pool)
    windowing = Windowing(model.front_end, args.padding, patches=model.encoder.config.patches)
    if args.long == "windows":
        windowing = replace(windowing, hop_frames=windowing.gapless_hop_frames)
    clips = find_clips(args.inputs or [args.source_file], args.glob, sys.stdin)
    if args.target_file and len(clips) != 1:
        raise ValueError(
            f"--source_file {args.source_file} stands for {len(clips)} clips, --target_file holds one; "
            "give several clips as inputs, with --output"
        )
    bad: list[BadClip] = []
    lengths = console.ClipLengths(windowing)
    store = _open_store(args, clips, model, spec, windowing)
    # A cluster first: if there is none, what an earlier run has written stays.
    with cluster_flags.cluster(args) if args.ray else nullcontext() as workers, store:
        wanted = _wanted(args, clips, store)
        if workers is not None:
            results = cluster_flags.run_on(workers, args, model.encoder, spec, windowing, clips, wanted)
        else:
            results = _run_here(args, clips, wanted, model, spec, windowing, device)
        start = time.monotonic()
        with FeatureWriter(store) as writer:
            for result in console.progress(results, len(wanted)):
                if isinstance(result, BadClip):
                    bad.append(result)
                    continue
                lengths.count(result.clip)
                writer.write(result)
        bad += writer.bad
        bad.sort(key=lambda clip: clip.index)
        store.left_out(bad)
    took_s = time.monotonic() - start
    if len(clips) > 1:
        written = len(wanted) - len(bad)
        console.note(f"{written} clips written in {took_s:.1f} s ({len(wanted) / max(took_s, 1e-9):.1f} clips/s)")
    lengths.report()
    return console.report_bad_clips(bad, len(wanted), _errors_path(args))


def _run_here(
    args,
    clips: Clips,
    wanted: Sequence[int],
    model: TrainedEncoder,
    spec: FeatureSpec,
    windowing: Windowing,
    device: torch.device,
) -> Iterator[Finished | BadClip]:
    """Results of the wanted clips, computed by this process."""
    if args.half:  # now that the settings have the checkpoint's weights
        cast_weights(model, device)
    return run_encoder(
        model.encoder,
        spec,
        ((index, clips[index]) for index in wanted),
        windowing,
        device=device,
        batch_size=args.batch_size,
        half=args.half,
        num_workers=args.num_workers,
        processes=flags.decodes_in_processes(args, device, clips, wanted),
        h5_sample_rate_hz=args.h5_sample_rate,
        together=clips_together(args.batch_size, windowing.padding) * args.shard[1],  # of the shard's own
    )


def _wanted(args, clips: Clips, store: FeatureStore) -> list[int]:
    """The clips of this shard that are still to be done."""
    number, count = args.shard
    mine = range(number - 1, len(clips), count)
    wanted = [index for index in mine if not (args.resume and store.done(clips[index]))]
    if len(wanted) < len(mine):
        console.note(f"{len(mine) - len(wanted)} of {len(mine)} clips are done already")
    return wanted


def _open_store(args, clips: Clips, model: TrainedEncoder, spec: FeatureSpec, windowing: Windowing) -> FeatureStore:
    if args.target_file:
        return NpyFile(Path(args.target_file), args.timestamps)
    settings = _settings(args, model, spec, windowing)
    output = Path(args.output)
    kind = _TABLES.get(output.suffix)
    if kind is None:
        return NpyTree(output, clips, settings, args.timestamps, args.resume, args.shard)
    number, count = args.shard
    if count > 1:  # processes cannot write to one of them together
        output = output.with_name(f"{output.stem}.{number}-of-{count}{output.suffix}")
    return kind(output, clips, settings, args.resume)


def _settings(args, model: TrainedEncoder, spec: FeatureSpec, windowing: Windowing) -> dict[str, Any]:
    """What the features depend on."""
    weights = 0
    for name, tensor in model.encoder.state_dict().items():
        weights = zlib.crc32(f"{name} {tuple(tensor.shape)}".encode(), weights)
        weights = zlib.crc32(tensor.cpu().numpy().tobytes(), weights)
    return {
        "weights_crc32": f"{weights:08x}",
        "encoder": model.encoder.config.to_dict(),
        "front_end": windowing.front_end.to_dict(),
        "h5_sample_rate_hz": args.h5_sample_rate,
        "padding": windowing.padding,
        "hop_frames": windowing.hop_frames,
        "granularity": spec.granularity,
        "layers": spec.layers,
        "pool": spec.pool,
        "half": args.half,
    }


def _errors_path(args) -> Path | None:
    if args.errors:
        return Path(args.errors)
    if args.target_file:
        return None
    output = Path(args.output)
    number, count = args.shard
    name = "errors.tsv" if count == 1 else f"errors.{number}-of-{count}.tsv"
    return output.with_name(f"{output.stem}.{name}") if output.suffix in _TABLES else output / name


if __name__ == "__main__":
    sys.exit(main())
