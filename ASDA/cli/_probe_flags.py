"""The flags of asda-probe, and which go together."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..core.classifier import POOLINGS
from ..probes.methods import METHODS
from . import _flags as flags
from ._parser import Parser, not_negative, positive, whole_or_zero

ALL, LAST = "all", "last"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """All of them."""
    parser.add_argument("paths", nargs="*", type=Path, metavar="CHECKPOINT DATA", help="what to probe, and on what")
    parser.add_argument(
        "--checkpoint", nargs="+", type=Path, metavar="FILE", help="several, such as runs of other seeds"
    )
    parser.add_argument("--data", nargs="+", type=Path, metavar="DIR", help="several, each a fold")
    group = parser.add_argument_group("probe")
    group.add_argument("--method", choices=METHODS, help="[logistic]")
    group.add_argument(
        "--anomaly", action="store_true", help="normal against other sounds: kNN and Mahalanobis distances"
    )
    group.add_argument("--layers", type=_layers, metavar="all|last|6,12", help="[all; attentive: last]")
    group.add_argument("--pooling", choices=POOLINGS, help="of a clip's tokens [mean]")
    group.add_argument("--seeds", type=positive, default=1, metavar="N", help="random networks and heads [%(default)s]")
    group.add_argument(
        "--random-weights", action=argparse.BooleanOptionalAction, default=True, help="beside the checkpoint [yes]"
    )
    group.add_argument(
        "--regularisation",
        type=not_negative,
        metavar="X",
        help="logistic: sklearn's C; linear, attentive, gated: the weights' penalty [chosen on valid or within train]",
    )
    group.add_argument("--neighbours", type=positive, metavar="K", help="of knn [chosen likewise], of --anomaly [1]")
    group.add_argument(
        "--bootstrap", type=whole_or_zero, default=1000, metavar="N", help="draws for intervals; 0: none [%(default)s]"
    )
    output = parser.add_argument_group("output")
    output.add_argument("--output", type=Path, metavar="DIR", help="folder for results.json, table.csv and layers.png")
    output.add_argument(
        "--cache", type=Path, metavar="DIR", help="folder of features, kept for other runs [OUTPUT/features, else none]"
    )
    output.add_argument("--json", type=Path, metavar="FILE", help="also write the table's rows to this file")
    model = parser.add_argument_group("model")
    flags.add_adapter_argument(model)
    flags.add_hearing_arguments(model, batch_size=16, chooses_processes=False)
    flags.add_window_arguments(model)
    flags.add_h5_argument(parser)


def _layers(text: str) -> str | tuple[int, ...]:
    if text in (ALL, LAST):
        return text
    try:
        return tuple(dict.fromkeys(int(number) for number in text.split(",")))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected all, last or layer numbers such as 6,12, got {text!r}") from None


def complete(parser: Parser, args: argparse.Namespace) -> None:
    """Refuses flags that would do nothing, and fills in what depends on others."""
    if bool(args.paths) == bool(args.checkpoint or args.data) or len(args.paths) == 1:
        parser.error("expected CHECKPOINT DATA, or --checkpoint FILE ... with --data DIR ...")
    if args.paths:
        args.checkpoint, args.data = args.paths[:1], args.paths[1:]
    if not (args.checkpoint and args.data):
        parser.error("--checkpoint and --data go together")
    if args.adapter and len(args.checkpoint) > 1:
        parser.error("--adapter goes with a single checkpoint")
    if args.anomaly and (args.method or args.regularisation is not None):
        parser.error("--anomaly has its own scores; --method and --regularisation do not go with it")
    args.method = args.method or "logistic"
    _check_method(parser, args)
    tokens = METHODS[args.method].tokens
    args.layers = args.layers or (LAST if tokens else ALL)
    args.pooling = None if tokens else args.pooling or "mean"


def _check_method(parser: Parser, args: argparse.Namespace) -> None:
    method = METHODS[args.method]
    if method.tokens and args.pooling:
        parser.error(f"--method {args.method} weighs the tokens itself; --pooling does not go with it")
    if args.method == "knn" and args.regularisation is not None:
        parser.error("--regularisation does not go with --method knn; --neighbours does")
    if args.neighbours and not args.anomaly and args.method != "knn":
        parser.error("--neighbours goes with --method knn or --anomaly")
    if args.method == "logistic" and args.regularisation == 0:
        parser.error("--regularisation 0: sklearn's C has to be above 0")
    if args.seeds > 1 and not args.random_weights and not method.drawn:
        parser.error("--seeds: without random weights nothing here is drawn")
