"""asda-convert: checkpoints from one layout to another, without changing a bit of their weights.

published    a .pt file as ASDA's and EAT's own programs write and read it
project      a .pt file as this project's training writes it: architecture, normalisation and labels are recorded
directory    config.json and model.safetensors, for use without fairseq
huggingface  the same with its code, for AutoModel.from_pretrained(DIR, trust_remote_code=True)
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from ..checkpoints.layouts import directory, huggingface, project, published
from ..checkpoints.reading import read_training_state
from ..data.labels import LabelTable
from . import _console as console
from . import _flags as flags
from ._parser import Parser

LAYOUTS = ("published", "project", "directory", "huggingface")


def main(argv: list[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    parser = Parser(prog="asda-convert", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", metavar="CHECKPOINT", help="a file or directory in any of the layouts")
    parser.add_argument("target", metavar="TARGET", help="the file or directory to write")
    parser.add_argument("--to", choices=LAYOUTS, required=True, help="its layout")
    parser.add_argument("--label_file", metavar="CSV", help="record these label names; they must fit recorded ones")
    parser.add_argument("--target_length", type=int, metavar="FRAMES", help="record this length of the input")
    parser.add_argument("--norm_mean", type=float, help="record this mean of the log-mel values")
    parser.add_argument("--norm_std", type=float, help="record this standard deviation of them")
    parser.add_argument(
        "--trust-checkpoint", action="store_true", help="let the checkpoint hold arbitrary objects, which can run code"
    )
    args = parser.parse_args(argv)
    return console.run("asda-convert", lambda: convert(args))


def convert(args) -> int:
    """Reads, records what the flags say, writes."""
    source, target = Path(args.source), Path(args.target)
    if target.exists() and source.resolve() == target.resolve():
        raise ValueError(f"{target}: source and target are the same")
    if args.to in ("directory", "huggingface") and target.is_file():
        raise ValueError(f"{target}: a file; --to {args.to} writes a directory")
    if args.to in ("published", "project") and target.is_dir():
        raise ValueError(f"{target}: a directory; --to {args.to} writes a .pt file")
    state = recorded(read_training_state(source, trust=args.trust_checkpoint), source, args)
    if args.to == "project":
        project.write(target, state)
    elif args.to == "published":
        unknown = published.write(target, state)
        if unknown:
            stated = ", ".join(f"{name}={value}" for name, value in unknown.items())
            console.note(
                f"{target}: the published programs compute with their own constants (lambda 0.1, out_scale 0.95) and "
                f"will not honour {stated}; this project does, through the keys added to cfg.model"
            )
    else:
        write = huggingface.write if args.to == "huggingface" else directory.write
        write(target, project.describe(source, state), state)
    console.note(f"wrote {target} ({args.to})")
    return console.EXIT_OK


def recorded(state: dict[str, Any], source: Path, args) -> dict[str, Any]:
    """The checkpoint with the front end and the labels that the flags give."""
    checkpoint = project.describe(source, state)
    task_state = {**state["task_state"], "front_end": flags.front_end(args, checkpoint.front_end).to_dict()}
    if args.label_file:
        if checkpoint.head_config is None:
            raise ValueError(f"{source}: a pre-trained encoder has no classes; --label_file does not apply")
        table = LabelTable.read(args.label_file)
        flags.check_labels(checkpoint, table)
        task_state["label_names"] = table.names
    return {**state, "task_state": task_state}


if __name__ == "__main__":
    sys.exit(main())
