"""asda-convert: checkpoints from one layout to another, without changing a bit of their weights.

published    a .pt file as ASDA's, EAT's, MAE-AST's or SSAST's own programs write and read it
project      a .pt file as this project's training writes it: architecture, normalisation and labels are recorded
directory    config.json and model.safetensors, for use without fairseq
huggingface  the same with its code, for transformers (trust_remote_code=True) and for the hub
onnx         the network as one graph, with its front end or without, for onnxruntime and others; only to be written
adapter      config.json and adapter.safetensors: what was trained of an adapted encoder, without the encoder
peft         LoRA as the peft library saves and reads it

An adapted encoder (--adapter, or the checkpoint of a run with model.adaptation) goes into the first five as one whole
model, with --merge: LoRA is computed into the weights, other adapters stand beside them.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..atomic import atomic_folder
from ..checkpoints import adapters
from ..checkpoints.checkpoint import Checkpoint
from ..checkpoints.contents import PEFT_CONFIG
from ..checkpoints.layouts import adapter_directory, directory, huggingface, peft_directory, project
from ..checkpoints.layouts.huggingface import model_card
from ..checkpoints.layouts.run_state import state_of_model
from ..checkpoints.layouts.trainer import trainer_layout
from ..checkpoints.reading import read_with_run
from ..data.labels import LabelTable
from ..inference.exporting import SOURCES, WAVEFORM
from ..inference.onnx_file import is_own_file, require_packages, write_onnx
from . import _console as console
from . import _flags as flags
from ._outputs import is_torch_file, refuse_foreign
from ._parser import Parser

OWN_FILES = frozenset(
    (adapter_directory.TENSORS, peft_directory.TENSORS, peft_directory.RECORD, PEFT_CONFIG)
    + (directory.CONFIG, directory.MODEL, directory.TRAINING, directory.PRETRAINING)
    + huggingface.FILES
)
"""Files of a model directory; what else lies in it stays there."""
ADAPTER_LAYOUTS = {"adapter": adapter_directory, "peft": peft_directory}
FILE_LAYOUTS = {"published": "a .pt file", "project": "a .pt file", "onnx": "an .onnx file"}
LAYOUTS = ("published", "project", "directory", "huggingface", "onnx", *ADAPTER_LAYOUTS)


def main(argv: list[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    parser = Parser(prog="asda-convert", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", metavar="CHECKPOINT", help="a file or directory of any layout, or a name on the hub")
    parser.add_argument("target", metavar="TARGET", help="the file or directory to write")
    parser.add_argument("--to", choices=LAYOUTS, required=True, help="its layout")
    flags.add_adapter_argument(parser)
    parser.add_argument("--merge", action="store_true", help="write an adapted encoder as one whole model")
    parser.add_argument("--label_file", metavar="CSV", help="record these label names; they must fit recorded ones")
    parser.add_argument("--target_length", type=int, metavar="FRAMES", help="record this length of the input")
    parser.add_argument("--norm_mean", type=float, help="record this mean of the log-mel values")
    parser.add_argument("--norm_std", type=float, help="record this standard deviation of them")
    parser.add_argument(
        "--input",
        choices=SOURCES,
        help="of --to onnx: waveforms (clips, samples), the front end is in the graph; or normalised spectrograms "
        "(clips, 1, frames, mel bins) [waveform]",
    )
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
    kind = FILE_LAYOUTS.get(args.to)
    if kind is None and target.is_file():
        raise ValueError(f"{target}: a file; --to {args.to} writes a directory")
    if kind is not None and target.is_dir():
        raise ValueError(f"{target}: a directory; --to {args.to} writes {kind}")
    if args.input is not None and args.to != "onnx":
        raise ValueError(f"--input {args.input} goes with --to onnx, not with --to {args.to}")
    if args.to == "onnx":
        require_packages()
        refuse_foreign(target, "a model in ONNX", is_own_file)
    elif kind is not None:
        refuse_foreign(target, "a checkpoint", is_torch_file)
    else:
        refuse_foreign_folder(target)
    checkpoint, state = read_with_run(source, trust=args.trust_checkpoint, adapter=args.adapter)
    checkpoint = recorded(checkpoint, args)
    if args.to in ADAPTER_LAYOUTS:
        return write_adapter(target, checkpoint, args)
    checkpoint = as_whole_model(checkpoint, args)
    if args.to == "onnx":
        write_onnx(target, checkpoint, args.input or WAVEFORM)
        console.note(f"wrote {target} ({args.to})")
        return console.EXIT_OK
    if state is not None:
        state = trainer_layout(state["cfg"]).with_front_end(source, state, checkpoint.front_end)
        if args.label_file:
            state = {**state, "task_state": {**state["task_state"], "label_names": checkpoint.label_names}}
    if args.to in ("published", "project"):
        write_file(target, checkpoint, state, args.to)
    else:
        write_folder(target, checkpoint, state, args.to)
    console.note(f"wrote {target} ({args.to})")
    return console.EXIT_OK


def write_file(target: Path, checkpoint: Checkpoint, state: dict[str, Any] | None, layout: str) -> None:
    """Writes a .pt file, and says what the programs that it is for do not know of it.

    Args:
        target: the file.
        checkpoint: the model.
        state: the checkpoint of fairseq's trainer that it is part of; None: of no run.
        layout: `published` or `project`.
    """
    is_encoder_alone = state is None and checkpoint.head_config is None
    state = state_of_model(checkpoint) if state is None else state
    if layout == "project":
        project.write(target, state)
    else:
        unknown = trainer_layout(state["cfg"]).write_published(target, state)
        if unknown:
            stated = ", ".join(f"{name}={value}" for name, value in unknown.items())
            console.note(
                f"{target}: the published programs compute with their own constants (lambda 0.1, out_scale 0.95, "
                f"fc_norm_eps 1e-06) and will not honour {stated}; this project does, through the keys added to "
                "cfg.model"
            )
        if checkpoint.front_end.padding == "mask":
            console.note(
                f"{target}: trained with a padding mask (task.padding=mask), which the published programs do not know: "
                "they fill short clips up with frames that the network then sees"
            )
    if is_encoder_alone:
        console.note(
            f"{target}: the encoder alone, without decoder and teacher, which {checkpoint.path} does not hold: "
            "features and fine-tuning start from it, pre-training cannot go on"
        )


def write_folder(target: Path, checkpoint: Checkpoint, state: dict[str, Any] | None, layout: str) -> None:
    """Writes a directory; a model card that somebody has made their own stays.

    Args:
        target: the directory.
        checkpoint: the model.
        state: as of :func:`write_file`.
        layout: `directory` or `huggingface`.
    """
    keeps_card = model_card.is_edited(target)
    with atomic_folder(target, own_files(target).__contains__) as folder:
        if layout == "huggingface":
            huggingface.write(folder, checkpoint, state, with_card=not keeps_card)
        else:
            directory.write(folder, checkpoint, state)
    if keeps_card and layout == "huggingface":
        console.note(f"{target / model_card.FILE}: somebody's own, so it is left as it is; look whether it still fits")


def write_adapter(target: Path, checkpoint: Checkpoint, args) -> int:
    """Writes the adapters of a checkpoint without their base."""
    if args.merge:
        raise ValueError(f"--merge writes a whole model, --to {args.to} adapters without one")
    adapter = adapters.of_checkpoint(checkpoint)
    with atomic_folder(target, own_files(target).__contains__) as folder:
        ADAPTER_LAYOUTS[args.to].write(folder, adapter)
    console.note(f"wrote {target} ({args.to})")
    return console.EXIT_OK


def as_whole_model(checkpoint: Checkpoint, args) -> Checkpoint:
    """The checkpoint, of an adapted encoder as one model.

    Raises:
        ValueError: nobody asked for that, or the layout has no place for adapters.
    """
    if checkpoint.base is not None:
        if not args.merge:
            raise ValueError(
                f"{checkpoint.path}: an encoder and its adapters; --merge makes one whole model of them, --to adapter "
                "keeps them apart"
            )
        checkpoint = adapters.merged(checkpoint)
    if checkpoint.adapters and args.to == "huggingface":
        kinds = ", ".join(method.kind for method in checkpoint.adaptation)
        raise ValueError(f"{checkpoint.path}: the exported code knows no {kinds}; write --to directory or project")
    return checkpoint


def own_files(folder: Path) -> frozenset[str]:
    """Names of what is replaced or removed in a folder: a model card only if it is as it was written."""
    return OWN_FILES if model_card.is_edited(folder) else OWN_FILES | {model_card.FILE}


def refuse_foreign_folder(folder: Path) -> None:
    """Refuses a folder with files of the names that a model's have, but of another kind of model.

    Raises:
        ValueError: it holds them.
    """
    there = [name for name in sorted(OWN_FILES) if (folder / name).exists()]
    if not there:
        return
    try:
        kind = json.loads((folder / directory.CONFIG).read_text(encoding="utf-8"))["model_type"]
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        kind = None
    if (
        kind not in (directory.MODEL_TYPE, adapter_directory.MODEL_TYPE)
        and not (folder / peft_directory.RECORD).exists()
    ):
        raise ValueError(
            f"{folder}: holds {there[0]}, but not of a model of this project (model_type={directory.MODEL_TYPE} in "
            f"{directory.CONFIG}), so it is left as it is; name another folder"
        )


def recorded(checkpoint: Checkpoint, args) -> Checkpoint:
    """The checkpoint with the front end and the labels that the flags give."""
    checkpoint = replace(checkpoint, front_end=flags.front_end(args, checkpoint.front_end))
    if not args.label_file:
        return checkpoint
    if checkpoint.head_config is None:
        raise ValueError(f"{checkpoint.path}: a pre-trained encoder has no classes; --label_file does not apply")
    table = LabelTable.read(args.label_file)
    flags.check_labels(checkpoint, table)
    return replace(checkpoint, label_names=table.names)


if __name__ == "__main__":
    sys.exit(main())
