"""What is known of own data is not asked: labels, window and normalisation, from the data and the checkpoint.

A run on a data set that is named (`task.dataset`, a recipe) has that data set's numbers, and whatever a user states
holds. For the rest the data are looked at, each choice is a line, and the command holds what was chosen.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .inputs import Inputs, drawn_shares, is_labelled, splits_of
from .recipe import Recipe
from .settings import LaunchError
from .starting_point import StartingPoint

if TYPE_CHECKING:
    from ..audio.front_end import FrontEnd
    from ..data.preparation.cached_statistics import SplitStatistics
    from ..data.preparation.lengths import LengthDistribution
    from ..data.preparation.window import WindowFit

MOST_FRAMES = 1024
"""The longest window that is chosen unasked: what published encoders hear."""
_NORMALISES_ITSELF = ("mae_ast",)  # models for which the task's normalisation means nothing
_TAKES_NO_MASK = ("ssast",)  # models that see padding, whatever task.padding says
_PATCH_FRAMES = 16  # where nothing is known of the network
_MUCH_CUT = 0.1  # share of the clips
_FIELDS = {"target_length": "target_length_frames", "norm_mean": "norm_mean", "norm_std": "norm_std"}
# Statistics further apart than this are those of other sound: half a unit of log energy, a seventh of the spread.
_SAME_MEAN, _SAME_STD = 0.5, 0.15


@dataclass
class Choices:
    """What was chosen, as overrides, and the lines that say so."""

    overrides: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def choose(recipe: Recipe, inputs: Inputs, start: StartingPoint | None, dry_run: bool = False) -> Choices:
    """Looks at own data; chooses nothing for a data set that is named. Of folds the first stands for all.

    Args:
        recipe: what the run is composed of.
        inputs: where the data lie.
        start: what fine-tuning starts from; None in pre-training, and with `model.init`.
        dry_run: data or checkpoint may be absent; nothing is chosen then.

    Raises:
        LaunchError: the labels cannot be used; one line says why.
    """
    if recipe.dataset:
        return Choices()
    data = inputs.folders()[0][1]
    missing = [path for path in (*data, inputs.checkpoint) if path is not None and not path.exists()]
    if dry_run and missing:
        return Choices(notes=[f"{missing[0]} is not there: window and normalisation will be chosen when it is"])
    from ..data.manifest import ManifestError  # needs torch, which takes seconds to import

    choices, split = Choices(), splits_of(recipe)[0]
    if is_labelled(recipe):
        try:
            _describe_labels(recipe, data[0], split, choices)
        except ManifestError as error:
            raise LaunchError(str(error)) from error
    try:
        if start is None:
            _fit_to_data(recipe, data, split, choices)
        else:
            _fit_to_checkpoint(recipe, data, start, split, choices)
    except ManifestError as error:  # what cannot be read is the run's to judge
        choices.notes.append(f"warning: nothing is chosen by these clips: {error}")
    if is_labelled(recipe) and splits_of(recipe)[1:2] == ["eval"]:
        choices.notes.append(
            "warning: checkpoint_best.pt will be chosen on eval, so that its score there is too good: keep a split "
            "valid aside (asda-manifest folder --split train=0.7 valid=0.15 eval=0.15), or judge checkpoint_last.pt"
        )
    return choices


def _describe_labels(recipe: Recipe, data: Path, split: str, choices: Choices) -> None:
    """The task decides the same way; here it is said, and refused, before anything is loaded."""
    from ..checkpoints.layouts.project import trained_with_softmax
    from ..data.labels import LabelTable, read_clip_labels
    from ..data.manifest import Manifest

    table = LabelTable.read(data / recipe.get("task.label_descriptors", "label_descriptors.csv"))
    stated = recipe.get("model.num_classes")
    if stated not in (None, len(table)):
        raise LaunchError(f"model.num_classes={stated}, but {table.file} has {len(table)} classes; leave it out")
    labels = read_clip_labels(
        data / f"{split}.{recipe.get('task.labels')}", Manifest.read(data / f"{split}.tsv"), table
    )
    multi_label = recipe.get("task.multi_label")
    several = labels.is_multi_label if multi_label is None else multi_label
    what = "several per clip, or none: mAP" if several else "one per clip: accuracy"
    softmax = trained_with_softmax(recipe.get("model.loss", "auto"), several, recipe.get("model.mixup", 0))
    loss = "cross_entropy" if softmax else "bce"
    how = "as their files have it" if multi_label is None else "as stated"
    choices.notes.append(f"labels: {len(table)} classes, {what}, {how}; model.loss={loss}")
    if several and labels.max_labels_per_clip <= 1 and multi_label is None:
        choices.notes.append(
            f"warning: no clip has several labels, but {labels.num_unlabelled} of {len(labels)} have none: if these "
            "were forgotten, label them; if each clip has one class, task.multi_label=false"
        )


def _fit_to_checkpoint(
    recipe: Recipe, data: tuple[Path, ...], start: StartingPoint, split: str, choices: Choices
) -> None:
    """A checkpoint that says what its encoder heard is followed; of another only the network is known."""
    patch_frames = start.encoder.patches.size[0]
    if not start.front_end_recorded:
        _fit_window(recipe, data, split, patch_frames, choices)
        _take(recipe, _statistics(recipe, data, split, start.front_end), "the checkpoint records none", choices)
        return
    stated = {name: recipe.get(f"task.{key}") for key, name in _FIELDS.items()}
    front_end = replace(start.front_end, **{name: value for name, value in stated.items() if value is not None})
    whose = "the checkpoint's" if front_end == start.front_end else "as stated, else the checkpoint's"
    choices.notes.append(
        f"front end: target_length {front_end.target_length_frames}, norm_mean {front_end.norm_mean:.4f}, norm_std "
        f"{front_end.norm_std:.4f}: {whose}"
    )
    statistics = _statistics(recipe, data, split, front_end)
    if not _alike(statistics, front_end.norm_mean, front_end.norm_std):
        choices.notes.append(f"warning: these clips have other statistics: {statistics.describe()}")
    if front_end.target_length_frames is not None:
        fit = statistics.lengths.fit(front_end.target_length_frames)
        seen = (recipe.get("task.padding") or front_end.padding) == "constant"
        if fit.share_cut > _MUCH_CUT or (fit.mask_is_worth_it and seen):
            _warn_of_window(fit, statistics, patch_frames, choices)


def _fit_to_data(recipe: Recipe, data: tuple[Path, ...], split: str, choices: Choices) -> None:
    """The recipe's window if it has one; AudioSet's normalisation for data like AudioSet."""
    from ..data.corpora.corpus import AUDIOSET

    patch_frames = _patch_frames(recipe)
    chosen = _fit_window(recipe, data, split, patch_frames, choices)
    normalised = None not in (recipe.get("task.norm_mean"), recipe.get("task.norm_std"))
    if normalised or recipe.model in _NORMALISES_ITSELF:
        return  # what was stated is the user's business, the window too
    front_end = AUDIOSET.front_end()
    statistics = _statistics(recipe, data, split, front_end)
    if _alike(statistics, front_end.norm_mean, front_end.norm_std):
        choices.notes.append(
            f"normalisation: {AUDIOSET.title}'s, {front_end.norm_mean} and {front_end.norm_std}; these clips have "
            f"{statistics.statistics.overrides}"
        )
    else:
        _take(recipe, statistics, f"far from {AUDIOSET.title}'s", choices)
    if not chosen:
        fit = statistics.lengths.fit(recipe.get("task.target_length"))
        if fit.mask_is_worth_it and recipe.get("task.padding") != "mask":
            _warn_of_window(fit, statistics, patch_frames, choices)


def _patch_frames(recipe: Recipe) -> int:
    """Frames of a patch of a network that is not trained yet, by the key that its model has for it."""
    size = recipe.get("model.patch_size")
    found = (recipe.get("model.modalities.image.patch_size"), recipe.get("model.ast_kernel_size_time"))
    return next((frames for frames in (*found, size and size[0]) if frames), _PATCH_FRAMES)


def _fit_window(recipe: Recipe, data: tuple[Path, ...], split: str, patch_frames: int, choices: Choices) -> bool:
    """Chooses a window where none is stated; says whether it did."""
    if recipe.get("task.target_length") is not None:
        return False
    fit = lengths_of(recipe, data, split).window(patch_frames, max_frames=MOST_FRAMES)
    chosen = [f"task.target_length={fit.target_length_frames}"]
    if fit.mask_is_worth_it and recipe.get("task.padding") is None and recipe.model not in _TAKES_NO_MASK:
        chosen.append("task.padding=mask")
    choices.overrides += chosen
    recipe.set("task.target_length", fit.target_length_frames)
    choices.notes.append(f"window: {' '.join(chosen)}: {fit.describe()}")
    return True


def _warn_of_window(fit: WindowFit, statistics: SplitStatistics, patch_frames: int, choices: Choices) -> None:
    better = statistics.lengths.window(patch_frames, max_frames=MOST_FRAMES)
    choices.notes.append(f"warning: of this window {fit.describe()}. Of its own: {better.suggestion()}")


def lengths_of(recipe: Recipe, data: tuple[Path, ...], split: str) -> LengthDistribution:
    """Lengths of a split's clips; of several folders in the shares that the run hears them.

    Raises:
        ManifestError: no such manifest, too many unreadable clips.
    """
    from ..data.preparation.cached_statistics import cached_lengths
    from ..data.preparation.joint_statistics import joint_lengths

    found = [cached_lengths(folder, split, **_reading(recipe)) for folder in data]
    return found[0] if len(found) == 1 else joint_lengths(found, drawn_shares(recipe, data, split))


def _statistics(recipe: Recipe, data: tuple[Path, ...], split: str, front_end: FrontEnd) -> SplitStatistics:
    from ..data.preparation.cached_statistics import cached_statistics
    from ..data.preparation.joint_statistics import joint_statistics

    length = recipe.get("task.target_length") or front_end.target_length_frames
    front_end = replace(front_end, target_length_frames=length)
    found = [cached_statistics(folder, front_end, split, **_reading(recipe)) for folder in data]
    return joint_statistics(found, drawn_shares(recipe, data, split))


def _reading(recipe: Recipe) -> dict[str, Any]:
    """How the clips are read."""
    return {
        "max_bad_fraction": recipe.get("task.max_bad_fraction", 0.01),
        "h5_sample_rate_hz": recipe.get("task.h5_sample_rate", 32_000),
    }


def _take(recipe: Recipe, statistics: SplitStatistics, why: str, choices: Choices) -> None:
    """The data's own mean and standard deviation, where the run does not state them."""
    found = {"norm_mean": statistics.statistics.mean, "norm_std": statistics.statistics.std}
    taken = [f"task.{key}={value:.4f}" for key, value in found.items() if recipe.get(f"task.{key}") is None]
    choices.overrides += taken
    if taken:
        choices.notes.append(f"normalisation ({why}): {statistics.describe()}")


def _alike(statistics: SplitStatistics, mean: float, std: float) -> bool:
    own = statistics.statistics
    return abs(own.mean - mean) <= _SAME_MEAN and abs(own.std / std - 1) <= _SAME_STD
