"""The table of own_data.sh: probe and fine-tuning from pre-trained and from random weights, against chance."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from ASDA.metrics import chance_accuracy
from ASDA.reports.folds import summarise
from benchmarks import measuring
from benchmarks.over_seeds import compared, interval, mean_and_interval, overlap, percent, probed

ABOUT = {
    "speech": "klettres-data, letters and syllables that people read for a game that teaches the alphabet. A clip's "
    "class is its language: the folder that the package has it in, with a recording room and one or few voices of its "
    "own, by which a clip can be told as well. Left out are Arabic, Malayalam and Czech, many of whose files are "
    "refused: their Ogg streams have no end (ar 28 of 28, ml 520 of 521), or are several (cs 18 of 50).",
    "samples": "sonic-pi-samples, drums, loops, voices and noises of a program for live music. A clip's class is its "
    "name before the first underscore, which the library's authors gave it for use, not for a test: elec and drum, or "
    "misc, are no kinds of sound.",
}
METHODS = ("probe, random", "probe, pre-trained", "from scratch", "fine-tuned")
CHOSEN = ("target_length", "padding", "norm_mean", "norm_std", "multi_label")


@dataclass
class Corpus:
    """What own_data.sh left of a corpus.

    Attributes:
        name: speech or samples.
        folder: its folder.
        seeds: of its runs.
        accuracies: on the held-out clips, by seed, for each of METHODS; fine-tuned: after the last update.
    """

    name: str
    folder: Path
    seeds: list[int]
    accuracies: dict[str, list[float]] = field(init=False)

    def __post_init__(self) -> None:
        probes = [probed(self.folder / "probe.json", weights) for weights in ("random", "pre-trained")]
        tuned = [
            list(summarise([self.folder / f"from_{weights}" / f"seed{seed}" for seed in self.seeds])["last"])
            for weights in ("random", "pretrained")
        ]
        self.accuracies = dict(zip(METHODS, [*probes, *tuned], strict=True))
        if len(probes[0]) != len(self.seeds):
            raise ValueError(f"{self.folder / 'probe.json'}: {len(probes[0])} seeds, expected {len(self.seeds)}")

    def labels(self, split: str) -> list[str]:
        lines = (self.folder / "data" / f"{split}.lbl").read_text(encoding="utf-8").splitlines()
        return [line.split("\t")[1] for line in lines]

    @property
    def chance(self) -> float:
        labels = self.labels("eval")
        classes = sorted(set(labels))
        return chance_accuracy([[label == name for name in classes] for label in labels])

    def run(self, name: str) -> dict:
        """The resolved configuration of a run of the first seed."""
        return yaml.safe_load((self.folder / name / "run.yaml").read_text(encoding="utf-8"))


def row(corpus: Corpus) -> list[str]:
    train, held_out = corpus.labels("train"), corpus.labels("eval")
    counts = [f"{len(train)} + {len(held_out)}", str(len({*train, *held_out}))]
    return [corpus.name, *counts, percent(corpus.chance), *map(mean_and_interval, corpus.accuracies.values())]


def told(corpus: Corpus) -> list[str]:
    """Sentences: what pre-training gains in the probe and in fine-tuning, and what is better than chance."""
    sentences = []
    for what, before, after in (("probe", *METHODS[:2]), ("fine-tuning", *METHODS[2:])):
        first, second = corpus.accuracies[before], corpus.accuracies[after]
        sentence = compared(f"{corpus.name}, {what}: what pre-training gains", first, second)
        overlaps = len(corpus.seeds) > 1 and overlap(first, second)
        sentences.append(f"{sentence} The two intervals in the table overlap." if overlaps else sentence)
    if len(corpus.seeds) > 1:
        above = {method: interval(numbers)[0] > corpus.chance for method, numbers in corpus.accuracies.items()}
        better = "; ".join(method for method in METHODS if above[method]) or "none"
        rest = "; ".join(method for method in METHODS if not above[method])
        missed = f"; not told from chance, or below it: {rest}" if rest else ""
        sentences.append(f"* {corpus.name}: above chance with the whole interval: {better}{missed}.")
    return sentences


def settings(corpus: Corpus) -> str:
    """What was stated and what the launch chose, from the records of the first seed's runs."""
    first = f"seed{corpus.seeds[0]}"
    pretraining, finetuning = corpus.run(f"pretrained{corpus.seeds[0]}"), corpus.run(f"from_pretrained/{first}")
    chosen = " ".join(f"task.{key}={finetuning['task'][key]}" for key in CHOSEN)
    schedules = [
        f"{run['task']['epochs']} epochs ({run['optimization']['max_update']} updates) of {what}"
        for run, what in ((pretraining, "pre-training"), (finetuning, "fine-tuning"))
    ]
    metric = finetuning["checkpoint"]["best_checkpoint_metric"]
    return f"* {corpus.name}: {', '.join(schedules)}; chosen: {chosen}, {metric}"


def bounds(corpora: list[Corpus]) -> str:
    """What the table does not show."""
    draws = []
    for corpus in corpora:
        held_out = len(corpus.labels("eval"))
        draws.append(f"{98 / held_out**0.5:.0f} points for the {held_out} of {corpus.name}")  # 1.96 * sqrt(1/4 / n)
    return (
        "What this does not show: what the recipes reach with all of their 100 and 60 epochs; how well a voice or a "
        "recording room is told that training has not heard (they are on both sides of the division); whether other "
        "clips would say the same. There is one division into train and held-out clips, and the intervals are over "
        f"seeds alone: another draw of as many held-out clips would move an accuracy by up to {', '.join(draws)}."
    )


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="folder of own_data.sh")
    parser.add_argument("--corpora", nargs="+", choices=ABOUT, required=True)
    parser.add_argument("--seeds", nargs="+", type=int, required=True)
    parser.add_argument("--output", type=Path, required=True, help="markdown file")
    args = parser.parse_args(argv)
    corpora = [Corpus(name, args.work / name, args.seeds) for name in args.corpora]
    legend = (
        "Accuracy on the held-out clips, mean over the seeds with its 95 % interval. The probe is a logistic "
        "regression on features of the frozen encoder; fine-tuned is scripts/finetune.sh from the pre-trained weights, "
        "from scratch the same from random ones, after the last update. Chance is the share of the most frequent class "
        "among the held-out clips."
    )
    parts = [
        "`benchmarks/own_data.sh`",
        "\n".join(f"* {name}: {ABOUT[name]}" for name in args.corpora),
        measuring.environment(),
        f"Seeds {' '.join(map(str, args.seeds))}, `+size=tiny`. Stated were the epochs; the launch chose the rest:",
        "\n".join(map(settings, corpora)),
        legend,
        measuring.table(["corpus", "clips", "classes", "chance", *METHODS], list(map(row, corpora))),
        "\n".join(sentence for corpus in corpora for sentence in told(corpus)),
        bounds(corpora),
    ]
    measuring.write_report(parts, args.output)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
