"""asda-plot: loss, variances, learning rate, throughput and validation metrics of runs, from their logs to a png.

Several runs are drawn into the same panels, a colour for each; parts of the loss and variances are left out then. A log
may be of common.log_format=json or simple; of tqdm it holds the ends of epochs, of none nothing.
"""

from __future__ import annotations

from itertools import cycle
from pathlib import Path

from ..atomic import atomic_path
from ..reports.run_logs import EPOCH, INTERVAL, Series, read_run
from . import _console as console
from ._outputs import holds, refuse_foreign
from ._parser import Parser

# Panel -> the series it shows, those that the run has. Evaluation metrics are drawn per split.
PANELS = {
    "loss": ("loss", "loss_IMAGE_regression", "loss_cls"),
    "variance": ("pred_var", "target_var"),
    "learning rate": ("lr_default", "lr"),
    "clips per second": ("clips_per_s",),
}
ONE_RUN_ALONE = {"loss_IMAGE_regression", "loss_cls", "pred_var", "target_var"}
"""Series that would hide the runs among each other."""
MADE_BY = "asda-plot"
"""Stands in the png, so that another picture is never replaced."""
METRICS = ("mAP", "accuracy")
LEGEND = {"loss_IMAGE_regression": "frame loss", "loss_cls": "utterance loss", "lr_default": "lr"}
STYLES = ("-", "--", ":", "-.")
"""Of the curves of one run in a panel, where the colour says which run."""

Panels = dict[str, dict[str, dict[int, float]]]
"""Title of a panel -> label of a curve -> update -> value."""


def main(argv: list[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    parser = Parser(prog="asda-plot", description=__doc__)
    parser.add_argument("run_dirs", nargs="+", type=Path, metavar="RUN_DIR", help="folder of a run, with its log")
    parser.add_argument("--output", type=Path, metavar="PNG", help="[RUN_DIR/curves.png; of several runs curves.png]")
    args = parser.parse_args(argv)
    folder = args.run_dirs[0] if len(args.run_dirs) == 1 else Path()
    return console.run("asda-plot", lambda: plot(args.run_dirs, args.output or folder / "curves.png"))


def panels(run: dict[str, Series], alone: bool = True) -> Panels:
    """What to draw of a run. Panels without data are left out.

    Args:
        run: as :func:`read_run` gives it.
        alone: draw also what belongs to one run alone.
    """
    training = run.get(INTERVAL) or run.get(EPOCH, {})
    # The learning rate is no mean over updates: the ends of epochs are points like others, and the last ends the run.
    training = training | {name: _joined(run, name) for name in PANELS["learning rate"]}
    found = {
        title: {
            LEGEND.get(name, name): training[name]
            for name in names
            if training.get(name) and (alone or name not in ONE_RUN_ALONE)
        }
        for title, names in PANELS.items()
    }
    for kind in sorted(run.keys() - {INTERVAL, EPOCH}):
        if run[kind].get("loss"):
            found["loss"][f"{kind} loss"] = run[kind]["loss"]
        for metric in METRICS:
            if run[kind].get(metric):
                found.setdefault(metric, {})[kind] = run[kind][metric]
    return {title: curves for title, curves in found.items() if curves}


def _joined(run: dict[str, Series], name: str) -> dict[int, float]:
    """A series of the lines of intervals and of epochs."""
    points = {**run.get(EPOCH, {}).get(name, {}), **run.get(INTERVAL, {}).get(name, {})}
    return dict(sorted(points.items()))


def plot(run_dirs: list[Path], output: Path) -> int:
    """Reads the logs and draws."""
    refuse_foreign(output, "curves of asda-plot", holds(MADE_BY, "Matplotlib version"))
    runs = [_read(run_dir) for run_dir in run_dirs]
    from matplotlib import pyplot  # only here: nothing else needs it

    from ..reports.comparison import names_of
    from ..reports.figures import draw_curve

    drawn = {name: panels(run, len(runs) == 1) for name, run in zip(names_of(run_dirs), runs, strict=True)}
    titles = list(dict.fromkeys(title for of_run in drawn.values() for title in of_run))
    figure, axes = pyplot.subplots(len(titles), 1, figsize=(8, 2.2 * len(titles)), sharex=True, squeeze=False)
    for axis, title in zip(axes[:, 0], titles, strict=True):
        for number, (name, of_run) in enumerate(drawn.items()):
            for (label, points), line in zip(of_run.get(title, {}).items(), cycle(STYLES), strict=False):
                style = {} if len(runs) == 1 else {"color": f"C{number}", "linestyle": line}
                draw_curve(axis, points, linewidth=1.2, label=label if len(runs) == 1 else f"{name}: {label}", **style)
        axis.set_ylabel(title)
        axis.grid(alpha=0.3)
        if len(axis.lines) > 1:
            axis.legend(fontsize="small")
    axes[-1, 0].set_xlabel("updates")
    figure.suptitle(", ".join(drawn))
    figure.tight_layout()
    with atomic_path(output) as temporary:
        figure.savefig(temporary, format="png", dpi=120, metadata={"Software": MADE_BY})
    pyplot.close(figure)
    print(f"{output}: {', '.join(titles)}")
    return console.EXIT_OK


def _read(run_dir: Path) -> dict[str, Series]:
    run = read_run(run_dir)
    if not run.get(INTERVAL):
        console.note(
            f"{run_dir}: the log has no line within an epoch, so that training is drawn by epoch; "
            "common.log_format=json or simple writes one after every common.log_interval updates"
        )
    return run
