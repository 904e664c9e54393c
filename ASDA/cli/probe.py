"""asda-probe: what do the features of a frozen encoder know, compared with the same network at random weights?

asda-probe model.pt /manifests/esc50 --output probed/                 logistic regression at each layer, folds or splits
asda-probe model.pt /manifests/voices --method gated --seeds 3        a convex weight for each layer
asda-probe model.pt /data/fan --anomaly --output fan/                 normal and other sounds: AUC and partial AUC

DATA has train and eval (and valid) manifests with labels, or folders fold1, fold2, ... with them. A probe's setting is
chosen on valid or, without it, by cross-validation within train; never on eval.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from ..atomic import atomic_writer
from ..checkpoints.reading import read_checkpoint
from ..core.classifier import POOLINGS
from ..inference import TrainedEncoder
from ..inference.features import check_layers
from ..inference.model import build_encoder
from ..probes.anomaly import AnomalyTask, judge_anomaly, read_anomaly_task
from ..probes.features import FeatureSettings, FeatureSource, check_pooling
from ..probes.methods import METHODS
from ..probes.study import Row, Study, networks, probe_network, summarise
from ..probes.tasks import Task, find_folds, read_task
from ..reports.probing import COLUMNS, MADE_BY, draw_layer_weights, draw_layers, percent, write_table
from . import _console as console
from . import _flags as flags
from ._json import to_json
from ._outputs import begins_with, holds, refuse_foreign
from ._parser import Parser, positive

ALL, LAST = "all", "last"
ANOMALY_METRICS = ("AUC", "pAUC")
CLASS_METRICS = ("accuracy", "mAP")
_RESULTS_MARK = '"program": "asda-probe"'


def main(argv: list[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    parser = Parser(prog="asda-probe", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    _add_arguments(parser)
    args = parser.parse_args(argv)
    if bool(args.paths) == bool(args.checkpoint or args.data) or (args.paths and len(args.paths) < 2):
        parser.error("expected CHECKPOINT DATA, or --checkpoint FILE ... with --data DIR ...")
    if args.paths:
        args.checkpoint, args.data = args.paths[:1], args.paths[1:]
    if not (args.checkpoint and args.data):
        parser.error("--checkpoint and --data go together")
    _check_combination(parser, args)
    return console.run("asda-probe", lambda: probe(args))


def _add_arguments(parser: argparse.ArgumentParser) -> None:
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
        type=_not_negative,
        metavar="X",
        help="logistic: sklearn's C; linear, attentive, gated: the weights' penalty [chosen on valid or within train]",
    )
    group.add_argument("--neighbours", type=positive, metavar="K", help="of knn [chosen likewise], of --anomaly [1]")
    group.add_argument(
        "--bootstrap", type=int, default=1000, metavar="N", help="draws for intervals; 0: none [%(default)s]"
    )
    output = parser.add_argument_group("output")
    output.add_argument("--output", type=Path, metavar="DIR", help="folder for results.json, table.csv and layers.png")
    output.add_argument(
        "--cache", type=Path, metavar="DIR", help="folder of features [OUTPUT/features; without it none]"
    )
    output.add_argument("--json", type=Path, metavar="FILE", help="also write the table's rows to this file")
    hearing = parser.add_argument_group("model")
    flags.add_hearing_arguments(hearing, batch_size=16)
    flags.add_window_arguments(hearing)
    flags.add_h5_argument(parser)


def _layers(text: str) -> str | tuple[int, ...]:
    if text in (ALL, LAST):
        return text
    try:
        return tuple(dict.fromkeys(int(number) for number in text.split(",")))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected all, last or layer numbers such as 6,12, got {text!r}") from None


def _not_negative(text: str) -> float:
    value = float(text)
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number of at least 0, got {text}")
    return value


def _check_combination(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Refuses flags that would do nothing, and fills in what depends on others."""
    if args.anomaly and (args.method or args.regularisation is not None):
        parser.error("--anomaly has its own scores; --method and --regularisation do not go with it")
    args.method = args.method or "logistic"
    method = METHODS[args.method]
    if method.tokens and args.pooling:
        parser.error(f"--method {args.method} weighs the tokens itself; --pooling does not go with it")
    if args.method == "knn" and args.regularisation is not None:
        parser.error("--regularisation does not go with --method knn; --neighbours does")
    if args.neighbours and not args.anomaly and args.method != "knn":
        parser.error("--neighbours goes with --method knn or --anomaly")
    if args.method == "logistic" and args.regularisation == 0:
        parser.error("--regularisation 0: sklearn's C has to be above 0")
    if args.seeds > 1 and not args.random_weights and (args.anomaly or not method.drawn):
        parser.error("--seeds: without random weights nothing here is drawn")
    if args.bootstrap < 0:
        parser.error(f"--bootstrap: expected at least 0, got {args.bootstrap}")
    args.layers = args.layers or (LAST if method.tokens else ALL)
    args.pooling = None if method.tokens else args.pooling or "mean"


def probe(args: argparse.Namespace) -> int:
    """Probes every checkpoint; prints the rows of a network as soon as they are known."""
    outputs = _outputs(args)
    device = flags.choose_device(args.device)
    metrics = ANOMALY_METRICS if args.anomaly else CLASS_METRICS
    runs: list[Row] = []
    with ExitStack() as stack:
        cache = args.cache or (args.output / "features" if args.output else None)
        source = _source(args, cache or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="asda-probe-"))))
        tasks = _read_tasks(args, source)
        windowing = None
        for number, path in enumerate(args.checkpoint):
            checkpoint = read_checkpoint(path, trust=args.trust_checkpoint)
            checkpoint.front_end = flags.front_end(args, checkpoint.front_end)
            trained = build_encoder(checkpoint).to(device)
            windowing = source.settings.windowing(trained)
            study = _study(args, trained, len(tasks))
            for weights, seed, network in networks(trained, study, number * args.seeds + 1, args.random_weights):
                named = {"checkpoint": str(path), "weights": weights, "seed": seed}
                found = [named | row for row in _probed(args, network, tasks, source, study, seed)]
                runs += found
                for row in summarise(found, metrics):
                    print(_line(row, metrics, args.seeds), flush=True)
        rows = summarise(runs, metrics)
        _report(args, rows, runs, metrics, study)
        cut = console.CutClips(windowing)
        cut.number = len(source.cut)
        cut.report()
        return console.report_bad_clips(list(source.bad.values()), _num_clips(tasks), outputs.get("errors"))


def _outputs(args: argparse.Namespace) -> dict[str, Path]:
    """Where things go; what is not this program's is not replaced.

    Raises:
        ValueError: something else lies there.
    """
    if args.json:
        refuse_foreign(args.json, "rows of asda-probe", holds('"weights"'))
    if args.output is None:
        return {}
    refuse_foreign(args.output / "results.json", "results of asda-probe", holds(_RESULTS_MARK))
    refuse_foreign(args.output / "table.csv", "a table of asda-probe", begins_with(",".join(COLUMNS)))
    refuse_foreign(args.output / "layers.png", "a picture of asda-probe", holds(MADE_BY))
    errors = args.output / "errors.tsv"
    console.check_errors_path(errors)
    args.output.mkdir(parents=True, exist_ok=True)
    return {"errors": errors}


def _source(args: argparse.Namespace, cache: Path) -> FeatureSource:
    settings = FeatureSettings(
        args.pooling,
        args.padding,
        args.long == "windows",
        args.half,
        args.batch_size,
        args.num_workers,
        args.h5_sample_rate,
    )
    return FeatureSource(cache, settings, console.progress)


def _read_tasks(args: argparse.Namespace, source: FeatureSource) -> list[Task] | list[AnomalyTask]:
    folders = args.data if args.anomaly else [fold for folder in args.data for fold in find_folds(folder)]
    names = [folder.name for folder in folders]
    if len(set(names)) < len(names):
        names = [str(folder) for folder in folders]
    if len(set(names)) < len(names):
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)}: given twice")
    if args.anomaly:
        return [
            read_anomaly_task(folder, source.checksums.of, name) for folder, name in zip(folders, names, strict=True)
        ]
    tasks = [read_task(folder, source.checksums.of, name) for folder, name in zip(folders, names, strict=True)]
    for text in dict.fromkeys(text for task in tasks for text in task.notes):
        console.note(text)
    if len({task.single_label for task in tasks}) > 1:
        raise ValueError("some folds have one label per clip, others not; they cannot be averaged")
    return tasks


def _study(args: argparse.Namespace, trained: TrainedEncoder, num_tasks: int) -> Study:
    depth = trained.encoder.depth
    named = {ALL: tuple(range(1, depth + 1)), LAST: (depth,)}
    layers = named[args.layers] if isinstance(args.layers, str) else args.layers
    check_layers(trained.encoder, layers)
    check_pooling(trained.encoder, args.pooling)
    setting = args.neighbours if args.method == "knn" else args.regularisation
    # Folds have their deviation; the interval of one fold says nothing of the mean.
    return Study(args.method, layers, args.seeds, setting, args.bootstrap if num_tasks == 1 else 0)


def _probed(
    args: argparse.Namespace, network: TrainedEncoder, tasks: Sequence, source: FeatureSource, study: Study, seed: int
) -> list[Row]:
    if not args.anomaly:
        return list(probe_network(network, tasks, source, study, seed))
    clips = [clip for task in tasks for clip in (*task.memory, *task.test)]
    features = source.features(network, study.layers, clips)
    return [
        {"layer": layer, **row}
        for task in tasks
        for place, layer in enumerate(study.layers)
        for row in judge_anomaly(task, features, place, args.neighbours or 1, study.bootstrap)
    ]


def _line(row: Row, metrics: Sequence[str], seeds: int) -> str:
    numbers = "  ".join(percent(row, name) for name in metrics if name in row)
    score = f"  {row['score']}" if "score" in row else ""
    seed = f" seed {row['seed']}" if seeds > 1 or row["weights"] == "random" else ""
    return f"{row['weights'] + seed:<14}  layer {row['layer']:>3}{score}:  {numbers}"


def _report(args: argparse.Namespace, rows: list[Row], runs: list[Row], metrics: Sequence[str], study: Study) -> None:
    """Warns of what nobody should overlook, and writes the files."""
    untold = {name for run in runs for name in run.get("classes_without_train_clips", ())}
    if untold:
        console.note(
            f"{len(untold)} classes of eval clips have no train clip and cannot be told: "
            f"{', '.join(sorted(untold)[:10])}"
        )
    best = _best_layer(rows)
    if best is not None:
        console.note(
            f"layer {best['layer']} did best where settings were chosen ({best['chosen_score']:.3f}); eval had no say"
        )
    if args.json:
        with atomic_writer(args.json) as handle:
            handle.write(to_json(rows, indent=2))
    if args.output is None:
        return
    what = "anomaly" if args.anomaly else args.method
    results = {"program": "asda-probe", "what": what, "settings": _settings(args), "table": rows, "runs": runs}
    with atomic_writer(args.output / "results.json") as handle:
        handle.write(to_json(results, indent=2))
    with atomic_writer(args.output / "table.csv") as handle:
        write_table(rows, metrics, handle)
    metric = next(name for name in metrics if name in rows[0])
    title = f"{', '.join(path.name for path in args.data)}: {what}"
    if "layer_weights" in rows[0]:
        draw_layer_weights(rows, study.layers, title, args.output / "layers.png")
    else:
        draw_layers(rows, metric, title, args.output / "layers.png")
    console.note(f"{args.output}: results.json, table.csv, layers.png")


def _best_layer(rows: list[Row]) -> Row | None:
    """The layer of the first checkpoint that did best on what settings were chosen on; None where that is no choice."""
    chosen = [row for row in rows if row["checkpoint"] == rows[0]["checkpoint"] and row["weights"] == "pre-trained"]
    chosen = [row for row in chosen if "chosen_score" in row]
    return max(chosen, key=lambda row: row["chosen_score"]) if len(chosen) > 1 else None


def _settings(args: argparse.Namespace) -> dict:
    return {name: json.loads(json.dumps(value, default=str)) for name, value in vars(args).items() if name != "paths"}


def _num_clips(tasks: Sequence) -> int:
    return len({clip.path for task in tasks for clip in _clips_of(task)})


def _clips_of(task: Task | AnomalyTask) -> list:
    return [*task.memory, *task.test] if isinstance(task, AnomalyTask) else task.clips


if __name__ == "__main__":
    raise SystemExit(main())
