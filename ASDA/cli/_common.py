"""What the programs share: flags in EAT's spelling, the model, the exit codes."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from ..audio.fbank import FrontEnd
from ..data.labels import LabelTable
from ..inference.checkpoint import Checkpoint, read_checkpoint
from ..inference.files import CheckpointError

PACKAGE = Path(__file__).resolve().parents[1]

EXIT_OK = 0
EXIT_ERROR = 1
EXIT_BAD_CLIPS = 2
"""Some clips could not be read; everything else was done."""


class Parser(argparse.ArgumentParser):
    """Takes every long flag with `-` and with `_` between its words: EAT's scripts use the latter."""

    def parse_known_args(self, args=None, namespace=None):
        spelled = {name.replace("_", "-"): name for name in self._option_string_actions if name.startswith("--")}
        args = [self._respell(arg, spelled) for arg in (sys.argv[1:] if args is None else args)]
        return super().parse_known_args(args, namespace)

    @staticmethod
    def _respell(arg: str, spelled: dict[str, str]) -> str:
        if not arg.startswith("--"):
            return arg
        name, equals, value = arg.partition("=")
        return spelled.get(name.replace("_", "-"), name) + equals + value


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags about the model and its input that all programs have."""
    group = parser.add_argument_group("model")
    group.add_argument("--checkpoint_dir", "--checkpoint", required=True, metavar="PATH", help="the checkpoint")
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
    group.add_argument(
        "--target_length", type=int, metavar="FRAMES", help="window in frames of 10 ms [the checkpoint's]"
    )
    group.add_argument("--norm_mean", type=float, help="mean of the log-mel values [the checkpoint's]")
    group.add_argument("--norm_std", type=float, help="their standard deviation [the checkpoint's]")
    group.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, ... [auto: a GPU if there is one]")
    group.add_argument("--batch_size", type=positive, default=8, help="windows in a batch [%(default)s]")
    group.add_argument("--num_workers", type=positive, default=2, help="threads that decode audio [%(default)s]")
    group.add_argument(
        "--trust-checkpoint", action="store_true", help="let the checkpoint hold arbitrary objects, which can run code"
    )


def positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a number of at least 1, got {text}")
    return value


def open_checkpoint(args: argparse.Namespace) -> Checkpoint:
    """Reads the checkpoint that the flags name, with the front end they ask for.

    Raises:
        CheckpointError: it cannot be read, or is not of the kind that --framework says.
    """
    path = Path(args.checkpoint_dir)
    if args.framework == "fairseq" and path.is_dir():
        raise CheckpointError(f"{path}: --framework fairseq expects a checkpoint file, this is a directory")
    if args.framework == "huggingface" and not path.is_dir():
        raise CheckpointError(f"{path}: --framework huggingface expects a directory with config.json")
    if args.model_dir is not None and Path(args.model_dir).resolve() != PACKAGE:
        note(f"--model_dir {args.model_dir}: not used, the model's code is {PACKAGE}")
    checkpoint = read_checkpoint(path, trust=args.trust_checkpoint)
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
    """The device that --device names.

    Raises:
        ValueError: it is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"--device {name}: this machine has {torch.cuda.device_count()} CUDA devices; use --device cpu"
        )
    return device


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


def note(text: str) -> None:
    """One line to the user, beside the program's output."""
    print(text, file=sys.stderr)


def run(program: str, action: Callable[[], int]) -> int:
    """Runs a program's work and turns errors about input into one line and an exit code."""
    try:
        return action()
    except (ValueError, OSError) as error:
        note(f"{program}: error: {error}")
        return EXIT_ERROR
    except KeyboardInterrupt:
        note(f"{program}: interrupted")
        return 130
