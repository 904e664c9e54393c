"""The command of a run, or of one run per fold: what the launch scripts print with DRY_RUN=1, and else start."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .adapting import unused_settings
from .arguments import Arguments, quoted
from .available import available_bytes
from .batch_plan import Batch, BatchPlan
from .composing import PROJECT, search_path
from .fitting import Budget, fit_batch
from .inputs import KEYS, Inputs, data_override, find_inputs
from .memory import Machine, Workload
from .own_data import choose
from .precision import Precision, choose_precision
from .processes import Processes, choose_processes, count_gpus
from .recipe import Recipe, find_config
from .settings import LaunchError, Settings
from .sizes import by_size, size_files
from .starting_point import StartingPoint
from .workload import workload_of

# Without GPUs fairseq cannot work out the ranks from torchrun's environment.
_SEVERAL_ON_THE_CPU = (
    "distributed_training.distributed_backend=gloo",
    "distributed_training.distributed_init_method=env://",
    "distributed_training.distributed_no_spawn=true",
    "distributed_training.distributed_rank=${oc.env:RANK}",
)


@dataclass(frozen=True)
class Run:
    """One training run.

    Attributes:
        command: its words.
        save_dir: folder of checkpoints and logs, to be made before.
        fold: which fold it is on; empty without folds.
    """

    command: tuple[str, ...]
    save_dir: Path
    fold: str = ""

    def __str__(self) -> str:
        """As a line for the shell."""
        return f"mkdir -p {shlex.quote(str(self.save_dir))} && {shlex.join(self.command)}"


@dataclass(frozen=True)
class Launch:
    """What a script starts: one run, or one per fold; what to tell about it; and what it is composed of."""

    runs: tuple[Run, ...]
    notes: tuple[str, ...]
    recipe: Recipe
    inputs: Inputs
    start: StartingPoint | None
    batch: BatchPlan


def plan_launch(
    config: str,
    words: list[str],
    settings: Settings,
    num_folds: Callable[[str], int] = lambda dataset: 0,
    gpus: Callable[[], int] = count_gpus,
) -> Launch:
    """Composes a recipe, checks what it needs and plans its runs; starts and writes nothing.

    Args:
        config: name of a yaml in config/; the setting CONFIG wins over it.
        words: the arguments: recipes, hydra overrides, hydra's flags.
        num_folds: folds of a data set, by its name; 0 for one that has none.
        gpus: how many GPUs are visible.

    Raises:
        LaunchError: something is missing or does not fit; one line says what.
    """
    arguments = Arguments.parse(words)
    file = find_config(settings.config or config)
    recipe = Recipe(file, arguments)
    inputs = find_inputs(recipe, arguments, settings, num_folds)
    processes = choose_processes(settings, gpus)
    precision = choose_precision(recipe, arguments, processes, inputs.folders()[0][2])
    batch = _batch(recipe, arguments, settings)
    start = None
    if inputs.checkpoint is not None and inputs.checkpoint.exists():  # in a dry run it need not be there
        start = StartingPoint.read(inputs.checkpoint, recipe)
    choices = choose(recipe, inputs, start, settings.dry_run)
    plan, memory = _fitted(batch, recipe, arguments, settings, processes, precision, start)
    said = plan.describe(recipe.get("task.clips_per_update"), processes.unit)
    length, on_length = _stated_length(recipe, arguments)
    on_methods = unused_settings(recipe, arguments)
    notes = (*inputs.notes, *precision.notes, *choices.notes, *on_length, *on_methods, memory, said)
    fixed = [*recipe.groups, *_fixed(recipe, processes, plan, batch.most_clips), *precision.overrides]
    fixed += [*inputs.overrides, *choices.overrides, *length]
    if settings.extend:
        fixed.append("task.extend=true")
    if inputs.checkpoint is not None:
        fixed.append(f"model.model_path={quoted(inputs.checkpoint)}")
    program = [*_program(processes), "--config-dir", str(file.parent), "--config-name", file.stem, *search_path(file)]
    typed = arguments.without(*KEYS.values()).words
    runs = []
    for fold, data, save_dir in inputs.folders():
        folders = [
            data_override(data),
            f"checkpoint.save_dir={quoted(save_dir)}",
            f"hydra.job_logging.handlers.file.filename={quoted(save_dir / 'train.log')}",
        ]
        runs.append(Run((*program, *folders, *fixed, *typed), save_dir, fold))
    return Launch(tuple(runs), notes, recipe, inputs, start, plan)


def _batch(recipe: Recipe, arguments: Arguments, settings: Settings) -> Batch:
    """What recipe and user say about the clips of an update."""
    batch, freq = "dataset.batch_size", "optimization.update_freq"
    as_written = recipe
    typed = [key for key in (batch, freq) if arguments.names(key)]
    if typed:
        as_written = Recipe(recipe.file, arguments.without(batch, freq))
    most_clips = _at_least_one(batch, as_written.get(batch))
    clips = _at_least_one(batch, recipe.get(batch)) if batch in typed else settings.batch_size
    wanted = recipe.get("task.clips_per_update")
    given = [f"{key}={recipe.get(key)}" for key in typed]
    if settings.batch_size is not None and batch not in typed:
        given.append(f"BATCH_SIZE={clips}")
    return Batch(
        wanted=None if wanted is None else _at_least_one("task.clips_per_update", wanted),
        most_clips=most_clips,
        written_freq=_first(freq, as_written.get(freq, [1])),
        clips=clips,
        update_freq=_first(freq, recipe.get(freq)) if freq in typed else None,
        given=tuple(given),
        # Its loss is the same however many clips a step has, where these share no mask. MAE-AST normalises over them.
        grows=recipe.has("model.cls_loss_clips") and recipe.get("task.mask_type") != "random_batched",
    )


def _stated_length(recipe: Recipe, arguments: Arguments) -> tuple[list[str], list[str]]:
    """The override by which a number of updates that was typed holds in place of a recipe's epochs, and what to say."""
    updates, epochs = "optimization.max_update", recipe.get("task.epochs")
    if epochs is None or not arguments.names(updates) or arguments.names("task.epochs"):
        return [], []
    recipe.set("task.epochs", None)
    return ["task.epochs=null"], [
        f"{updates}={recipe.get(updates)} as stated, in place of the recipe's {epochs} epochs"
    ]


def _fitted(
    batch: Batch,
    recipe: Recipe,
    arguments: Arguments,
    settings: Settings,
    processes: Processes,
    precision: Precision,
    start: StartingPoint | None,
) -> tuple[BatchPlan, str]:
    """The plan that fits into memory, and what to say about it. A dry run does not look at this machine's memory."""
    work = workload_of(recipe, start)
    if work is None:
        init = recipe.get("model.init", "")
        unknown = f"nothing is known of {f'model.init={init}' if init else recipe.model}"
        why = "there is no CHECKPOINT yet" if recipe.has(KEYS["CHECKPOINT"]) and not init else unknown
        return batch.plan(processes.everywhere), f"memory: not estimated, as {why}"
    available = settings.memory_bytes
    if available is None and not settings.dry_run:
        available = available_bytes(processes.device, processes.here)
    workers = _at_least(0, "dataset.num_workers", recipe.get("dataset.num_workers", 0))
    machine = Machine(processes.device, precision.kind, processes.everywhere > 1, workers)
    budget = Budget(work, machine, processes.here if processes.device == "cpu" else 1, available)
    return fit_batch(batch, processes.everywhere, budget, _smaller(recipe, arguments, work))


def _smaller(recipe: Recipe, arguments: Arguments, work: Workload) -> Iterator[tuple[str, Workload]]:
    """The sizes of a run's model that are smaller than the run's, from the largest."""
    if recipe.has(KEYS["CHECKPOINT"]):
        return
    for name in reversed(by_size(size_files(recipe.file, recipe.model))):
        other = Recipe(recipe.file, Arguments(recipe.names, arguments.words, name))
        smaller = workload_of(other, None)
        if smaller is not None and smaller.parameters < work.parameters:
            yield name, smaller


def _first(key: str, value: Any) -> int:
    if isinstance(value, int) or not value:
        raise LaunchError(f"{key}={value}: it has to be a list, as in {key}=[{value or 1}]")
    return _at_least_one(key, value[0])


def _at_least_one(key: str, value: Any) -> int:
    return _at_least(1, key, value)


def _at_least(least: int, key: str, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise LaunchError(
            f"{key}={'null' if value is None else value}: it has to be a whole number of at least {least}"
        )
    return value


def _fixed(recipe: Recipe, processes: Processes, plan: BatchPlan, most_clips: int) -> list[str]:
    """The overrides that the machine and the plan ask for."""
    overrides = [
        f"common.user_dir={quoted(PROJECT / 'ASDA')}",
        f"dataset.batch_size={plan.clips}",
        f"optimization.update_freq=[{plan.update_freq}]",
    ]
    if recipe.has("model.cls_loss_clips") and recipe.get("model.cls_loss_clips") is None:
        # The utterance loss is a sum over the clips of a step: this gives it the weight that it has with the recipe's.
        overrides.append(f"model.cls_loss_clips={most_clips}")
    if processes.device == "cpu":
        overrides.append("common.cpu=true")
    if processes.everywhere > 1:
        # Every rank reads the checkpoint itself: fairseq's broadcast of it cannot be unpickled with weights_only.
        overrides += [
            f"distributed_training.distributed_world_size={processes.everywhere}",
            "checkpoint.load_checkpoint_on_all_dp_ranks=true",
        ]
        if processes.device == "cpu":
            overrides += _SEVERAL_ON_THE_CPU
    return overrides


def _program(processes: Processes) -> list[str]:
    program = [sys.executable, "-m"]
    if processes.everywhere > 1:
        program += ["ASDA.launch.torchrun", f"--nproc_per_node={processes.here}", *processes.rendezvous, "-m"]
    return [*program, "ASDA.fairseq_plugin.start", "fairseq_cli.hydra_train"]
