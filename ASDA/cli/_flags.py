"""What the programs share: flags in EAT's spelling, the model, the exit codes."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ..audio.front_end import FrontEnd
from ..checkpoints.checkpoint import Checkpoint
from ..checkpoints.files import CheckpointError
from ..checkpoints.hub import local_path
from ..checkpoints.reading import read_checkpoint
from ..data.labels import LabelTable
from ..host_memory import bound_compiled_kernels, keep_freed_memory
from ..inference.clips import ClipList
from ..inference.model import TrainedClassifier
from ..inference.windows import PADDINGS, Windowing
from . import _threads
from ._console import note
from ._parser import positive, seconds_to_frames
from ._worker_processes import processes_pay

PACKAGE = Path(__file__).resolve().parents[1]


def add_input_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags that say which clips to work on."""
    parser.add_argument(
        "inputs", nargs="*", metavar="INPUT", help="audio files, folders, manifests (.tsv), or - for a list on stdin"
    )
    parser.add_argument("--source_file", metavar="AUDIO", help="a single audio file, as in EAT's scripts")
    parser.add_argument("--glob", default="**/*", metavar="PATTERN", help="which files of a folder [%(default)s]")
    add_h5_argument(parser)


def add_h5_argument(parser: argparse.ArgumentParser) -> None:
    """The sample rate of HDF5 data, which may not record it."""
    parser.add_argument(
        "--h5_sample_rate",
        type=positive,
        default=32_000,
        metavar="HZ",
        help="of HDF5 data that does not say [%(default)s]",
    )


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags about the model and its input that all programs have."""
    group = parser.add_argument_group("model")
    group.add_argument(
        "--checkpoint_dir",
        "--checkpoint",
        required=True,
        metavar="PATH",
        help="the checkpoint, or its name on the Hugging Face hub, OWNER/NAME[@REVISION]",
    )
    add_adapter_argument(group)
    group.add_argument(
        "--model_dir",
        metavar="DIR",
        help="the fairseq user-dir in EAT's scripts; the model's code is this package's own",
    )
    group.add_argument(
        "--framework",
        choices=("fairseq", "huggingface"),
        help="what --checkpoint_dir has to be: a .pt file or a directory; by default whatever it is",
    )
    add_hearing_arguments(group)


def add_hearing_arguments(group: Any, batch_size: int = 8, chooses_processes: bool = True) -> None:
    """The flags about what a model hears and how it computes; whether it asks :func:`decodes_in_processes`."""
    group.add_argument(
        "--target_length", type=int, metavar="FRAMES", help="window in frames of 10 ms [the checkpoint's]"
    )
    group.add_argument("--norm_mean", type=float, help="mean of the log-mel values [the checkpoint's]")
    group.add_argument("--norm_std", type=float, help="their standard deviation [the checkpoint's]")
    group.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, ... [auto: a GPU if there is one]")
    group.add_argument("--batch_size", type=positive, default=batch_size, help="windows in a batch [%(default)s]")
    group.add_argument(
        "--half", action="store_true", help="compute in half precision (float16 on a GPU, bfloat16 else)"
    )
    group.add_argument(
        "--num_workers", type=positive, metavar="N", help="threads that decode audio [by the cores: 1 to 4]"
    )
    default = "then, for a GPU" if chooses_processes else "no"
    group.add_argument(
        "--worker_processes",
        action=argparse.BooleanOptionalAction,
        help=f"the workers are processes: for many clips of a few seconds [{default}]",
    )
    group.add_argument(
        "--trust-checkpoint", action="store_true", help="let the checkpoint hold arbitrary objects, which can run code"
    )


def add_adapter_argument(group: Any) -> None:
    """What goes on top of a base."""
    group.add_argument(
        "--adapter",
        metavar="PATH",
        help="adapters to put on the checkpoint: of a run with model.adaptation, or a directory of them",
    )


def add_window_arguments(group: Any) -> None:
    """The flags about clips that are shorter or longer than the window."""
    group.add_argument(
        "--padding",
        choices=PADDINGS,
        help="short clips: filled up as published weights expect (constant), at their own length (own), or padded "
        "under a mask that attention honours (mask; same result as own) [as the checkpoint was trained]",
    )
    group.add_argument(
        "--long",
        choices=("crop", "windows"),
        default="crop",
        help="clips longer than the window: only its length, as EAT does, or window after window [%(default)s]",
    )


def add_classifier_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags that go with a classification head."""
    group = parser.add_argument_group("scores")
    group.add_argument("--label_file", metavar="CSV", help="index,mid,display_name rows [the checkpoint's labels]")
    group.add_argument(
        "--scores",
        choices=("auto", "sigmoid", "softmax"),
        default="auto",
        help="one sigmoid per class or a softmax; auto: as it was trained [%(default)s]",
    )
    add_window_arguments(group)
    group.add_argument(
        "--hop",
        type=seconds_to_frames,
        metavar="S",
        help="from window to window, in seconds; implies --long windows [half]",
    )


def open_checkpoint(args: argparse.Namespace) -> Checkpoint:
    """Reads the checkpoint that the flags name, with the front end they ask for.

    Raises:
        CheckpointError: it cannot be read, or is not of the kind that --framework says.
    """
    path = local_path(args.checkpoint_dir)
    if args.framework == "fairseq" and path.is_dir():
        raise CheckpointError(f"{path}: --framework fairseq expects a checkpoint file, this is a directory")
    if args.framework == "huggingface" and not path.is_dir():
        raise CheckpointError(f"{path}: --framework huggingface expects a directory with config.json")
    if args.model_dir is not None and Path(args.model_dir).resolve() != PACKAGE:
        note(f"--model_dir {args.model_dir}: not used, the model's code is {PACKAGE}")
    checkpoint = read_checkpoint(path, trust=args.trust_checkpoint, adapter=args.adapter)
    checkpoint.front_end = front_end(args, checkpoint.front_end)
    return checkpoint


def front_end(args: argparse.Namespace, recorded: FrontEnd) -> FrontEnd:
    """The front end of the checkpoint, with what the flags change."""
    stated = {
        "target_length_frames": args.target_length,
        "norm_mean": args.norm_mean,
        "norm_std": args.norm_std,
    }
    return replace(recorded, **{name: value for name, value in stated.items() if value is not None})


def choose_device(name: str) -> torch.device:
    """The device that --device names; for the CPU, this process is set up to compute there.

    Raises:
        ValueError: it is not there.
    """
    try:
        device = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)
    except RuntimeError as error:
        raise ValueError(f"--device {name}: {error}") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"--device {name}: this machine has {torch.cuda.device_count()} CUDA devices; use --device cpu"
        )
    if device.type == "cpu":
        keep_freed_memory()
        bound_compiled_kernels()
    return device


def share_cores(args: argparse.Namespace, device: torch.device) -> None:
    """Sets --num_workers where it is not given, and the threads of a network on the CPU; see `_threads.py`."""
    on_cpu = device.type == "cpu"
    if args.num_workers is None:
        args.num_workers = _threads.decoding_threads(on_cpu)
    threads = _threads.compute_threads(args.num_workers)
    if on_cpu and threads is not None:
        torch.set_num_threads(threads)


def decodes_in_processes(
    args: argparse.Namespace, device: torch.device, clips: ClipList, wanted: Sequence[int]
) -> bool:
    """--worker_processes; where it is not given, whether a GPU waits for many short clips.

    On a CPU the network takes longer than to decode, and would have to share its cores.
    """
    if args.worker_processes is not None:
        return args.worker_processes
    if device.type == "cpu":
        return False
    return processes_pay(lambda number: clips[wanted[number]].path, len(wanted), args.h5_sample_rate, args.num_workers)


def score_windowing(args: argparse.Namespace, model: TrainedClassifier) -> Windowing:
    """How clips are cut for a classifier, as the flags of :func:`add_classifier_arguments` say."""
    hop = args.hop
    if hop is None and args.long == "windows":
        hop = max(1, model.front_end.target_length_frames // 2)
    return Windowing(model.front_end, args.padding, hop, model.encoder.config.patches)


def choose_scores(args: argparse.Namespace, model: TrainedClassifier) -> None:
    """Makes the model compute the kind of scores that --scores asks for."""
    if args.scores != "auto":
        model.independent_scores = args.scores == "sigmoid"


def label_names(args: argparse.Namespace, checkpoint: Checkpoint) -> list[str]:
    """Names of the classes: of --label_file, of the checkpoint, or numbers."""
    if args.label_file:
        table = LabelTable.read(args.label_file)
        check_labels(checkpoint, table)
        return table.names
    return checkpoint.class_names


def check_labels(checkpoint: Checkpoint, table: LabelTable) -> None:
    """Refuses a label table that is not the one the head was trained with.

    Raises:
        ValueError: another number of classes, or another order; names the first class that differs.
    """
    if len(table) != checkpoint.num_classes:
        raise ValueError(f"{table.file}: {len(table)} classes, but {checkpoint.path} has {checkpoint.num_classes}")
    for index, (recorded, given) in enumerate(zip(checkpoint.label_names, table.names, strict=False)):
        if recorded != given:
            raise ValueError(
                f'{table.file}: class {index} is "{given}", but the checkpoint {checkpoint.path} was trained with '
                f'"{recorded}" there; use the label file it was trained with'
            )
