"""The table of own_data.sh: from scratch, probe and fine-tuned, against chance, by corpus."""

from __future__ import annotations

import argparse
import json
import statistics
from collections import Counter
from pathlib import Path

import yaml

from benchmarks import measuring
from benchmarks.learning_report import mean_and_deviation, percent
from benchmarks.padding_report import accuracies, interval

CORPORA = ("speech", "samples")


def row(work: Path, name: str) -> list[str]:
    """A corpus: clips, classes, chance, and the accuracies over the seeds."""
    folder = work / name
    labels = [line.split("\t")[1] for line in (folder / "data" / "eval.lbl").read_text().splitlines()]
    chance = max(Counter(labels).values()) / len(labels)
    clips = len((folder / "data" / "train.lbl").read_text().splitlines())
    probed = [mean_and_deviation(accuracies(folder / "probe.json", weights)) for weights in ("random", "pre-trained")]
    tuned = [mean_and_deviation(last(folder, weights)) for weights in ("random", "pretrained")]
    return [name, f"{clips} + {len(labels)}", str(len(set(labels))), percent(chance), *probed, *tuned]


def last(folder: Path, weights: str) -> list[float]:
    """Accuracies after the last update, by seed."""
    return json.loads((folder / f"from_{weights}.json").read_text())["last"]


def sentence(work: Path, name: str) -> str:
    """What pre-training gains, seed by seed, in the probe and in fine-tuning, and whether the seeds tell it from 0."""
    folder, parts = work / name, []
    pairs = {
        "probe": (accuracies(folder / "probe.json", "random"), accuracies(folder / "probe.json", "pre-trained")),
        "fine-tuning": (last(folder, "random"), last(folder, "pretrained")),
    }
    for what, (random, trained) in pairs.items():
        gains = [100 * (b - a) for a, b in zip(random, trained, strict=True)]
        told = f"{what} {statistics.fmean(gains):+.1f} points"
        if len(gains) > 1:
            low, high = interval(gains)
            includes = ", which includes 0" if low <= 0 <= high else ""
            told += f" (95 % interval {low:+.1f} to {high:+.1f} over {len(gains)} seeds{includes})"
        parts.append(told)
    return f"* {name}: pre-training gains {', '.join(parts)}."


def chosen(work: Path, name: str) -> str:
    """What the launch chose for a corpus, from the record of its first run."""
    runs = sorted((work / name).glob("from_pretrained*/run.yaml"))
    cfg = yaml.safe_load(runs[0].read_text())
    keys = ("target_length", "padding", "norm_mean", "norm_std", "multi_label")
    settings = " ".join(f"task.{key}={cfg['task'][key]}" for key in keys)
    return f"* {name}: {settings}, {cfg['optimization']['max_update']} updates of fine-tuning"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--about", required=True, help="what was done, in a sentence")
    parser.add_argument("--work", type=Path, required=True, help="folder of own_data.sh")
    parser.add_argument("--output", type=Path, required=True, help="markdown file")
    args = parser.parse_args(argv)
    headings = [
        "corpus",
        "clips",
        "classes",
        "chance",
        "probe, random",
        "probe, pre-trained",
        "from scratch",
        "fine-tuned",
    ]
    table = measuring.table(headings, [row(args.work, name) for name in CORPORA])
    legend = (
        "Accuracy on the held-out clips after the last update, mean ± standard deviation over the seeds; chance is the "
        "share of the most frequent class. Speech: languages as klettres-data has them in folders; few voices read "
        "each, so that it is told by voice and room as well. Samples: the kind of sound in a sample's name."
    )
    sentences = "\n".join(sentence(args.work, name) for name in CORPORA)
    choices = "Chosen:\n\n" + "\n".join(chosen(args.work, name) for name in CORPORA)
    parts = ["`benchmarks/own_data.sh`", args.about, measuring.environment(), legend, table, sentences, choices]
    text = "\n\n".join(parts) + "\n"
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(text, encoding="utf-8")
    print(text, end="")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
