"""asda-train: plans and starts pre-training or fine-tuning; what the launch scripts call.

    asda-train CONFIG [RECIPE ...] [key=value ...]

CONFIG is a yaml of config/ (pretraining_AS2M, finetuning) or a path. Settings are environment variables;
`asda-train CONFIG --help` lists them, the recipes and examples; `--plan` among the arguments says all that would happen
and starts nothing.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from .. import __version__
from ..launch.command import Launch, Run, plan_launch
from ..launch.help import help_text
from ..launch.running import become, run_in_turn
from ..launch.settings import LaunchError, Settings

EXIT_USAGE = 2
HELP = ("-h", "--help")
PLAN = "--plan"


def main(argv: list[str] | None = None) -> int:
    """Runs the program; returns its exit code: the training's, or 2 with one line if it cannot start."""
    words = list(sys.argv[1:] if argv is None else argv)
    program = "asda-train"
    if words[:1] == ["--program"] and len(words) > 1:  # a launch script, whose name stands before what is said
        program, words = words[1], words[2:]
    name = Path(program).name
    if words[:1] == ["--version"]:
        print(f"{name} {__version__}")
        return 0
    if not words or words[0] in HELP:
        print(__doc__, end="", file=sys.stdout if words else sys.stderr)
        return 0 if words else EXIT_USAGE
    config, words = words[0], words[1:]
    try:
        return _plan_and_start(name, program, config, words)
    except LaunchError as error:
        _say(name, str(error))
    except BrokenPipeError:  # the reader has had enough, as in `--help | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except ModuleNotFoundError as error:
        if error.name not in ("hydra", "omegaconf", "torch"):
            raise
        _say(name, f"{error.name} is not installed; training needs it: pip install 'asda[train]', or make setup")
    return EXIT_USAGE


def _plan_and_start(name: str, program: str, config: str, words: list[str]) -> int:
    if any(word in HELP for word in words):
        print(help_text(program if "/" in program else f"{program} {config}", config), flush=True)
        return 0
    planned_only = PLAN in words
    settings = Settings.read(os.environ)
    launch = plan_launch(config, [word for word in words if word != PLAN], settings, num_folds)
    for note in launch.notes:
        _say(name, note)
    if planned_only:
        from ..launch.overview import overview  # which reads manifests

        print(*overview(launch), sep="\n", flush=True)
        return 0
    if settings.dry_run:
        print(*launch.runs, sep="\n", flush=True)
        return 0
    return _start(name, launch)


def num_folds(dataset: str) -> int:
    """How many folds a data set is published in; 0 for one without, or without a name."""
    if not dataset:
        return 0
    from ..data.corpora.corpus import CORPORA  # only a run that names one pays for the import

    corpus = CORPORA.get(dataset)
    return (corpus.num_folds or 0) if corpus else 0


def _start(name: str, launch: Launch) -> int:
    folds = [run.fold for run in launch.runs if run.fold]
    if not folds:
        become(launch.runs[0])

    def announce(run: Run) -> None:
        _say(name, f"fold {run.fold} of {', '.join(folds)}")

    code = run_in_turn(launch.runs, announce)
    if code == 0:
        from ..reports.folds import main as summarise

        return summarise([str(run.save_dir) for run in launch.runs])
    return code


def _say(name: str, text: str) -> None:
    print(f"{name}: {text}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
