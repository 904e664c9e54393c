"""Tables of what pre-training was worth, from the results that learning.sh and recorded_sound.sh collect."""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path

from benchmarks import measuring
from benchmarks.over_seeds import mean_and_deviation, percent

METRICS = ("mAP", "accuracy")


def probe_table(rows: list[dict]) -> str:
    """Each seed's probe of the pre-trained and of the random encoder, and their mean and deviation."""
    metrics = [name for name in METRICS if name in rows[0]]
    seeds = sorted({row["seed"] for row in rows})
    values = {
        (metric, weights): [row[metric] for row in rows if row["weights"] == weights]
        for metric in metrics
        for weights in ("pre-trained", "random")
    }
    headings = ["linear probe"]
    lines = [[f"seed {seed}"] for seed in seeds]
    summary = ["mean ± deviation"]
    for metric in metrics:
        trained, random = values[metric, "pre-trained"], values[metric, "random"]
        for weights, numbers in (("pre-trained", trained), ("random", random)):
            headings.append(f"{metric}, {weights}")
            for line, number in zip(lines, numbers, strict=True):
                line.append(percent(number))
            summary.append(mean_and_deviation(numbers))
        headings.append(f"{metric}, gain")
        gains = [a - b for a, b in zip(trained, random, strict=True)]
        for line, gain in zip(lines, gains, strict=True):
            line.append(f"{100 * gain:+.1f}")
        summary.append(f"{100 * statistics.fmean(gains):+.1f}")
    return measuring.table(headings, [*lines, summary] if len(seeds) > 1 else lines)


def finetuning_table(pretrained: dict, random: dict) -> str:
    """Each fold's metric after the last update, and mean and deviation, from what ASDA.reports.folds --json wrote."""
    lines = [
        [fold, percent(a), percent(b)]
        for fold, a, b in zip(pretrained["folds"], pretrained["last"], random["last"], strict=True)
    ]
    lines.append(["mean ± deviation", mean_and_deviation(pretrained["last"]), mean_and_deviation(random["last"])])
    metric = pretrained["metric"]
    return measuring.table(["fine-tuning", f"{metric}, pre-trained", f"{metric}, random"], lines)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--about", required=True, help="what was done, in a sentence")
    parser.add_argument("--command", required=True, help="what makes the table again")
    parser.add_argument("--probe", type=Path, required=True, help="json of ASDA.cli.probe")
    parser.add_argument("--finetuned", type=Path, help="json of ASDA.reports.folds, from pre-trained weights")
    parser.add_argument("--from-random", type=Path, help="the same from random weights")
    parser.add_argument("--output", type=Path, required=True, help="markdown file")
    args = parser.parse_args(argv)
    tables = [probe_table(json.loads(args.probe.read_text()))]
    if args.finetuned:
        finetuned, random = (json.loads(file.read_text()) for file in (args.finetuned, args.from_random))
        tables.append(finetuning_table(finetuned, random))
    measuring.write_report([f"`{args.command}`", args.about, measuring.environment(), *tables], args.output)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
