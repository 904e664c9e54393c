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
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path

from . import _threads  # noqa: F401 (its settings are to be there when torch loads)

# isort: split
from ..atomic import atomic_writer
from ..checkpoints.adapters import merged
from ..checkpoints.reading import read_checkpoint
from ..inference import TrainedEncoder
from ..inference.features import check_layers
from ..inference.model import build_encoder
from ..probes.anomaly import METRICS as ANOMALY_METRICS
from ..probes.anomaly import judge_anomaly
from ..probes.anomaly_tasks import AnomalyTask, read_anomaly_task
from ..probes.features import FeatureSettings, FeatureSource, check_pooling
from ..probes.study import Row, Study, networks, probe_network, summarise
from ..probes.tasks import Task, find_folds, read_task, require_clips
from ..reports.probing import COLUMNS, MADE_BY, percent, write_table
from . import _console as console
from . import _flags as flags
from ._json import to_json
from ._outputs import begins_with, holds, refuse_foreign, refuse_same
from ._parser import Parser
from ._probe_flags import ALL, LAST, add_arguments, complete

CLASS_METRICS = ("accuracy", "mAP")
_RESULTS_MARK = '"program": "asda-probe"'


def main(argv: list[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    parser = Parser(prog="asda-probe", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    args = parser.parse_args(argv)
    complete(parser, args)
    return console.run("asda-probe", lambda: probe(args))


def probe(args: argparse.Namespace) -> int:
    """Probes every checkpoint; prints what a layer comes to as soon as it is known."""
    outputs = _outputs(args)
    device = flags.choose_device(args.device)
    flags.share_cores(args, device)
    metrics = tuple(ANOMALY_METRICS) if args.anomaly else CLASS_METRICS
    runs: list[Row] = []
    windowings = []
    with ExitStack() as stack:
        cache = args.cache or outputs.get("features")
        source = _source(args, cache or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="asda-probe-"))))
        tasks = _read_tasks(args, source)
        for number, path in enumerate(args.checkpoint):
            trained = _encoder(args, path).to(device)
            windowings.append(source.settings.windowing(trained))
            study = _study(args, trained, len(tasks))
            for weights, seed, network in networks(trained, study, number * args.seeds + 1, args.random_weights):
                named = {"checkpoint": str(path), "weights": weights, "seed": seed}
                rows = (named | row for row in _probed(args, network, tasks, source, study, seed))
                for _, of_layer in groupby(rows, key=lambda row: row["layer"]):
                    found = list(of_layer)
                    runs += found
                    for row in summarise(found, metrics):
                        print(_line(row, metrics), flush=True)
                if outputs:
                    _write_rows(args, outputs, runs, metrics)
        _report(args, outputs, summarise(runs, metrics), runs, metrics)
        for windowing in dict.fromkeys(windowings):
            lengths = console.ClipLengths(windowing)
            for num_frames in source.num_frames.values():
                lengths.count_frames(num_frames)
            lengths.report()
        total = len({clip.path for task in tasks for clip in task.clips})
        return console.report_bad_clips(list(source.bad.values()), total, outputs.get("errors"))


def _outputs(args: argparse.Namespace) -> dict[str, Path]:
    """Where things go; what is not this program's is not replaced.

    Raises:
        ValueError: something else lies there.
    """
    if args.json:
        refuse_foreign(args.json, "rows of asda-probe", holds('"weights"'))
    if args.output is None:
        return {}
    if find_spec("matplotlib") is None:
        raise ValueError(
            "--output draws a picture and needs matplotlib; install it, or take --json and --cache instead"
        )
    names = {"results": "results.json", "table": "table.csv", "picture": "layers.png", "errors": "errors.tsv"}
    outputs = {what: args.output / name for what, name in (names | {"features": "features"}).items()}
    refuse_same({"--json": args.json} | {f"--output ({name})": args.output / name for name in names.values()})
    refuse_foreign(outputs["results"], "results of asda-probe", holds(_RESULTS_MARK))
    refuse_foreign(outputs["table"], "a table of asda-probe", begins_with(",".join(COLUMNS)))
    refuse_foreign(outputs["picture"], "a picture of asda-probe", holds(MADE_BY))
    console.check_errors_path(outputs["errors"])
    args.output.mkdir(parents=True, exist_ok=True)
    return outputs


def _source(args: argparse.Namespace, cache: Path) -> FeatureSource:
    settings = FeatureSettings(
        args.pooling,
        args.padding,
        args.long == "windows",
        args.half,
        args.batch_size,
        args.num_workers,
        bool(args.worker_processes),
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
    read = read_anomaly_task if args.anomaly else read_task
    tasks = [read(folder, source.checksums.of, name) for folder, name in zip(folders, names, strict=True)]
    for text in dict.fromkeys(text for task in tasks for text in task.notes):
        console.note(text)
    for task in tasks if not args.anomaly else ():
        require_clips(task)
    if not args.anomaly and len({task.single_label for task in tasks}) > 1:
        raise ValueError("some folds have one label per clip, others not; they cannot be averaged")
    return tasks


def _encoder(args: argparse.Namespace, path: Path) -> TrainedEncoder:
    checkpoint = merged(read_checkpoint(path, trust=args.trust_checkpoint, adapter=args.adapter))
    checkpoint.front_end = flags.front_end(args, checkpoint.front_end)
    return build_encoder(checkpoint)


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
) -> Iterator[Row]:
    """A row for each layer and fold, layer by layer."""
    if not args.anomaly:
        yield from probe_network(network, tasks, source, study, seed)
        return
    features = source.features(network, study.layers, [clip for task in tasks for clip in task.clips])
    for place, layer in enumerate(study.layers):
        for task in tasks:
            for row in judge_anomaly(task, features, place, args.neighbours or 1, study.bootstrap):
                yield {"layer": layer} | row


def _line(row: Row, metrics: Sequence[str]) -> str:
    numbers = "  ".join(percent(row, name) for name in metrics if name in row)
    score = f"  {row['score']}" if "score" in row else ""
    return f"{row['weights']:<11}  seed {row['seed']}  layer {row['layer']:>3}{score}:  {numbers}"


def _report(
    args: argparse.Namespace, outputs: dict[str, Path], rows: list[Row], runs: list[Row], metrics: Sequence[str]
) -> None:
    """Says what nobody should overlook, draws, and writes the rows that --json wants."""
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
    if outputs:
        _draw(args, rows, metrics, outputs["picture"])
        console.note(f"{args.output}: results.json, table.csv, layers.png")


def _draw(args: argparse.Namespace, rows: list[Row], metrics: Sequence[str], file: Path) -> None:
    from ..reports.probe_figures import draw_layer_weights, draw_layers  # matplotlib: nothing else needs it

    title = f"{', '.join(path.name for path in args.data)}: {_what(args)}"
    if "layer_weights" in rows[0]:
        draw_layer_weights(rows, title, file)
    else:
        draw_layers(rows, next(name for name in metrics if name in rows[0]), title, file)


def _what(args: argparse.Namespace) -> str:
    return "anomaly" if args.anomaly else args.method


def _write_rows(args: argparse.Namespace, outputs: dict[str, Path], runs: list[Row], metrics: Sequence[str]) -> None:
    """Writes what is known so far."""
    settings = {name: value for name, value in vars(args).items() if name != "paths"}
    settings = json.loads(json.dumps(settings, default=str))
    rows = summarise(runs, metrics)
    results = {"program": "asda-probe", "what": _what(args), "settings": settings, "table": rows, "runs": runs}
    with atomic_writer(outputs["results"]) as handle:
        handle.write(to_json(results, indent=2))
    with atomic_writer(outputs["table"]) as handle:
        write_table(rows, metrics, handle)


def _best_layer(rows: list[Row]) -> Row | None:
    """The layer of the first checkpoint that did best on what settings were chosen on; None where none did better."""
    first = [row for row in rows if row["checkpoint"] == rows[0]["checkpoint"] and row["weights"] == "pre-trained"]
    chosen = [row for row in first if "chosen_score" in row]
    different = {row["chosen_score"] for row in chosen}
    return max(chosen, key=lambda row: row["chosen_score"]) if len(different) > 1 else None


if __name__ == "__main__":
    raise SystemExit(main())
