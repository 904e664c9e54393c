"""asda-plot: loss, variances, learning rate, throughput and validation metrics of a run, from its log to a png.

The log may be of common.log_format=json or simple; of tqdm it holds the ends of epochs, of none nothing.
"""

from __future__ import annotations

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
MADE_BY = "asda-plot"
"""Stands in the png, so that another picture is never replaced."""
METRICS = ("mAP", "accuracy")
LEGEND = {"loss_IMAGE_regression": "frame loss", "loss_cls": "utterance loss", "lr_default": "lr"}


def main(argv: list[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    parser = Parser(prog="asda-plot", description=__doc__)
    parser.add_argument("run_dir", type=Path, metavar="RUN_DIR", help="folder of the run: where its log lies")
    parser.add_argument("--output", type=Path, metavar="PNG", help="[RUN_DIR/curves.png]")
    args = parser.parse_args(argv)
    return console.run("asda-plot", lambda: plot(args.run_dir, args.output or args.run_dir / "curves.png"))


def panels(run: dict[str, Series]) -> dict[str, dict[str, dict[int, float]]]:
    """What to draw: title of a panel -> label of a curve -> update -> value. Panels without data are left out."""
    training = run.get(INTERVAL) or run.get(EPOCH, {})
    # The learning rate is no mean over updates: the ends of epochs are points like others, and the last ends the run.
    training = training | {name: _joined(run, name) for name in PANELS["learning rate"]}
    found = {
        title: {LEGEND.get(name, name): training[name] for name in names if training.get(name)}
        for title, names in PANELS.items()
    }
    for kind in sorted(run.keys() - {INTERVAL, EPOCH}):
        for metric in METRICS:
            if run[kind].get(metric):
                found.setdefault(metric, {})[kind] = run[kind][metric]
    return {title: curves for title, curves in found.items() if curves}


def _joined(run: dict[str, Series], name: str) -> dict[int, float]:
    """A series of the lines of intervals and of epochs."""
    points = {**run.get(EPOCH, {}).get(name, {}), **run.get(INTERVAL, {}).get(name, {})}
    return dict(sorted(points.items()))


def plot(run_dir: Path, output: Path) -> int:
    """Reads the log and draws."""
    refuse_foreign(output, "curves of asda-plot", holds(MADE_BY, "Matplotlib version"))
    run = read_run(run_dir)
    from matplotlib import pyplot  # only here: nothing else needs it

    from ..reports.figures import draw_curve

    if not run.get(INTERVAL):
        console.note(
            f"{run_dir}: the log has no line within an epoch, so that training is drawn by epoch; "
            "common.log_format=json or simple writes one after every common.log_interval updates"
        )
    drawn = panels(run)
    figure, axes = pyplot.subplots(len(drawn), 1, figsize=(8, 2.2 * len(drawn)), sharex=True, squeeze=False)
    for axis, (title, curves) in zip(axes[:, 0], drawn.items(), strict=True):
        for label, points in curves.items():
            draw_curve(axis, points, linewidth=1.2, label=label)
        axis.set_ylabel(title)
        axis.grid(alpha=0.3)
        if len(curves) > 1:
            axis.legend(fontsize="small")
    axes[-1, 0].set_xlabel("updates")
    figure.suptitle(run_dir.resolve().name)
    figure.tight_layout()
    with atomic_path(output) as temporary:
        figure.savefig(temporary, format="png", dpi=120, metadata={"Software": MADE_BY})
    pyplot.close(figure)
    print(f"{output}: {', '.join(drawn)}")
    return console.EXIT_OK
