"""The report of objectives.sh: what each objective taught, by its probes, and what its losses came to."""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from ASDA.data.labels import LabelTable
from ASDA.data.manifest import Manifest
from ASDA.reports.run_logs import INTERVAL, Series, read_run
from benchmarks import measuring
from benchmarks.over_seeds import compared, mean_and_interval

NAMES = {
    "patch": "MAE-AST, patches",
    "frame": "MAE-AST, frames",
    "generative": "MAE-AST, patches, generative loss alone",
    "discriminative": "MAE-AST, patches, discriminative loss alone",
    "asda": "ASDA",
}
ABOUT = {
    "demo": "Generated corpus: {train} clips to pre-train on (without labels) and to fit the probe on, {eval} held "
    "out, several of {classes} classes per clip.",
    "recorded": "sonic-pi-samples: {all} recordings, one of {classes} classes each. Pre-trained on all of them without "
    "labels; the probe's numbers are means over five folds, each fitted on the other four.",
}
LEGEND = (
    "Each method gets as much arithmetic as the first: `GFLOP per update` are products counted on clips of full "
    "length, forward and backward, a teacher's included (`benchmarks.equal_work`). Probe: one logistic regression per "
    "class on the mean of the last layer's patches; mean over the seeds and 95 % interval (Student's t). `random`: the "
    "same network at random weights. `squared error`, `per-bin mean` (the squared error of predicting each mel bin's "
    "mean in the same places), `InfoNCE` and `right patch` (how often it picks that): means over the last tenth of the "
    "updates and over the seeds; ASDA has none of them. `minutes`: of one run, on a machine with other work."
)
LIMITS = (
    "What this does not show: anything of networks, corpora and runs of a useful size. The networks have 4 layers of "
    "128 channels, a run takes minutes where published ones take days, and learning rates were chosen once for each "
    "system and not searched. Equal arithmetic is not equal time, nor equal memory. The intervals are over seeds of "
    "the same corpus: another corpus moves the numbers by more. A linear probe asks what is easy to read off the "
    "features, not what fine-tuning makes of them."
)


@dataclass(frozen=True)
class Method:
    """What a method did on a corpus.

    Attributes:
        name: for people.
        gflop: of an update.
        updates: of a run.
        trained: the probe's metric of each seed.
        random: the same at random weights.
        metric: which.
        runs: series of each seed's log.
        weights: of MAE-AST's two terms in the loss: generative (squared error), discriminative (InfoNCE).
    """

    name: str
    gflop: str
    updates: int
    trained: list[float]
    random: list[float]
    metric: str
    runs: list[Series]
    weights: dict[str, float]

    def last(self, key: str) -> float | None:
        """The mean of a logged number over the last tenth of the updates and over the seeds; None if there is none."""
        numbers = [
            value
            for series in self.runs
            for update, value in series.get(key, {}).items()
            if update > 0.9 * self.updates
        ]
        return statistics.fmean(numbers) if numbers else None

    def term(self, name: str) -> float | None:
        """A term of the loss, without its weight; None if the method does not learn from it."""
        if not self.weights.get(name):
            return None
        alone = sum(map(bool, self.weights.values())) == 1
        loss = self.last("loss" if alone else f"loss_{name}")  # a single term is logged as the loss
        return None if loss is None else loss / self.weights[name]

    @property
    def minutes(self) -> float:
        return statistics.fmean(max(series["wall"].values()) for series in self.runs) / 60


def methods_of(work: Path, corpus: str) -> Iterator[Method]:
    """What objectives.sh left of a corpus in its folder."""
    for line in (work / "work.tsv").read_text().splitlines():
        method, gflop, updates = line.split("\t")
        folder = work / corpus / method
        probed = json.loads((folder / "probe.json").read_text())
        metric = "accuracy" if "accuracy" in probed[0] else "mAP"
        trained, random = ([row[metric] for row in probed if row["weights"] == w] for w in ("pre-trained", "random"))
        seeds = sorted(folder.glob("seed*"))
        runs = [read_run(seed)[INTERVAL] for seed in seeds]
        model = yaml.safe_load((seeds[0] / "run.yaml").read_text())["model"]
        keys = {"generative": "reconstruction_weight", "discriminative": "classification_weight"}
        weights = {term: model[key] for term, key in keys.items() if key in model}
        yield Method(NAMES[method], gflop, int(updates), trained, random, metric, runs, weights)


def methods_table(methods: list[Method]) -> str:
    metric = methods[0].metric
    headings = ["method", "GFLOP per update", "updates", "minutes", f"{metric}, random", f"{metric}, pre-trained"]
    headings += ["squared error", "per-bin mean", "InfoNCE", "right patch"]
    rows = []
    for method in methods:
        losses = (method.term("generative"), method.last("bin_mean_loss"), method.term("discriminative"))
        hits = method.last("nce_accuracy")
        cells = [method.gflop, str(method.updates), f"{method.minutes:.1f}"]
        cells += [mean_and_interval(method.random), mean_and_interval(method.trained)]
        cells += ["-" if loss is None else f"{loss:.3f}" for loss in losses]
        rows.append([method.name, *cells, "-" if hits is None else f"{100 * hits:.1f} %"])
    return measuring.table(headings, rows)


def sentences(methods: list[Method]) -> str:
    """What is told apart, seed by seed: from random weights, and from the first method."""
    first, *others = methods
    lines = [compared(f"{method.name}, against random weights", method.random, method.trained) for method in methods]
    lines += [compared(f"{method.name}, against {first.name}", first.trained, method.trained) for method in others]
    for method in methods:
        error = method.term("generative")
        if error is not None:
            share = error / (method.last("bin_mean_loss") or 1.0)
            verdict = "more than the spectrum's mean was learnt" if share < 1 else "no more than a mean was learnt"
            lines.append(f"* {method.name}: {share:.2f} times the squared error of the per-bin mean; {verdict}.")
    return "\n".join(lines)


def numbers_of(folder: Path, corpus: str) -> dict[str, int]:
    """What the sentence about a corpus says, from its manifests."""
    if corpus == "recorded":
        fold = folder / "folds" / "fold1"
        count = sum(len(Manifest.read(fold / f"{split}.tsv")) for split in ("train", "eval"))
        return {"all": count, "classes": num_classes(fold)}
    splits = {split: len(Manifest.read(folder / f"{split}.tsv")) for split in ("train", "eval")}
    return {**splits, "classes": num_classes(folder)}


def num_classes(folder: Path) -> int:
    return len(LabelTable.read(folder / "label_descriptors.csv"))


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="folder of objectives.sh")
    parser.add_argument("--corpora", nargs="+", choices=ABOUT, required=True)
    parser.add_argument("--output", type=Path, required=True, help="markdown file")
    args = parser.parse_args(argv)
    parts = ["`benchmarks/objectives.sh`", measuring.environment(), LEGEND]
    for corpus in args.corpora:
        methods = list(methods_of(args.work, corpus))
        about = ABOUT[corpus].format(**numbers_of(args.work / "data" / corpus, corpus))
        parts += [f"## {corpus}", about, methods_table(methods), sentences(methods)]
    measuring.write_report([*parts, "## Limits", LIMITS], args.output)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
