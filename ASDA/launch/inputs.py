"""The files that a run will read, looked for before it starts."""

from __future__ import annotations

from pathlib import Path

from .recipe import Recipe
from .settings import LaunchError


def splits(recipe: Recipe) -> list[str]:
    """The splits that the run trains and validates on."""
    return [recipe.get("dataset.train_subset", "train"), *validation_splits(recipe)]


def validation_splits(recipe: Recipe) -> list[str]:
    """The splits that the run validates on; fairseq's own default is valid."""
    if recipe.get("dataset.disable_validation", False):
        return []
    return [name for name in str(recipe.get("dataset.valid_subset", "valid")).split(",") if name]


def is_labelled(recipe: Recipe) -> bool:
    """Whether the run learns from labels: fine-tuning does, pre-training does not."""
    return recipe.has("task.labels")


def check_data(recipe: Recipe, data: Path) -> None:
    """Refuses a folder in which a file is missing that the run will read.

    Raises:
        LaunchError: the first such file, and what the folder has to be.
    """
    names = splits(recipe)
    files, meaning = [f"{name}.tsv" for name in names], "a folder with train.tsv"
    if is_labelled(recipe):
        labels, classes = recipe.get("task.labels"), recipe.get("task.label_descriptors", "label_descriptors.csv")
        files += [*(f"{name}.{labels}" for name in names), classes]
        meaning = f"a folder with {classes} and tsv and {labels} files of the splits {' '.join(names)}"
        validation = ",".join(validation_splits(recipe))
        if validation not in ("", "eval"):
            meaning += f" (dataset.valid_subset={validation}; dataset.valid_subset=eval needs train and eval only)"
    weights = recipe.get("task.weights_file", "")
    if weights:
        files.append(weights)
        meaning += f", with the clips' weights in {Path(weights).name} (task.weights_file)"
    for path in [data / file for file in files if not Path(file).is_absolute() or Path(file).is_relative_to(data)]:
        if not path.exists():
            raise LaunchError(f"DATA: {path} does not exist; it has to be {meaning}{_folds_in(data)}")
    if weights and not Path.cwd().joinpath(weights).exists():
        raise LaunchError(f"task.weights_file: {weights} does not exist")


def _folds_in(data: Path) -> str:
    folds = sorted(int(path.name[4:]) for path in data.glob("fold*") if path.name[4:].isdigit())
    return f'. For the folds that it holds: FOLDS="{" ".join(map(str, folds))}"' if folds else ""
