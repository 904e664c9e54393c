"""The table of padding.sh: constant padding against a padding mask, over the same seeds."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from benchmarks import measuring
from benchmarks.over_seeds import compared, mean_and_deviation, probed


def report(work: Path) -> str:
    """Tables and sentences, from what padding.sh left in its folder."""
    rows, probes, finetuned = [], {}, {}
    for trained in ("constant", "mask"):
        finetuned[trained] = json.loads((work / trained / "finetuned.json").read_text())["last"]
    for trained, used in (("constant", "constant"), ("constant", "mask"), ("mask", "mask")):
        file = work / trained / f"probed_{used}.json"
        probes[trained, used], random = probed(file, "pre-trained"), probed(file, "random")
        rows.append(
            [
                f"{trained}, {used}",
                mean_and_deviation(random),
                mean_and_deviation(probes[trained, used]),
                mean_and_deviation(finetuned[trained]) if trained == used else "",
            ]
        )
    headings = ["padding: pre-training, then", "probe, random", "probe, pre-trained", "fine-tuned"]
    sentences = [
        compared("Probe, mask throughout", probes["constant", "constant"], probes["mask", "mask"]),
        compared("Of that, the mask in the probe", probes["constant", "constant"], probes["constant", "mask"]),
        compared("Of that, the mask in pre-training", probes["constant", "mask"], probes["mask", "mask"]),
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
    measuring.write_report(parts, args.output)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
