"""What a run reads and where it writes: DATA or its folds, CHECKPOINT, SAVE_DIR, and the files that must be there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .arguments import Arguments
from .recipe import Recipe
from .settings import LaunchError, Settings

KEYS = {"DATA": "task.data", "CHECKPOINT": "model.model_path", "SAVE_DIR": "checkpoint.save_dir"}
"""The keys that these settings stand for; an override of a key wins over its setting."""


@dataclass(frozen=True)
class Inputs:
    """Absolute paths, and what to say about them.

    Attributes:
        folds: names of the folds to run; empty for a single run.
        overrides: what the data decide of the run.
        checkpoint: None where the run starts from nothing.
    """

    data: Path
    save_dir: Path
    checkpoint: Path | None
    folds: tuple[str, ...]
    notes: tuple[str, ...]
    overrides: tuple[str, ...] = ()

    def folders(self) -> list[tuple[str, Path, Path]]:
        """Fold, folder of its data, folder of its run; once, with an empty fold, for a single run."""
        if not self.folds:
            return [("", self.data, self.save_dir)]
        return [(fold, self.data / f"fold{fold}", self.save_dir / f"fold{fold}") for fold in self.folds]


def find_inputs(recipe: Recipe, arguments: Arguments, settings: Settings, num_folds: Callable[[str], int]) -> Inputs:
    """Finds the inputs, and looks at the files of every fold before the first one is run. A dry run does not look.

    Raises:
        LaunchError: a setting or a file is missing.
    """
    labelled = is_labelled(recipe)
    folds, notes = _folds(recipe, arguments, settings, num_folds)
    needed = "a folder with manifests, labels and label_descriptors.csv" if labelled else "a folder with train.tsv"
    kept = "the folder for checkpoints and logs of the run; an interrupted run continues from it"
    if folds:
        needed = f"a folder with fold{folds[0]} to fold{folds[-1]}, each with train and eval manifests"
        kept = "the folder for the runs; each fold gets a folder in it"
    inputs = Inputs(_path("DATA", recipe, arguments, settings.data, needed), Path(), None, folds, notes)
    overrides: list[str] = []
    for _, data, _ in inputs.folders():
        recipe.set(KEYS["DATA"], str(data))
        overrides = overrides or choose_validation(recipe, arguments, data)
        if not settings.dry_run:
            check_data(recipe, data)
    checkpoint, init = None, recipe.get("model.init", "")
    if init and (settings.checkpoint or recipe.get(KEYS["CHECKPOINT"], "")):
        raise LaunchError(f"CHECKPOINT: the run starts from model.init={init} instead; unset it, or set model.init=''")
    if recipe.has(KEYS["CHECKPOINT"]) and not init:
        checkpoint = _path("CHECKPOINT", recipe, arguments, settings.checkpoint, "a pre-trained checkpoint")
        if not settings.dry_run and not checkpoint.exists():
            raise LaunchError(f"CHECKPOINT: {checkpoint} does not exist; it has to be a pre-trained checkpoint")
    save_dir = _path("SAVE_DIR", recipe, arguments, settings.save_dir, kept)
    return Inputs(inputs.data, save_dir, checkpoint, folds, notes, tuple(overrides))


def choose_validation(recipe: Recipe, arguments: Arguments, data: Path) -> list[str]:
    """The override by which a run on a data set without a name validates on `valid` where there is one, not on `eval`.

    What is chosen on `eval` would be measured on what it was chosen by.
    """
    key, name = "dataset.valid_subset", "valid"
    known = recipe.dataset or arguments.names(key) or recipe.get(key) != "eval"
    if not is_labelled(recipe) or known or not (data / f"{name}.tsv").exists():
        return []
    recipe.set(key, name)
    return [f"{key}={name}"]


def check_data(recipe: Recipe, data: Path) -> None:
    """Refuses a folder in which a file is missing that the run will read.

    Raises:
        LaunchError: the first such file, and what the folder has to be.
    """
    names = splits_of(recipe)
    files, meaning = [f"{name}.tsv" for name in names], "a folder with train.tsv"
    if is_labelled(recipe):
        labels, classes = recipe.get("task.labels"), recipe.get("task.label_descriptors", "label_descriptors.csv")
        files += [*(f"{name}.{labels}" for name in names), classes]
        meaning = f"a folder with {classes} and tsv and {labels} files of the splits {' '.join(names)}"
        validation = ",".join(names[1:])
        if validation not in ("", "eval"):
            meaning += f" (dataset.valid_subset={validation}; dataset.valid_subset=eval needs train and eval only)"
    weights = recipe.get("task.weights_file", "")
    if weights:
        files.append(weights)
        meaning += f", with the clips' weights in {Path(weights).name} (task.weights_file)"
    for path in [data / file for file in files if not Path(file).is_absolute() or Path(file).is_relative_to(data)]:
        if not path.exists():
            raise LaunchError(f"DATA: {path} does not exist; it has to be {meaning}{_hint_at_folds(data)}")
    if weights and not Path.cwd().joinpath(weights).exists():
        raise LaunchError(f"task.weights_file: {weights} does not exist")


def is_labelled(recipe: Recipe) -> bool:
    """Whether the run learns from labels: fine-tuning does, pre-training does not."""
    return recipe.has("task.labels")


def splits_of(recipe: Recipe) -> list[str]:
    """The split that the run trains on, then those that it validates on; fairseq's own defaults are train and valid."""
    validation = "" if recipe.get("dataset.disable_validation", False) else recipe.get("dataset.valid_subset", "valid")
    return [recipe.get("dataset.train_subset", "train"), *(name for name in validation.split(",") if name)]


def _folds(
    recipe: Recipe, arguments: Arguments, settings: Settings, num_folds: Callable[[str], int]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The folds to run and what to say about them: those of FOLDS, else all of the data set, unless DATA is one."""
    if settings.folds and not is_labelled(recipe):
        raise LaunchError(f"FOLDS={' '.join(settings.folds)}: pre-training has no folds; unset it")
    if settings.folds or not is_labelled(recipe):
        return settings.folds, ()
    number = num_folds(recipe.get("task.dataset", ""))
    data = _override(recipe, arguments, KEYS["DATA"]) or settings.data
    first = f"{splits_of(recipe)[0]}.tsv"
    if number and data and (Path.cwd() / data / first).exists():
        return (), (f"one run, on the {first} of DATA; for all {number} folds DATA is the folder that holds them",)
    return tuple(str(fold) for fold in range(1, number + 1)), ()


def _path(name: str, recipe: Recipe, arguments: Arguments, setting: str, meaning: str) -> Path:
    value = _override(recipe, arguments, KEYS[name]) or setting
    if not value:
        raise LaunchError(f"set {name}: {meaning}")
    return Path.cwd() / value


def _override(recipe: Recipe, arguments: Arguments, key: str) -> str:
    """What an override says; empty if none does."""
    return str(recipe.get(key, "")) if arguments.names(key) else ""


def _hint_at_folds(data: Path) -> str:
    folds = sorted(int(path.name[4:]) for path in data.glob("fold*") if path.name[4:].isdigit())
    return f'. For the folds that it holds: FOLDS="{" ".join(map(str, folds))}"' if folds else ""
