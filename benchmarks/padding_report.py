"""The table of padding.sh: constant padding against a padding mask, over the same seeds."""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path

from benchmarks import measuring
from benchmarks.learning_report import mean_and_deviation

# Two-sided 95 % of Student's t by degrees of freedom, for means over a few seeds.
_STUDENT_T = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}


def interval(numbers: list[float]) -> tuple[float, float]:
    """The 95 % interval of the mean of numbers from as many seeds."""
    mean = statistics.fmean(numbers)
    half = _STUDENT_T[len(numbers) - 1] * statistics.stdev(numbers) / len(numbers) ** 0.5
    return mean - half, mean + half


def compared(what: str, constant: list[float], mask: list[float]) -> str:
    """A sentence: what the mask gains seed by seed, and whether the seeds tell it from nothing."""
    gains = [100 * (b - a) for a, b in zip(constant, mask, strict=True)]
    sentence = f"* {what}: {statistics.fmean(gains):+.1f} points"
    if len(gains) < 2:
        return f"{sentence}, by one seed."
    low, high = interval(gains)
    told = "" if low > 0 or high < 0 else ", which includes 0: these seeds do not tell it from nothing"
    return f"{sentence}, 95 % interval {low:+.1f} to {high:+.1f} over {len(gains)} seeds{told}."


def accuracies(file: Path, weights: str) -> list[float]:
    """A probe's accuracies by seed."""
    return [row["accuracy"] for row in json.loads(file.read_text()) if row["weights"] == weights]


def report(work: Path) -> str:
    """Tables and sentences, from what padding.sh left in its folder."""
    rows, probed, finetuned = [], {}, {}
    for trained in ("constant", "mask"):
        finetuned[trained] = json.loads((work / trained / "finetuned.json").read_text())["last"]
    for trained, used in (("constant", "constant"), ("constant", "mask"), ("mask", "mask")):
        file = work / trained / f"probed_{used}.json"
        probed[trained, used], random = accuracies(file, "pre-trained"), accuracies(file, "random")
        rows.append(
            [
                f"{trained}, {used}",
                mean_and_deviation(random),
                mean_and_deviation(probed[trained, used]),
                mean_and_deviation(finetuned[trained]) if trained == used else "",
            ]
        )
    headings = ["padding: pre-training, then", "probe, random", "probe, pre-trained", "fine-tuned"]
    sentences = [
        compared("Probe, mask throughout", probed["constant", "constant"], probed["mask", "mask"]),
        compared("Of that, the mask in the probe", probed["constant", "constant"], probed["constant", "mask"]),
        compared("Of that, the mask in pre-training", probed["constant", "mask"], probed["mask", "mask"]),
        compared("Fine-tuning, mask throughout", finetuned["constant"], finetuned["mask"]),
    ]
    return "\n\n".join([measuring.table(headings, rows), "\n".join(sentences)])


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--about", required=True, help="what was done, in a sentence")
    parser.add_argument("--work", type=Path, required=True, help="folder of padding.sh")
    parser.add_argument("--output", type=Path, required=True, help="markdown file")
    args = parser.parse_args(argv)
    legend = (
        "Accuracy on the held-out clips, mean ± standard deviation over the seeds. A clip's language is the folder "
        "that the package has it in; voices and recording rooms differ between folders, and so do lengths, which "
        "constant padding shows as an edge of the sound. Gains are of the same seeds, mask minus constant."
    )
    parts = ["`benchmarks/padding.sh`", args.about, measuring.environment(), legend, report(args.work)]
    text = "\n\n".join(parts) + "\n"
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(text, encoding="utf-8")
    print(text, end="")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
