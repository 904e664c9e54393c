"""Which processes a grid takes: for each seed and pre-training a chain of them, the pre-training first."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...data.folders import data_folders
from ...training.file_names import NEWEST
from ...training.run_record import read_record
from ..settings import LaunchError
from .folder import RunFolder, described_stage
from .grid import Grid, Setting, Task
from .grid_file import GridError
from .stages import PRETRAINING, ComposedSetting, finetuning_stage, probe_stage


@dataclass(frozen=True)
class Step:
    """A process of a run.

    Attributes:
        stage: its name.
        command: its words.
        settings: environment variables that are its own.
        after: the stage, of this run or of the one that pre-trains, without which it makes no sense.
        output: file for its result, without which it is not done; of a step that prints it, `prints`.
        prints: whether its result is what it prints.
    """

    stage: str
    command: tuple[str, ...]
    settings: dict[str, str]
    after: str = ""
    output: Path | None = None
    prints: bool = False


@dataclass(frozen=True)
class Run:
    """A setting at a seed."""

    setting: Setting
    seed: int
    folder: RunFolder
    data: str
    stages: dict[str, dict[str, Any]]

    def __str__(self) -> str:
        return f"{self.setting.name}, seed {self.seed}"

    def steps(self) -> Iterator[Step]:
        """Its processes in their order. What a later one is can depend on what an earlier one has left."""
        if not self.setting.pretraining_of:
            yield Step(
                PRETRAINING,
                _training(self.setting.pretraining, self.seed),
                {"DATA": self.data, "SAVE_DIR": str(self.folder.pretrained)},
            )
        for task in self.setting.tasks:
            yield from self._of_task(task)

    def _of_task(self, task: Task) -> Iterator[Step]:
        data, checkpoint = Path(task.data or self.data), self.folder.pretrained / NEWEST
        if task.probe:
            folders = list(evaluated_folders(data).values())
            command = [
                *("ASDA.cli.probe", "--data", *map(str, folders), "--checkpoint", str(checkpoint)),
                *("--no-random-weights", "--layers", "last", "--regularisation", "0.1", "--pooling", task.probe),
                *("--bootstrap", "0", "--json", str(self.folder.probe(task.name))),
            ]
            yield Step(probe_stage(task.name), _python(*command), {}, PRETRAINING, self.folder.probe(task.name))
        if task.finetuning:
            saved, stage = self.folder.finetuned(task.name), finetuning_stage(task.name)
            own = {"DATA": str(data), "SAVE_DIR": str(saved), "CHECKPOINT": str(checkpoint)}
            yield Step(stage, _training(task.finetuning, self.seed), own, PRETRAINING)
            for fold, folder in evaluated_folders(data).items():
                name = f"{task.name} evaluation{f' of {fold}' if fold else ''}"
                model = chosen_checkpoint(saved / fold)
                command = [
                    "ASDA.cli.evaluate",
                    "--checkpoint_dir",
                    str(model),
                    "--eval_dir",
                    str(folder),
                    "--json",
                    "--bootstrap",
                    "0",
                ]
                yield Step(name, _python(*command), {}, stage, self.folder.scores(task.name, fold), prints=True)


@dataclass(frozen=True)
class Chain:
    """The runs that share a pre-training, in turn: the one that pre-trains, then the others."""

    runs: tuple[Run, ...]

    def __str__(self) -> str:
        names = ", ".join(run.setting.name for run in self.runs)
        return f"{names}, seed {self.runs[0].seed}"


def plan_chains(grid: Grid, composed: Sequence[ComposedSetting], output: Path) -> list[Chain]:
    """All chains, seed by seed: with the first seed done, every setting has a number."""
    stages = {one.setting.name: one.stages for one in composed}
    chains = []
    for seed in grid.seeds:
        for leader in grid.settings:
            if not leader.pretraining_of:
                others = [setting for setting in grid.settings if setting.pretraining_of == leader.name]
                runs = (_run(grid, setting, seed, output, stages[setting.name]) for setting in (leader, *others))
                chains.append(Chain(tuple(runs)))
    return chains


def require_data(grid: Grid, is_there: bool) -> None:
    """Looks for the files that the runs will read, before the first one begins.

    Args:
        grid: the ablation.
        is_there: whether they have to be there by now; else it is enough that it is said where.

    Raises:
        LaunchError: one is not there, or it is not said where they are.
    """
    if not grid.data:
        raise GridError(grid.file, "data", "what is pre-trained on is not said; name it there, or as --data DIR")
    if not is_there:
        return
    for pretrained_on in data_folders(grid.data):
        _require(Path(pretrained_on) / "train.tsv", "--data")
    for task in grid.settings[0].tasks:
        for folder in evaluated_folders(Path(task.data or grid.data)).values():
            for name in ("train.tsv", "train.lbl", "eval.tsv", "eval.lbl", "label_descriptors.csv"):
                _require(folder / name, f"data of the task {task.name}")


def evaluated_folders(data: Path) -> dict[str, Path]:
    """The folder that a task is judged on, under an empty name; of a data set in folds each fold."""
    folds = sorted(
        (path for path in data.glob("fold*") if path.name[4:].isdigit()), key=lambda path: int(path.name[4:])
    )
    if (data / "train.tsv").exists() or not folds:
        return {"": data}
    return {fold.name: fold for fold in folds}


def chosen_checkpoint(save_dir: Path) -> Path:
    """The checkpoint to judge: the best one, if it was chosen by other clips than it is judged on, else the last."""
    record = read_record(save_dir) or {}
    chosen_on = str((record.get("dataset") or {}).get("valid_subset", "eval"))
    best = save_dir / "checkpoint_best.pt"
    return best if "eval" not in chosen_on.split(",") and best.exists() else save_dir / NEWEST


def _require(file: Path, what: str) -> None:
    if not file.exists():
        raise LaunchError(f"{what}: {file} does not exist")


def _run(grid: Grid, setting: Setting, seed: int, output: Path, composed: dict[str, Any]) -> Run:
    path, trainer = _folder(output, setting, seed), _folder(output, grid.trainer_of(setting), seed)
    words = {PRETRAINING: setting.pretraining}
    data = {PRETRAINING: grid.data}
    for task in setting.tasks:
        for stage in (probe_stage(task.name), finetuning_stage(task.name)):
            words[stage] = task.finetuning if stage == finetuning_stage(task.name) else ()
            data[stage] = task.data or grid.data
    stages = {stage: described_stage(words[stage], content, data[stage]) for stage, content in composed.items()}
    return Run(setting, seed, RunFolder(path, trainer / "pretrained"), grid.data, stages)


def _folder(output: Path, setting: Setting, seed: int) -> Path:
    return output / "runs" / setting.name / f"seed{seed}"


def _training(words: tuple[str, ...], seed: int) -> tuple[str, ...]:
    return _python("ASDA.cli.train", *words, f"common.seed={seed}")


def _python(module: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", module, *arguments)
