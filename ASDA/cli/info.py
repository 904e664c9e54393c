"""asda-info: what a checkpoint or a configuration is: system, parts, parameters, arithmetic, input, classes, origin.

asda-info model.pt
asda-info --config pretraining_AS2M model.depth=6 +recipe=EAT
asda-info --zoo
asda-info --completion bash
"""

from __future__ import annotations

import argparse
import hashlib
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..adaptation.adapting import adapt, to_dicts
from ..audio.front_end import FrontEnd
from ..checkpoints.checkpoint import Checkpoint
from ..checkpoints.layouts import adapter_directory, peft_directory
from ..checkpoints.reading import read_checkpoint
from ..checkpoints.weight_files import weight_files
from ..core import zoo
from ..core.classifier import SpectrogramClassifier
from ..core.config import EncoderConfig
from ..core.counting import clip_flops, parts_of
from ..core.encoder import SpectrogramEncoder
from ..core.patches import patch_grid
from . import _console as console
from . import _flags as flags
from ._json import to_json
from ._outputs import one_line
from ._parser import SHELLS, Parser

_LISTED_LABELS = 8


def main(argv: list[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    parser = Parser(prog="asda-info", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "checkpoint", nargs="?", metavar="CHECKPOINT", help="a file or directory of any layout, or a name on the hub"
    )
    flags.add_adapter_argument(parser)
    parser.add_argument("--config", metavar="NAME", help="a yaml of config/, or a path; with overrides behind it")
    parser.add_argument("--zoo", action="store_true", help="the known systems")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="hydra overrides, with --config")
    parser.add_argument("--json", action="store_true", help="as json, for programs")
    parser.add_argument("--completion", choices=SHELLS, help="a script by which a shell completes all programs' words")
    parser.add_argument(
        "--trust-checkpoint", action="store_true", help="let the checkpoint hold arbitrary objects, which can run code"
    )
    args = parser.parse_args(argv)
    if args.config and args.checkpoint:  # with --config, everything that has no name is an override
        args.overrides, args.checkpoint = [args.checkpoint, *args.overrides], None
    stray = (args.overrides and not args.config) or (args.adapter and not args.checkpoint)
    if sum(map(bool, (args.checkpoint, args.config, args.zoo, args.completion))) != 1 or stray:
        parser.error("name one of: a checkpoint, --config NAME [KEY=VALUE ...], --zoo, --completion SHELL")
    return console.run("asda-info", lambda: info(args))


def info(args) -> int:
    """Finds out and prints."""
    if args.completion:
        from ._completion import completion_script  # imports all programs

        print(completion_script(args.completion), end="")
        return console.EXIT_OK
    if args.zoo:
        found: Any = [{"name": name, **_of_system(config)} for name, config in zoo.SYSTEMS.items()]
    elif args.config:
        found = of_config(args.config, args.overrides)
    else:
        checkpoint = read_checkpoint(args.checkpoint, trust=args.trust_checkpoint, adapter=args.adapter)
        found = of_checkpoint(checkpoint)
    if args.json:
        print(to_json(found, indent=2))
    elif args.zoo:
        _print_zoo(found)
    else:
        _print(found)
    return console.EXIT_OK


def of_checkpoint(checkpoint: Checkpoint) -> dict[str, Any]:
    """What a checkpoint is."""
    with torch.device("meta"):  # shapes without memory
        network: nn.Module = SpectrogramEncoder(checkpoint.encoder_config)
        if checkpoint.adaptation:
            adapt(network, checkpoint.adaptation)
        if checkpoint.head_config:
            network = SpectrogramClassifier(network, checkpoint.head_config)
    model = (checkpoint.training_config or {}).get("model") or {}
    origin = {
        "path": str(checkpoint.path),
        "layout": checkpoint.layout,
        "sha256": _sha256(_tensor_files(checkpoint)),
        "num_updates": checkpoint.num_updates,
        "trained_by": model.get("_name"),
        "started_from": model.get("model_path") or model.get("init") or None,
        "data": ((checkpoint.training_config or {}).get("task") or {}).get("data"),
    }
    head = None
    if checkpoint.head_config:
        head = checkpoint.head_config.to_dict() | {
            "scores": "sigmoid" if checkpoint.independent_scores else "softmax",
            "multi_label": checkpoint.multi_label,
            "label_names": checkpoint.label_names,
        }
    if checkpoint.base:
        origin |= {"base": checkpoint.base.path, "base_checksum": checkpoint.base.sha256}
    found = _described(checkpoint.encoder_config, network, checkpoint.front_end)
    found |= {"adaptation": to_dicts(checkpoint.adaptation)}
    return found | {"used_in_training_alone": checkpoint.training_parts, "head": head, "origin": origin}


def _tensor_files(checkpoint: Checkpoint) -> list[Path]:
    """The files of a checkpoint's tensors; of adapters their own, not their base's."""
    path = checkpoint.path
    if path.is_file():
        return [path]
    own = [path / layout.TENSORS for layout in (adapter_directory, peft_directory)] if checkpoint.base else []
    return next(([file] for file in own if file.is_file()), None) or weight_files(path)


def of_config(name: str, overrides: Sequence[str]) -> dict[str, Any]:
    """What a run of a configuration would train, its decoder and heads included.

    Raises:
        ValueError: the configuration does not compose, or describes no network.
    """
    from ..launch.arguments import Arguments
    from ..launch.recipe import Recipe, find_config

    logging.disable(logging.INFO)  # fairseq announces packages that this program has no use for
    file = find_config(name)
    config = Recipe(file, Arguments.parse(list(overrides))).config
    from ..fairseq_plugin.describing import describe_run  # which needs fairseq

    encoder, network, front_end = describe_run(config)
    return _described(encoder, network, front_end) | {"head": None, "origin": {"config": str(file)}}


def _described(config: EncoderConfig, network: nn.Module, front_end: FrontEnd) -> dict[str, Any]:
    parts = [{"name": p.name, "parameters": p.parameters, "trained": p.trained} for p in parts_of(network)]
    total, trained = (sum(part[key] for part in parts) for key in ("parameters", "trained"))
    frames = front_end.target_length_frames
    grid = patch_grid(frames, config.num_mel_bins, config.patches) if frames else None
    return {
        "system": zoo.system_of(config),
        "encoder": config.to_dict(),
        "parts": parts,
        "parameters": {"total": total, "trained": trained, "frozen": total - trained},
        "patches_per_clip": grid.num_patches if grid else None,
        "gflop_per_clip": clip_flops(config, grid) / 1e9 if grid else None,
        "front_end": front_end.to_dict(),
    }


def _of_system(config: EncoderConfig) -> dict[str, Any]:
    with torch.device("meta"):
        encoder = SpectrogramEncoder(config)
    return _described(config, encoder, FrontEnd(1024, num_mel_bins=config.num_mel_bins))


def _sha256(files: list[Path]) -> str:
    """Of the files one after another, as `cat FILES | sha256sum` prints it."""
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as handle:
            while block := handle.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def _print(found: dict[str, Any]) -> None:
    front_end, head, parameters = found["front_end"], found["head"], found["parameters"]
    rows = [("system", found["system"] or "none of the known ones (asda-info --zoo)")]
    rows += [(name.replace("_", " "), value) for name, value in found["origin"].items() if value is not None]
    rows += [(key, value) for key, value in _flat(found["encoder"])]
    rows += [(name.replace("_", " "), value) for name, value in front_end.items()]
    if found["gflop_per_clip"] is not None:
        rows += [("patches per clip", found["patches_per_clip"])]
        rows += [("GFLOP per clip", f"{found['gflop_per_clip']:.3g} (forward pass of the encoder)")]
    if head:
        labels = head["label_names"]
        listed = ", ".join(labels[:_LISTED_LABELS]) + (", ..." if len(labels) > _LISTED_LABELS else "")
        rows += [("classes", f"{head['num_classes']}{f': {listed}' if labels else ''}")]
        rows += [(f"head {name}", head[name]) for name in ("pooling", "norm", "norm_eps", "scores")]
    for method in found.get("adaptation", []):
        settings = ", ".join(f"{name}={value}" for name, value in method.items() if name != "kind")
        rows += [("adaptation", f"{method['kind']}{f' ({settings})' if settings else ''}")]
    width = max(len(str(name)) for name, _ in rows)
    for name, value in rows:
        print(f"{name:<{width}}  {one_line(str(value))}")
    print()
    parts = [*found["parts"], {"name": "total", "parameters": parameters["total"], "trained": parameters["trained"]}]
    if parameters["frozen"]:
        parts += [{"name": "of these frozen", "parameters": parameters["frozen"], "trained": 0}]
    width = max(len(part["name"]) for part in parts) + len(" (training alone)")
    print(f"{'PART':<{width}}  {'PARAMETERS':>14}  {'TRAINED':>14}")
    parts += [
        {"name": f"{name} (training alone)", "parameters": count, "trained": 0 if name == "unused" else count}
        for name, count in found.get("used_in_training_alone", {}).items()
    ]
    for part in parts:
        print(f"{part['name']:<{width}}  {part['parameters']:>14,}  {part['trained']:>14,}")


def _print_zoo(systems: list[dict[str, Any]]) -> None:
    heading = ("SYSTEM", "LAYERS", "WIDTH", "ATTENTION", "NORM", "POSITIONS", "PREFIX", "PATCH", "STRIDE", "PARAMETERS")
    rows: list[Sequence[Any]] = [heading]
    for system in systems:
        encoder = system["encoder"]
        stack, patches = encoder["stack"], encoder["patches"]
        pair = [" x ".join(map(str, patches[key])) for key in ("size", "stride")]
        names = (stack["attention"]["kind"], stack["norm"], encoder["positions"], encoder["num_prefix_tokens"])
        sizes = (stack["depth"], stack["embed_dim"])
        rows.append((system["name"], *sizes, *names, *pair, f"{system['parameters']['total']:,}"))
    print("\n".join(console.aligned(rows)))


def _flat(values: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    found = []
    for name, value in values.items():
        found += _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else [(f"{prefix}{name}", value)]
    return found


if __name__ == "__main__":
    sys.exit(main())
