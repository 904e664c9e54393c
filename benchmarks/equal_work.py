"""How many updates of other pre-trainings take as much arithmetic as so many of the first?

    python -m benchmarks.equal_work --updates 400 "pretraining_MAE_AST demo_MAE_AST" "pretraining_AS2M demo_pretraining"

Prints a line for each: GFLOP per update, forward and backward, and updates, with a tab between.
"""

from __future__ import annotations

import argparse

from ASDA.fairseq_plugin.counting import update_flops
from ASDA.launch.ablation.equal_work import equal_updates
from benchmarks.registered import composed


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("runs", nargs="+", metavar="WORDS", help="yaml, recipes, size, overrides in one argument")
    parser.add_argument("--updates", type=int, required=True, help="of the first")
    args = parser.parse_args(argv)
    flops = [update_flops(composed(words).config) for words in args.runs]
    for own, updates in zip(flops, equal_updates(args.updates, flops[0], flops), strict=True):
        print(f"{own / 1e9:.4g}\t{updates}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
