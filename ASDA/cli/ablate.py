"""asda-ablate: runs an ablation (settings x seeds, from one yaml) and says what came out, in one table.

asda-ablate demo_ASDA --data demo/data --output runs/ablation --jobs 2
asda-ablate ASDA --data /data/as2m --data AS20K=/data/as20k --output /runs/ablation --slurm > array.sbatch

Each setting is pre-trained, then probed, fine-tuned or both, once for each seed, each in a folder of its own in
--output/runs. Given again, the command goes on where it was stopped: what is done is not done again, what was
interrupted goes on from its checkpoint, what failed is tried once more. NGPU, NPROC, BATCH_SIZE and MEMORY_GB hold as
for asda-train.
"""

from __future__ import annotations

import argparse
import datetime
import logging
import os
import shlex
import sys
import time
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..atomic import OutputLock
from ..launch.ablation import running
from ..launch.ablation.equal_work import equalised
from ..launch.ablation.folder import claim
from ..launch.ablation.grid import Grid
from ..launch.ablation.grid_file import GRID_FOLDER, find_grid
from ..launch.ablation.plan import Chain, Run, evaluated_folders, plan_chains, require_data
from ..launch.ablation.slurm import array_script
from ..launch.ablation.stages import ComposedSetting, compose_grid
from ..launch.help import purpose
from ..launch.processes import count_gpus
from ..launch.settings import LaunchError, Settings
from ..reports.ablation import Ablation, SettingFiles
from ..reports.ablation_page import write_results
from ..training.stopping import EXIT_STOPPED
from ..training.versions import versions
from . import _console as console
from ._parser import Parser, positive

_PATIENCE_S = 60.0
"""How long another process may take for its table."""


def main(argv: list[str] | None = None) -> int:
    """Runs the program; returns its exit code: 1 if a run failed, 75 if it was stopped and everything has saved."""
    parser = _parser()
    words = list(sys.argv[1:] if argv is None else argv)
    args = parser.parse_args(words)
    if args.jobs > 1 and (args.slurm or args.index is not None):
        parser.error("--jobs is for one machine; a Slurm array runs a task for each chain")
    return console.run("asda-ablate", lambda: ablate(args, words))


def _parser() -> argparse.ArgumentParser:
    ready = "\n".join(f"  {file.stem:<20}{purpose(file)}" for file in sorted(GRID_FOLDER.glob("*.yaml")))
    parser = Parser(
        prog="asda-ablate",
        description=__doc__,
        epilog=f"ready grids (config/ablation):\n{ready}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("grid", metavar="GRID", help="a yaml's path, or the name of a ready grid")
    parser.add_argument(
        "--data",
        action="append",
        default=[],
        metavar="[TASK=]DIR",
        help="folder to pre-train on, and to judge on where no other is named; TASK=DIR: to judge that task on",
    )
    parser.add_argument("--output", type=Path, help="folder for runs and results [ablation/GRID]")
    parser.add_argument("--jobs", type=positive, default=1, help="at a time; they divide GPUs or cores [%(default)s]")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--dry-run", action="store_true", help="compose and check all, print the commands, start nothing")
    what.add_argument("--slurm", action="store_true", help="print the script of a Slurm array that runs all")
    what.add_argument("--index", type=int, metavar="N", help="run task N of that array alone")
    what.add_argument("--report", action="store_true", help="run nothing, write the results of what is done")
    return parser


def ablate(args: argparse.Namespace, words: Sequence[str]) -> int:
    """Plans, then does what the flags ask for."""
    grid = Grid.read(find_grid(args.grid), _data_of(args.data))
    require_data(grid, is_there=not (args.dry_run or args.report))
    grid, composed = _checked(grid)
    output = Path.cwd() / (args.output or Path("ablation") / grid.name)
    chains = plan_chains(grid, composed, output)
    if args.index is not None and not 0 <= args.index < len(chains):
        raise LaunchError(f"--index {args.index}: expected 0 to {len(chains) - 1}")
    if args.dry_run:
        _print_plan(chains)
        return console.EXIT_OK
    for run in _runs(chains):
        run.folder.require_same(run.stages)
    claim(output, grid.name)
    if args.slurm:
        return _print_script(grid, chains, words, output)
    meant = chains if args.index is None else [chains[args.index]]
    runner = running.Runner(console.note, _environments(args.jobs))
    if not args.report:
        runner.run(meant)
    _report(grid, chains, output, words, whole=args.index is None)
    if runner.stopped:
        return EXIT_STOPPED
    failed = any(run.folder.failures() for run in _runs(meant))
    return console.EXIT_ERROR if failed or runner.busy else console.EXIT_OK


def _checked(grid: Grid) -> tuple[Grid, list[ComposedSetting]]:
    """The grid, of which everything composes, and what; with as much work for each setting if it asks for that."""
    logging.disable(logging.INFO)  # fairseq announces packages that this program has no use for
    from ..fairseq_plugin.counting import update_flops  # which needs fairseq
    from ..fairseq_plugin.describing import require_known_keys

    composed = compose_grid(grid, require_known_keys)
    if not grid.equal_gflop:
        return grid, composed
    grid = equalised(grid, composed, update_flops)
    return grid, compose_grid(grid)


def _data_of(given: Sequence[str]) -> dict[str, str]:
    """Task, empty for the pre-training, -> folder."""
    found: dict[str, str] = {}
    for text in given:
        name, equals, folder = text.partition("=")
        name, folder = (name, folder) if equals and "/" not in name else ("", text)
        if name in found or not folder:
            raise LaunchError(f"--data {text}: {'named twice' if folder else 'expected a folder behind ='}")
        found[name] = folder
    return found


def _environments(jobs: int) -> list[dict[str, str]]:
    wanted = Settings.read(os.environ).num_gpus
    gpus = 0 if wanted == 0 or jobs == 1 else min(count_gpus(), wanted or sys.maxsize)
    if jobs > 1 and wanted:
        os.environ.pop("NGPU")  # of all of them; each has its own number
    return running.environments(jobs, gpus, _cores(), os.environ)


def _print_plan(chains: Sequence[Chain]) -> None:
    for number, chain in enumerate(chains):
        print(f"# {number}: {chain}")
        for run in chain.runs:
            for step in run.steps():
                print(running.shown(step))


def _print_script(grid: Grid, chains: Sequence[Chain], words: Sequence[str], output: Path) -> int:
    logs = output / "slurm"
    logs.mkdir(exist_ok=True)  # without it Slurm runs nothing and says nothing
    given = [word for word in words if word != "--slurm"]
    print(array_script(grid.name, len(chains), given, str(logs / "%a.txt"), str(Path.cwd())), end="")
    return console.EXIT_OK


def _runs(chains: Sequence[Chain]) -> list[Run]:
    return [run for chain in chains for run in chain.runs]


def _report(grid: Grid, chains: Sequence[Chain], output: Path, words: Sequence[str], whole: bool) -> None:
    """Writes the results of what is done; prints what failed, where they are and, of the whole, the table."""
    runs = _runs(chains)
    with _waited_for(OutputLock(output / "table", output / ".table.lock")):
        files = [_files(grid, name, [run for run in runs if run.setting.name == name]) for name in _names(grid)]
        ablation = Ablation.read(grid.name, grid.reference, grid.seeds, files, _about(words))
        written = write_results(ablation, output)
    if whole:
        print("\n".join(console.aligned(ablation.table())), f"\n{ablation.legend()}\n", sep="\n")
    for line in [*ablation.failures(), *(ablation.unfinished() if whole else [])]:
        console.note(line)
    print("\n".join(map(str, written)))


@contextmanager
def _waited_for(lock: OutputLock) -> Any:
    """Several tasks of an array write the same table: each reads and writes while no other does."""
    until = time.monotonic() + _PATIENCE_S
    while not lock.try_acquire():
        if time.monotonic() > until:
            lock.acquire()  # which says who has it
        time.sleep(0.1)
    with lock:
        yield


def _names(grid: Grid) -> list[str]:
    return [setting.name for setting in grid.settings]


def _files(grid: Grid, name: str, runs: Sequence[Run]) -> SettingFiles:
    """Where the results of a setting lie."""
    scores: dict[str, dict[int, list[Path]]] = {}
    trainings: dict[int, list[Path]] = {}
    for run in runs:
        trainings[run.seed] = [run.folder.pretrained]
        for task in run.setting.tasks:
            folds = list(evaluated_folders(Path(task.data or run.data)))
            if task.probe:
                scores.setdefault(f"{task.name}, probe:", {})[run.seed] = [run.folder.probe(task.name)]
            if task.finetuning:
                files = [run.folder.scores(task.name, fold) for fold in folds]
                scores.setdefault(f"{task.name}, fine-tuned:", {})[run.seed] = files
                trainings[run.seed] += [run.folder.finetuned(task.name) / fold for fold in folds]
    failed = {run.seed: run.folder.failures() for run in runs}
    return SettingFiles(name, grid.setting(name).own, scores, trainings, failed)


def _about(words: Sequence[str]) -> list[str]:
    """How the results were made."""
    made_with = ", ".join(f"{name} {version}" for name, version in versions().items())
    command = shlex.join(["asda-ablate", *(word for word in words if word != "--report")])
    return [f"`{command}`", f"{datetime.date.today()}, {_processor()}, {_cores()} cores; {made_with}"]


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _processor() -> str:
    from ..launch.precision import cpu_info

    lines = [line for line in cpu_info().splitlines() if line.startswith("model name")]
    return lines[0].partition(":")[2].strip() if lines else "unknown processor"


if __name__ == "__main__":
    sys.exit(main())
