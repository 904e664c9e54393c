"""The report of adaptation.sh: what each method trains, costs and reaches on each encoder, and how they differ."""

from __future__ import annotations

import argparse
import json
import statistics
from dataclasses import dataclass
from pathlib import Path

from ASDA.reports.over_seeds import compared, gain_and_interval, interval, mean_and_interval, overlap
from benchmarks import measuring
from benchmarks.objectives_report import numbers_of

FULL = "all"
NAMES = {
    "all": "full fine-tuning",
    "last_blocks": "last half of the blocks",
    "head": "head alone",
    "prompts": "prompts in each layer",
    "lora": "LoRA",
    "spatial_adapter": "adapters after attention",
    "aat_m": "adapters beside the MLPs (AAT^M)",
    "aat": "both adapters (AAT^MS)",
}
ENCODERS = {"asda": "ASDA, pre-trained", "mae_ast": "MAE-AST, pre-trained", "ast": "AST, random weights"}
AMONG_METHODS = [("aat", "lora"), ("aat", "prompts"), ("aat", "last_blocks"), ("aat", "aat_m")]
AMONG_METHODS += [("aat", "spatial_adapter"), ("aat_m", "spatial_adapter")]
LEGEND = (
    "Accuracy on held-out clips after the last update: each fold's is the mean over the seeds, the table has the "
    "mean of the folds and its 95 % interval (Student's t). Differences are of the same folds. `trained`: "
    "parameters with the head, and their share of the encoder's. `ms` and `peak MiB`: processor time and memory of "
    "an update of {clips} clips of full length, beyond weights and optimiser state; methods took turns. `rate`: the "
    "learning rate, chosen of {rates} for each encoder and method on {held_out} clips of the first fold's training "
    "part, with seed {seed}. A run has {updates} updates of {clips} clips of at most {frames} frames, AdamW, a "
    "tenth warm-up and a cosine, no augmentation, and the head on the mean of the patches. LoRA has rank 8 on "
    "queries, keys, values and output, adapters a quarter of the width, prompts 12 tokens in each layer, with a "
    "gate."
)
LIMITS = (
    "What this does not show: anything of encoders, data and runs of a useful size. The networks have 4 layers of "
    "128 channels and were pre-trained for minutes, AST's not at all: there a frozen encoder is one of random "
    "features. The clips are few; folds share most of their training clips, so that the intervals are narrower than "
    "those of new data would be; one learning rate of {rates} is no search. Adapters, prompts and LoRA have one "
    "size each. With so small a network a head and its optimiser weigh as much as what the methods add, and what "
    "freezing saves counts for less than at width 768. Prefix tuning is not implemented; prompts in each layer, "
    "which every token attends to, come closest. The number of adapters was varied by their places alone: in all "
    "blocks, at one place or at both."
)


@dataclass(frozen=True)
class Adapted:
    """What a method did on an encoder.

    Attributes:
        method: its key.
        accuracies: of each fold, the mean over the seeds.
        rate: the chosen learning rate.
        cost: trained parameters, milliseconds and peak MiB of an update.
        share: of the encoder's parameters.
    """

    method: str
    accuracies: list[float]
    rate: float
    cost: dict[str, float]
    share: float

    @classmethod
    def read(cls, folder: Path, method: str, seeds: list[int], folds: list[str]) -> Adapted:
        """From the folder of an encoder."""

        def accuracy(seed: int, fold: str) -> float:
            return _json(folder / method / f"seed{seed}_{fold}.json")["accuracy"]

        costs = _json(folder / "cost.json")
        cost = costs["methods"][method]
        accuracies = [statistics.fmean(accuracy(seed, fold) for seed in seeds) for fold in folds]
        rate = _json(folder / method / "rate.json")["rate"]
        return cls(method, accuracies, rate, cost, cost["trained"] / costs["encoder_parameters"])

    def row(self, full: Adapted | None) -> list[str]:
        cells = [NAMES[self.method], f"{self.cost['trained']:,} ({100 * self.share:.1f} %)"]
        cells += [f"{self.cost['ms']:.0f}", f"{self.cost['peak_mib']:.1f}", f"{self.rate:g}"]
        cells.append(mean_and_interval(self.accuracies))
        same = full is None or self.method == FULL
        return [*cells, "" if same else gain_and_interval(full.accuracies, self.accuracies)]


def _json(file: Path) -> dict:
    return json.loads(file.read_text(encoding="utf-8"))


Found = dict[str, dict[str, Adapted]]  # encoder -> method -> what it did


def encoder_table(of: dict[str, Adapted]) -> str:
    headings = ["method", "trained", "ms", "peak MiB", "rate", "accuracy", "against full fine-tuning, points"]
    return measuring.table(headings, [adapted.row(of.get(FULL)) for adapted in of.values()])


def over_encoders(found: Found, method: str) -> list[float]:
    """Accuracies by fold, the mean over the encoders."""
    return [statistics.fmean(fold) for fold in zip(*(of[method].accuracies for of in found.values()), strict=True)]


def differences(found: Found) -> str:
    """What is told apart: on each encoder, and on all of them together."""
    methods = next(iter(found.values()))
    pairs = [(method, FULL) for method in methods if method != FULL] + AMONG_METHODS
    lines = []
    for method, other in pairs:
        if method not in methods or other not in methods:
            continue
        before, after = over_encoders(found, other), over_encoders(found, method)
        what = f"{NAMES[method]} against {NAMES[other]}"
        line = compared(what, before, after, "folds")
        if len(before) > 1 and overlap(before, after):
            line += " The intervals of the two means overlap."
        lines.append(line + _told_on(found, method, other))
    return "\n".join(lines)


def _told_on(found: Found, method: str, other: str) -> str:
    """On which encoders by themselves the folds tell two methods apart, and which way."""
    words = []
    for encoder, of in found.items():
        gains = [a - b for a, b in zip(of[method].accuracies, of[other].accuracies, strict=True)]
        if len(gains) > 1:
            low, high = interval(gains)
            words += [f"{'above' if low > 0 else 'below'} on {ENCODERS[encoder]}"] if low > 0 or high < 0 else []
    return f" By itself {', '.join(words)}." if words else " On no encoder by itself are the two told apart."


def costs(found: Found) -> str:
    """What an update of each method takes, over that of full fine-tuning, over the encoders."""
    if any(FULL not in of for of in found.values()):
        return ""
    lines = []
    for method in next(iter(found.values())):
        if method != FULL:
            ratios = {
                key: [of[method].cost[key] / of[FULL].cost[key] for of in found.values()] for key in ("ms", "peak_mib")
            }
            time, memory = (_range(values) for values in ratios.values())
            lines.append(f"* {NAMES[method]}: {time} of the time of full fine-tuning's update, {memory} of its memory.")
    return "\n".join(lines)


def _range(values: list[float]) -> str:
    low, high = f"{min(values):.2f}", f"{max(values):.2f}"
    return low if low == high else f"{low} to {high}"


def about(corpus: Path, args: argparse.Namespace) -> str:
    numbers = numbers_of(corpus, "recorded")
    seeds, folds = (" ".join(map(str, values)) for values in (args.seeds, args.folds))
    return (
        f"sonic-pi-samples: {numbers['all']} recordings, one of {numbers['classes']} classes each, a class being the "
        f"name before the first underscore; seeds {seeds}, folds {folds}. ASDA and MAE-AST (patches) were pre-trained "
        "on all of them without labels by `benchmarks/objectives.sh`, a network for each seed."
    )


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="folder of adaptation.sh")
    parser.add_argument("--corpus", type=Path, required=True, help="folder of the corpus, with all and folds")
    parser.add_argument("--encoders", nargs="+", choices=ENCODERS, required=True)
    parser.add_argument("--methods", nargs="+", choices=NAMES, required=True)
    parser.add_argument("--seeds", nargs="+", type=int, required=True)
    parser.add_argument("--folds", nargs="+", required=True, help="names of the folds")
    parser.add_argument("--output", type=Path, required=True, help="markdown file")
    args = parser.parse_args(argv)
    found = {
        encoder: {m: Adapted.read(args.work / encoder, m, args.seeds, args.folds) for m in args.methods}
        for encoder in args.encoders
    }
    chosen = _json(args.work / args.encoders[0] / args.methods[0] / "rate.json")
    settings = chosen["settings"]
    rates = ", ".join(f"{rate:g}" for rate in settings["rates"])
    numbers = {**settings, "rates": rates, "held_out": chosen["held_out"]}
    parts = ["`benchmarks/adaptation.sh`", measuring.environment(), about(args.corpus, args), LEGEND.format(**numbers)]
    for encoder, of in found.items():
        parts += [f"## {ENCODERS[encoder]}", encoder_table(of)]
    parts += ["## Differences", "Means over the encoders, fold by fold:", differences(found), costs(found)]
    parts += ["## Limits", LIMITS.format(rates=rates)]
    measuring.write_report([part for part in parts if part], args.output)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
