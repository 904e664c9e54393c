"""The report of adaptation.sh: what each method trains, costs and reaches on each encoder, and how they differ."""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ASDA.adaptation.lora import Lora
from ASDA.adaptation.prompts import DeepPrompts
from ASDA.data.labels import LabelTable, read_clip_labels
from ASDA.data.manifest import Manifest
from ASDA.reports.over_seeds import compared, gain_and_interval, interval, mean_and_interval, overlap, percent
from benchmarks import measuring
from benchmarks.adapted_encoders import UNTRAINED
from benchmarks.bench_adaptation import COST_HEADINGS, FULL, Cost
from benchmarks.objectives_report import numbers_of

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
ENCODERS |= {"asda_random": "ASDA, random weights", "mae_ast_random": "MAE-AST, random weights"}
QUESTIONS = {
    "Against full fine-tuning": [(method, FULL) for method in NAMES if method != FULL],
    "Adapters against LoRA, prompts, some of the blocks and the head": [
        ("aat", other) for other in ("lora", "prompts", "last_blocks", "head")
    ],
    "Number and place of adapters": [("aat", "aat_m"), ("aat", "spatial_adapter"), ("aat_m", "spatial_adapter")],
}
LEGEND = (
    "Accuracy on held-out clips after the last update: each fold's is the mean over the seeds, the table has the "
    "mean of the folds and its 95 % interval (Student's t). Differences are of the same folds. `trained`: "
    "parameters with the head, and their share of the encoder's. An update of {clips} clips of full length takes `ms` "
    "({clock}; methods took turns; in brackets over full fine-tuning's), `peak MiB` beyond weights and optimiser state "
    "(gradients and activations mostly), and `optimiser MiB` that AdamW keeps between updates. `rate`: the learning "
    "rate, chosen of {rates} for each encoder and method on {held_out} clips of the first fold's training part, with "
    "seed {seed}; in the other folds some of these are held out. A run has {updates} updates of {clips} clips of at "
    "most {frames} frames, the beginning of longer ones; AdamW with weight decay {weight_decay}, a tenth warm-up and "
    "a cosine, no augmentation, the head on the mean of the patches. LoRA has rank {rank} on {targets}; adapters a "
    "quarter of the width; prompts are {tokens} tokens in each layer, with a gate."
)
LIMITS = (
    "What this does not show: anything of encoders, data and runs of a useful size. The networks have {depth} layers "
    "of {width} channels; those that are pre-trained were so for minutes, and where weights are random a frozen "
    "encoder is one of random features. The clips are few, and folds share most of their training clips, so that the "
    "intervals are narrower than those of new data would be. Of {comparisons} comparisons at 95 % about one in twenty "
    "is told apart by chance alone. One learning rate of {rates} is no search. Adapters, prompts and LoRA have one "
    "size each. With so small a network the head and what the methods add weigh more beside the encoder than at width "
    "768, and what freezing saves counts for less. Prefix tuning is not implemented; prompts in each layer, which "
    "every token attends to, come closest. The number of adapters was varied by their places alone: in all blocks, "
    "at one place or at both."
)


@dataclass(frozen=True)
class Adapted:
    """What a method did on an encoder.

    Attributes:
        method: its key.
        accuracies: of each fold, the mean over the seeds.
        rate: the chosen learning rate.
        cost: of an update.
        share: of the encoder's parameters.
    """

    method: str
    accuracies: list[float]
    rate: float
    cost: Cost
    share: float

    @classmethod
    def read(cls, folder: Path, method: str, seeds: Sequence[int], folds: Sequence[str]) -> Adapted:
        """From the folder of an encoder."""

        def accuracy(seed: int, fold: str) -> float:
            return _json(folder / method / f"seed{seed}_{fold}.json")["accuracy"]

        costs = _json(folder / "cost.json")
        cost = Cost(**costs["methods"][method])
        accuracies = [statistics.fmean(accuracy(seed, fold) for seed in seeds) for fold in folds]
        rate = _json(folder / method / "rate.json")["rate"]
        return cls(method, accuracies, rate, cost, cost.trained / costs["encoder_parameters"])

    def row(self, full: Adapted | None) -> list[str]:
        cells = [NAMES[self.method], f"{self.cost.trained:,} ({100 * self.share:.1f} %)"]
        cells += [*self.cost.cells(full and full.cost), f"{self.rate:g}", mean_and_interval(self.accuracies)]
        same = full is None or self.method == FULL
        return [*cells, "" if same else gain_and_interval(full.accuracies, self.accuracies)]


def _json(file: Path) -> dict:
    return json.loads(file.read_text(encoding="utf-8"))


Found = dict[str, dict[str, Adapted]]  # encoder -> method -> what it did


def encoder_table(of: dict[str, Adapted]) -> str:
    headings = ["method", "trained", *COST_HEADINGS, "rate", "accuracy", "against full fine-tuning, points"]
    return measuring.table(headings, [adapted.row(of.get(FULL)) for adapted in of.values()])


def over_encoders(found: Found, method: str) -> list[float]:
    """Accuracies by fold, the mean over the encoders."""
    return [statistics.fmean(fold) for fold in zip(*(of[method].accuracies for of in found.values()), strict=True)]


def _without_twins(found: Found) -> Found:
    return {name: of for name, of in found.items() if name.removesuffix(UNTRAINED) not in found.keys() - {name}}


def differences(found: Found) -> Iterator[str]:
    """Question by question what is told apart: on all encoders together, and on each.

    Networks at random weights stand beside their pre-trained ones: they are no more encoders.
    """
    found = _without_twins(found)
    methods = next(iter(found.values()))
    for question, pairs in QUESTIONS.items():
        lines = [_difference(found, *pair) for pair in pairs if methods.keys() >= set(pair)]
        if lines:
            yield f"**{question}** (means over the encoders, fold by fold):\n\n" + "\n".join(lines)


def _difference(found: Found, method: str, other: str) -> str:
    before, after = over_encoders(found, other), over_encoders(found, method)
    line = _compared(f"{NAMES[method]} against {NAMES[other]}", before, after)
    words = []
    for encoder, of in found.items():
        gains = [a - b for a, b in zip(of[method].accuracies, of[other].accuracies, strict=True)]
        if len(gains) > 1:
            low, high = interval(gains)
            words += [f"{'above' if low > 0 else 'below'} on {ENCODERS[encoder]}"] if low > 0 or high < 0 else []
    return (
        f"{line} By itself {', '.join(words)}." if words else f"{line} On no encoder by itself are the two told apart."
    )


def _compared(what: str, before: list[float], after: list[float]) -> str:
    line = compared(what, before, after, "folds")
    return f"{line} The intervals of the two means overlap." if len(before) > 1 and overlap(before, after) else line


def encoders(found: Found) -> str:
    """What the encoder makes of it: the best methods on each, and what pre-training is good for."""
    lines = []
    for encoder, of in found.items():
        ranked = sorted(of.values(), key=lambda adapted: -statistics.fmean(adapted.accuracies))
        names = ", ".join(
            f"{NAMES[one.method]} {100 * statistics.fmean(one.accuracies):.1f} %" for one in (*ranked[:2], ranked[-1])
        )
        lines.append(f"* {ENCODERS[encoder]}: the two highest means and the lowest are {names}.")
    for encoder in found:
        for method in found[encoder] if f"{encoder}{UNTRAINED}" in found else ():
            before, after = (found[name][method].accuracies for name in (f"{encoder}{UNTRAINED}", encoder))
            lines.append(_compared(f"{NAMES[method]} on {ENCODERS[encoder]}, against random weights", before, after))
    return "**Encoders of different origin**:\n\n" + "\n".join(lines)


def costs(found: Found) -> str:
    """What an update of each method takes, over that of full fine-tuning, over the encoders."""
    if any(FULL not in of for of in found.values()):
        return ""
    lines = []
    for method in next(iter(found.values())):
        if method != FULL:
            pairs = [(of[method].cost, of[FULL].cost) for of in found.values()]
            time = _range([one.ms / full.ms for one, full in pairs])
            memory = _range([_held(one) / _held(full) for one, full in pairs])
            lines.append(f"* {NAMES[method]}: {time} of the time of full fine-tuning's update, {memory} of its memory.")
    return "**Cost** (memory: peak and optimiser's state together):\n\n" + "\n".join(lines)


def _held(cost: Cost) -> float:
    return max(cost.peak_mib + cost.optimizer_mib, 1e-9)  # a system that does not tell says 0


def _range(values: list[float]) -> str:
    low, high = f"{min(values):.2f}", f"{max(values):.2f}"
    return low if low == high else f"{low} to {high}"


def most_frequent(corpus: Path) -> float:
    """The share of clips that are of the most frequent class: what an answer without listening reaches."""
    fold, counts = corpus / "folds" / "fold1", []
    table = LabelTable.read(fold / "label_descriptors.csv")
    for split in ("train", "eval"):
        manifest = Manifest.read(fold / f"{split}.tsv")
        counts.append(read_clip_labels(fold / f"{split}.lbl", manifest, table).class_counts())
    return float(sum(counts).max() / sum(counts).sum())


def about(corpus: Path, args: argparse.Namespace) -> str:
    numbers = numbers_of(corpus, "recorded")
    seeds, folds = (" ".join(map(str, values)) for values in (args.seeds, args.folds))
    return (
        f"sonic-pi-samples: {numbers['all']} recordings, one of {numbers['classes']} classes each, a class being the "
        f"name before the first underscore; the most frequent has {percent(most_frequent(corpus))} of them. Seeds "
        f"{seeds}, folds {folds}. ASDA and MAE-AST (patches) were pre-trained on all of them without labels by "
        "`benchmarks/objectives.sh`, a network for each seed."
    )


def texts(args: argparse.Namespace, found: Found) -> tuple[str, str]:
    """The legend and the limits, with the numbers of the runs."""
    chosen = _json(args.work / args.encoders[0] / args.methods[0] / "rate.json")
    cost, lora = _json(args.work / args.encoders[0] / "cost.json"), Lora()
    apart = _without_twins(found)
    pairs = [pair for pairs in QUESTIONS.values() for pair in pairs if set(args.methods) >= set(pair)]
    numbers = {
        **chosen["settings"],
        "rates": ", ".join(f"{rate:g}" for rate in chosen["settings"]["rates"]),
        "frames": chosen["settings"]["front_end"]["target_length_frames"],
        "held_out": chosen["held_out"],
        "rank": lora.rank,
        "targets": ", ".join(lora.targets),
        "tokens": DeepPrompts().count,
        "comparisons": len(pairs) * (len(apart) + 1) + len(args.methods) * (len(found) - len(apart)),
        **{key: cost[key] for key in ("depth", "width", "clock")},
    }
    return LEGEND.format(**numbers), LIMITS.format(**numbers)


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
    legend, limits = texts(args, found)
    parts = ["`benchmarks/adaptation.sh`", about(args.corpus, args), legend]
    for encoder, of in found.items():
        machine = _json(args.work / encoder / "cost.json")["environment"]
        parts += [f"## {ENCODERS[encoder]}", f"Costs: {machine}", encoder_table(of)]
    parts += ["## What tells the methods apart", *differences(found), encoders(found), costs(found)]
    measuring.write_report([part for part in [*parts, "## Limits", limits] if part], args.output)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
