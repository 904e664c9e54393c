"""A ready grid of config/ablation with other seeds, lengths or tasks, as yaml on the output.

python -m benchmarks.shorter_grid demo_students --seeds 1 2 --pretraining optimization.max_update=60
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from typing import Any

import yaml

from ASDA.launch.ablation.grid_file import find_grid, read_grid_file
from ASDA.launch.ablation.words import joined_words, split_words


def shorter_grid(
    name: str,
    seeds: Sequence[int] = (),
    pretraining: str = "",
    finetuning: str = "",
    tasks: Sequence[str] = (),
    probe_alone: bool = False,
) -> dict[str, Any]:
    """The content of a grid, its base included.

    Args:
        name: of the grid.
        seeds: instead of its own; none: its own.
        pretraining: words behind those of its pre-training; a later value of a key wins.
        finetuning: the same for its fine-tunings.
        tasks: of its tasks those to keep; none: all.
        probe_alone: leave the fine-tunings out.

    Raises:
        LaunchError: there is no such grid, or the words are not for one.
        ValueError: it has no such task.
    """
    content = read_grid_file(find_grid(name))
    if unknown := [task for task in tasks if task not in content["tasks"]]:
        raise ValueError(f"{name}: there is no task {unknown[0]}; expected some of {', '.join(content['tasks'])}")
    content["seeds"] = list(seeds or content["seeds"])
    content["pretraining"] = _with(content["pretraining"], pretraining)
    content["tasks"] = {
        task: {
            key: _with(value, finetuning) if key == "finetuning" else value
            for key, value in about.items()
            if not (probe_alone and key == "finetuning")
        }
        for task, about in content["tasks"].items()
        if not tasks or task in tasks
    }
    return content


def _with(text: str, more: str) -> str:
    return shlex.join(joined_words(split_words(text), split_words(more)))


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("name", help="of a ready grid")
    parser.add_argument("--seeds", type=int, nargs="*", default=[], help="default: its own")
    parser.add_argument("--pretraining", default="", help="key=value ... behind its pre-training")
    parser.add_argument("--finetuning", default="", help="key=value ... behind its fine-tunings")
    parser.add_argument("--probe-alone", action="store_true", help="leave its fine-tunings out")
    parser.add_argument("--tasks", nargs="*", default=[], help="those to keep; default: all")
    args = parser.parse_args(argv)
    content = shorter_grid(args.name, args.seeds, args.pretraining, args.finetuning, args.tasks, args.probe_alone)
    print(yaml.safe_dump(content, sort_keys=False, width=10_000), end="")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
