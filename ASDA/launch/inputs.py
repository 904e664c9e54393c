"""What a run reads and where it writes: DATA or its folds, CHECKPOINT, SAVE_DIR, and the files that must be there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..data.folders import FoldersError, data_folders, data_shares, joined
from .arguments import Arguments, quoted
from .recipe import Recipe
from .settings import LaunchError, Settings

KEYS = {"DATA": "task.data", "CHECKPOINT": "model.model_path", "SAVE_DIR": "checkpoint.save_dir"}
"""The keys that these settings stand for; an override of a key wins over its setting."""


def data_override(data: tuple[Path, ...]) -> str:
    """The override that names the folders of a run."""
    named = [quoted(folder) for folder in data]
    return f"{KEYS['DATA']}={named[0] if len(named) == 1 else '[' + ','.join(named) + ']'}"


@dataclass(frozen=True)
class Inputs:
    """Absolute paths, and what to say about them.

    Attributes:
        data: one folder or, to pre-train, several.
        folds: names of the folds to run; empty for a single run.
        overrides: what the data decide of the run.
        checkpoint: None where the run starts from nothing.
    """

    data: tuple[Path, ...]
    save_dir: Path
    checkpoint: Path | None
    folds: tuple[str, ...]
    notes: tuple[str, ...]
    overrides: tuple[str, ...] = ()

    def folders(self) -> list[tuple[str, tuple[Path, ...], Path]]:
        """Fold, folders of its data, folder of its run; once, with an empty fold, for a single run."""
        if not self.folds:
            return [("", self.data, self.save_dir)]
        return [
            (fold, tuple(data / f"fold{fold}" for data in self.data), self.save_dir / f"fold{fold}")
            for fold in self.folds
        ]


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
    inputs = Inputs(_data(recipe, arguments, settings, needed), Path(), None, folds, notes)
    overrides: list[str] = []
    for _, data, _ in inputs.folders():
        recipe.set(KEYS["DATA"], joined(data))
        overrides = overrides or choose_validation(recipe, arguments, data[0])
        if not settings.dry_run:
            for folder in data:
                check_data(recipe, folder)
    checkpoint, init = None, recipe.get("model.init", "")
    if init and (settings.checkpoint or recipe.get(KEYS["CHECKPOINT"], "")):
        raise LaunchError(f"CHECKPOINT: the run starts from model.init={init} instead; unset it, or set model.init=''")
    if recipe.has(KEYS["CHECKPOINT"]) and not init:
        checkpoint = _path("CHECKPOINT", recipe, arguments, settings.checkpoint, "a pre-trained checkpoint")
        if not settings.dry_run and not checkpoint.exists():
            raise LaunchError(f"CHECKPOINT: {checkpoint} does not exist; it has to be a pre-trained checkpoint")
    save_dir = _path("SAVE_DIR", recipe, arguments, settings.save_dir, kept)
    return Inputs(inputs.data, save_dir, checkpoint, folds, notes, tuple(overrides))


def shares_of(recipe: Recipe, data: tuple[Path, ...]) -> tuple[float, ...] | None:
    """The share of the drawn clips that each folder has by `task.data_weights`; None for no weights.

    Raises:
        LaunchError: they are not for these folders.
    """
    from omegaconf import OmegaConf

    weights = recipe.get("task.data_weights")
    weights = OmegaConf.to_container(weights) if OmegaConf.is_list(weights) else weights
    try:
        return data_shares(weights, [str(folder) for folder in data])
    except FoldersError as error:
        raise LaunchError(str(error)) from error


def drawn_shares(recipe: Recipe, data: tuple[Path, ...], split: str) -> tuple[float, ...]:
    """The share of the drawn clips that each folder has: by the weights, else by its number of clips.

    Raises:
        ManifestError: a folder has no such split.
    """
    stated = shares_of(recipe, data)
    if stated is not None or len(data) == 1:
        return stated or (1.0,)
    from ..data.manifest import Manifest

    sizes = [len(Manifest.read(folder / f"{split}.tsv")) for folder in data]
    return tuple(size / sum(sizes) for size in sizes)


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
    data = next(iter(_data_folders(recipe, arguments, settings)), "")
    first = f"{splits_of(recipe)[0]}.tsv"
    if number and data and (Path.cwd() / data / first).exists():
        return (), (f"one run, on the {first} of DATA; for all {number} folds DATA is the folder that holds them",)
    return tuple(str(fold) for fold in range(1, number + 1)), ()


def _data(recipe: Recipe, arguments: Arguments, settings: Settings, needed: str) -> tuple[Path, ...]:
    """The folders of DATA, or of an override of `task.data`.

    Raises:
        LaunchError: there is none, or several that cannot be meant.
    """
    folders = _data_folders(recipe, arguments, settings)
    if not folders:
        raise LaunchError(f"set DATA: {needed}")
    if len(folders) > 1 and is_labelled(recipe):
        raise LaunchError(
            f"DATA names {len(folders)} folders ({', '.join(folders)}), but fine-tuning takes one, whose label table "
            "holds for all of its clips"
        )
    data = tuple(Path.cwd() / folder for folder in folders)
    shares_of(recipe, data)
    return data


def _data_folders(recipe: Recipe, arguments: Arguments, settings: Settings) -> tuple[str, ...]:
    """As they are given: by an override, by DATA, or by a recipe."""
    stated = arguments.names(KEYS["DATA"]) or not settings.data
    given = recipe.get(KEYS["DATA"], "") if stated else settings.data
    try:
        return data_folders(given)
    except FoldersError as error:
        raise LaunchError(str(error)) from error


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
