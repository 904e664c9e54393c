"""The report of an ablation among the results: its table, and in words what the seeds tell and what they do not.

python -m benchmarks.grid_report --table ablation/demo_ASDA/table.json --command "make ablation" --output FILE.md
"""

from __future__ import annotations

import argparse
import itertools
import json
from pathlib import Path

from ASDA.reports.ablation import Ablation, Comparison, SettingResult
from ASDA.reports.over_seeds import interval, points_and_interval
from benchmarks import measuring

SIZE = "`+size=tiny` (4 layers of 128 channels) on clips of 2.56 s"
ABOUT = {
    "demo_ASDA": f"The ablations of ASDA's paper, one thing changed at a time; {SIZE} of the generated corpus. At this "
    "size `paper` has mean pooling and alpha 0.02 (config/ablation/demo_ASDA.yaml). 60 updates are few: random weights "
    "of the same network have 28.3 ± 0.9 % (learning.md), so the table is about what the first updates do.",
    "demo_lambda_tasks": f"Is the best lambda task-dependent? {SIZE}; pre-trained on the generated corpus without "
    "labels, then judged by a linear probe (mean over the patches) and, where the table has it, by fine-tuning all "
    "weights. `events`: which of 15 classes a generated clip holds, several each. `polyphony`: whether it holds one, "
    "two or three of them. `samples`: sonic-pi-samples, recordings, 14 classes by name. `speech`: klettres, people who "
    "read letters and syllables, 17 languages. own_data.md says more of the last two.",
    "demo_students": f"Do more students pay? {SIZE}; each setting gets as many updates as take the arithmetic of the "
    "reference's (forward and backward, counted), with its share of warm-up.",
    "demo_cls_place": f"CLS at the head of the sequence or in its middle, where its place has a position "
    f"(`sincos_1d`); {SIZE}. With `sincos_2d` both are the same function, to the bit "
    "(tests/core/test_encoder.py::test_encoder__without_a_position_cls_in_the_middle_is_the_same_function).",
}
LIMITS = (
    "What this does not show: anything of networks, corpora and runs of a useful size. The learning rate was not "
    "searched for each setting. The intervals are over seeds of training on the same clips: other clips move the "
    "numbers by more."
)
LAMBDAS = "demo_lambda_tasks"


def read_ablation(file: Path) -> Ablation:
    """What asda-ablate has written as table.json.

    Raises:
        ValueError: it is something else.
    """
    content = json.loads(file.read_text(encoding="utf-8"))
    if "asda_ablate" not in content:
        raise ValueError(f"{file}: expected table.json of asda-ablate")

    def by_seed(numbers: dict) -> dict[int, float]:
        return {int(seed): value for seed, value in numbers.items()}

    settings = [
        SettingResult(
            name=setting["name"],
            about=setting["about"],
            scores={
                score: Comparison(by_seed(found["values"]), by_seed(found["differences"]))
                for score, found in setting["scores"].items()
            },
            hours=by_seed(setting["hours"]),
            failed=by_seed(setting["failed"]),
        )
        for setting in content["settings"]
    ]
    return Ablation(content["asda_ablate"], content["reference"], tuple(content["seeds"]), settings, content["about"])


def told(ablation: Ablation) -> list[str]:
    """A sentence for each score: what the seeds tell from the reference, and what they do not."""
    sentences = []
    for score in ablation.scores:
        found = {s.name: s.scores[score] for s in ablation.settings if s.scores.get(score) and s.scores[score].gains}
        apart = [
            f"{name} ({points_and_interval(list(one.gains.values()))})" for name, one in found.items() if one.told_apart
        ]
        single = [name for name, one in found.items() if one.gain_interval is None]
        rest = [name for name, one in found.items() if not one.told_apart and name not in single]
        parts = []
        if apart:
            parts.append(f"told from {ablation.reference}, in points: {', '.join(apart)}")
        if rest:
            parts.append(f"intervals that include 0, so that the seeds tell no difference: {', '.join(rest)}")
        if single:
            parts.append(f"by one seed, which tells nothing: {', '.join(single)}")
        sentences.append(f"* {score}: {'; '.join(parts) or 'nothing to compare'}.")
    return sentences


def _difference(first: Comparison, second: Comparison) -> tuple[float, float] | None:
    """The interval of the mean of first less second, seed by seed; None of fewer than two seeds."""
    shared = first.values.keys() & second.values.keys()
    return interval([first.values[seed] - second.values[seed] for seed in sorted(shared)]) if len(shared) > 1 else None


def best_of(ablation: Ablation) -> list[str]:
    """A sentence for each score: the setting with the highest mean, and which others it is told from."""
    sentences = []
    for score in ablation.scores:
        found = {setting.name: setting.scores[score] for setting in ablation.settings if score in setting.scores}
        means = {name: sum(one.values.values()) / len(one.values) for name, one in found.items() if one.values}
        best = max(means, key=lambda name: means[name])
        apart = [
            name
            for name in means
            if name != best and (gain := _difference(found[best], found[name])) is not None and gain[0] > 0
        ]
        others = [name for name in means if name != best and name not in apart]
        told_from = f"told from {', '.join(apart)}" if apart else "told from none of the others"
        overlaps = f"; not from {', '.join(others)}" if apart and others else ""
        sentences.append(f"* {score}: {best} has the highest mean ({100 * means[best]:.1f} %), {told_from}{overlaps}.")
    return sentences


def crossings(ablation: Ablation) -> str:
    """Whether two settings are told apart in two scores with opposite signs: what a dependence on the task would be."""
    signs: dict[tuple[str, str], dict[str, bool]] = {}
    intervals = 0
    for score in ablation.scores:
        found = {setting.name: setting.scores[score] for setting in ablation.settings if score in setting.scores}
        for first, second in itertools.combinations(found, 2):
            gain = _difference(found[first], found[second])
            if gain is None:
                continue
            intervals += 1
            if not gain[0] <= 0 <= gain[1]:
                signs.setdefault((first, second), {})[score] = gain[0] > 0
    crossed = [
        f"{first} is above {second} in {', '.join(s for s, up in of.items() if up)}, and below in "
        f"{', '.join(s for s, up in of.items() if not up)}"
        for (first, second), of in signs.items()
        if len(set(of.values())) == 2
    ]
    if not intervals:
        return "One seed has no intervals: it tells no difference."
    count = sum(map(len, signs.values()))
    told_apart = (
        f"Of {intervals} intervals (all pairs, all scores) {count} leave 0 out; by chance {intervals / 20:.1f} would."
    )
    if not crossed:
        return f"{told_apart} No pair is told apart with opposite signs: no dependence on the task is seen."
    pairs = "; ".join(crossed)
    return f"{told_apart} Told apart with opposite signs, as a dependence on the task would have it: {pairs}."


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--table", type=Path, required=True, help="table.json of asda-ablate")
    parser.add_argument("--command", required=True, help="that made it")
    parser.add_argument("--took", default="", help="how long it took, in words")
    parser.add_argument("--output", type=Path, required=True, help="markdown file")
    args = parser.parse_args(argv)
    ablation = read_ablation(args.table)
    heading, *rows = ablation.table()
    missing = [f"* {line}" for line in [*ablation.failures(), *ablation.unfinished()]]
    sentences = told(ablation)
    if ablation.name == LAMBDAS:
        sentences = [*best_of(ablation), f"* {crossings(ablation)}"]
    parts = [
        f"`{args.command}`",
        ABOUT.get(ablation.name, ablation.name),
        "; ".join([*ablation.about[1:], *([f"it took {args.took}"] if args.took else [])]),
        measuring.table(heading, rows),
        *(["\n".join(missing)] if missing else []),
        ablation.legend(),
        "\n".join(sentences),
        LIMITS,
    ]
    measuring.write_report(parts, args.output)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
