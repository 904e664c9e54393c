"""How many updates of other pre-trainings take as much arithmetic as so many of the first?

    python -m benchmarks.equal_work --updates 400 "pretraining_MAE_AST demo_MAE_AST" "pretraining_AS2M demo_pretraining"

Prints a line for each: GFLOP per update, forward and backward, and updates, with a tab between.
"""

from __future__ import annotations

import argparse

from ASDA.core.places import Places
from benchmarks.flops import step_flops
from benchmarks.registered import registered


def update_flops(words: str) -> float:
    """FLOPs of an update of what `asda-train WORDS` trains, on clips of full length."""
    run = registered(words)
    spectrogram, mask = run.batch(1)
    return run.clips_per_update * step_flops(run.objective, spectrogram, Places.of(mask, 1))


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("runs", nargs="+", metavar="WORDS", help="yaml, recipes, size, overrides in one argument")
    parser.add_argument("--updates", type=int, required=True, help="of the first")
    args = parser.parse_args(argv)
    flops = [update_flops(words) for words in args.runs]
    for own in flops:
        print(f"{own / 1e9:.4g}\t{round(args.updates * flops[0] / own)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
