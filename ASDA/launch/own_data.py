"""What is known of own data is not asked: labels, window and normalisation, from the data and the checkpoint.

A run on a data set that is named (`task.dataset`, a recipe) has that data set's numbers, and whatever a user states
holds. For the rest the data are looked at, each choice is a line, and the command holds what was chosen.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..checkpoints.layouts.published_names import PUBLISHED_FLAGS
from .recipe import Recipe
from .settings import LaunchError

if TYPE_CHECKING:
    from ..audio.front_end import FrontEnd
    from ..checkpoints.checkpoint import Checkpoint
    from ..data.preparation.cached_statistics import SplitStatistics

MOST_FRAMES = 1024
"""The longest window that is chosen unasked: what published encoders hear."""
_NORMALISES_ITSELF = ("mae_ast",)  # models for which the task's normalisation means nothing
_FIELDS = {"target_length": "target_length_frames", "norm_mean": "norm_mean", "norm_std": "norm_std"}
# Statistics further apart than this are those of other sound: half a unit of log energy, a seventh of the spread.
_SAME_MEAN, _SAME_STD = 0.5, 0.15


@dataclass
class Choices:
    """What was chosen, as overrides, and the lines that say so."""

    overrides: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def choose(recipe: Recipe, data: Path, checkpoint: Path | None, dry_run: bool = False) -> Choices:
    """Looks at own data; chooses nothing for a data set that is named.

    Args:
        recipe: what the run is composed of.
        data: the folder of the manifests.
        checkpoint: that fine-tuning starts from; None in pre-training.
        dry_run: data or checkpoint may be absent; nothing is chosen then.

    Raises:
        LaunchError: the data or the checkpoint cannot be used; one line says why.
    """
    if recipe.get("task.dataset") or any(recipe.get(f"task.{flag}", False) for flag in PUBLISHED_FLAGS):
        return Choices()
    missing = [path for path in (data, checkpoint) if path is not None and not path.exists()]
    if dry_run and missing:
        return Choices(notes=[f"{missing[0]} is not there: window and normalisation will be chosen when it is"])
    from ..checkpoints.files import CheckpointError  # all of these need torch, which takes seconds to import
    from ..checkpoints.reading import read_checkpoint
    from ..data.manifest import ManifestError

    choices, split = Choices(), recipe.get("dataset.train_subset", "train")
    try:
        found = None if checkpoint is None else read_checkpoint(checkpoint)
        if found is not None:
            _describe_labels(recipe, data, split, choices)
    except (ManifestError, CheckpointError) as error:
        raise LaunchError(str(error)) from error
    try:
        if found is not None:
            _fit_to_checkpoint(recipe, data, found, split, choices)
        elif recipe.get("model._name") not in _NORMALISES_ITSELF:
            _fit_to_data(recipe, data, split, choices)
    except ManifestError as error:  # what cannot be read is the run's to judge
        choices.notes.append(f"warning: nothing is chosen by these clips: {error}")
    return choices


def _describe_labels(recipe: Recipe, data: Path, split: str, choices: Choices) -> None:
    """The task decides the same way; here it is said, and refused, before anything is loaded."""
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
    loss = recipe.get("model.loss", "auto")
    if loss == "auto":
        loss = "bce" if several or recipe.get("model.mixup", 0) else "cross_entropy"
    how = "as their files have it" if multi_label is None else "as stated"
    choices.notes.append(f"labels: {len(table)} classes, {what}, {how}; model.loss={loss}")
    if several and labels.max_labels_per_clip <= 1 and multi_label is None:
        choices.notes.append(
            f"warning: no clip has several labels, but {labels.num_unlabelled} of {len(labels)} have none: if these "
            "were forgotten, label them; if each clip has one class, task.multi_label=false"
        )


def _fit_to_checkpoint(recipe: Recipe, data: Path, checkpoint: Checkpoint, split: str, choices: Choices) -> None:
    """A checkpoint that says what its encoder heard is followed; of another only the network is known."""
    if not checkpoint.front_end_recorded:
        _fit_window(recipe, data, split, checkpoint.encoder_config.patches.size[0], choices)
        statistics = _statistics(recipe, data, split, checkpoint.front_end)
        _take(recipe, statistics, "the checkpoint records none", choices)
        return
    followed = checkpoint.front_end
    stated = {name: recipe.get(f"task.{key}") for key, name in _FIELDS.items()}
    front_end = replace(followed, **{name: value for name, value in stated.items() if value is not None})
    choices.notes.append(
        f"front end: target_length {front_end.target_length_frames}, norm_mean {front_end.norm_mean:.4f}, norm_std "
        f"{front_end.norm_std:.4f}: {'the checkpoint' if front_end == followed else 'as stated, else the checkpoint'}'s"
    )
    statistics = _statistics(recipe, data, split, front_end)
    if not _alike(statistics, front_end.norm_mean, front_end.norm_std):
        choices.notes.append(f"warning: these clips have other statistics: {statistics.describe()}")
    if front_end.target_length_frames is not None:
        fit = statistics.lengths.fit(front_end.target_length_frames)
        better = statistics.lengths.window(checkpoint.encoder_config.patches.size[0], max_frames=MOST_FRAMES)
        padding = recipe.get("task.padding") or front_end.padding
        if fit.share_cut > 0.1 or (fit.mask_is_worth_it and padding == "constant"):
            choices.notes.append(f"warning: of this window {fit.describe()}. Of its own: {better.suggestion()}")


def _fit_to_data(recipe: Recipe, data: Path, split: str, choices: Choices) -> None:
    """Pre-training: the recipe's window if it has one; AudioSet's normalisation for data like AudioSet."""
    from ..data.corpora.corpus import AUDIOSET

    if recipe.get("task.norm_mean") is not None and recipe.get("task.norm_std") is not None:
        return  # as stated; the window, too, is then the user's business
    patch_frames = recipe.get("model.modalities.image.patch_size", 16)
    _fit_window(recipe, data, split, patch_frames, choices)
    front_end = AUDIOSET.front_end()
    statistics = _statistics(recipe, data, split, front_end)
    if _alike(statistics, front_end.norm_mean, front_end.norm_std):
        choices.notes.append(
            f"normalisation: {AUDIOSET.title}'s, {front_end.norm_mean} and {front_end.norm_std}; these clips have "
            f"{statistics.statistics.overrides}"
        )
    else:
        _take(recipe, statistics, f"far from {AUDIOSET.title}'s", choices)
    if not any(word.startswith("task.target_length=") for word in choices.overrides):
        length = recipe.get("task.target_length")
        fit = statistics.lengths.fit(length)
        if fit.mask_is_worth_it and recipe.get("task.padding") != "mask":
            better = statistics.lengths.window(patch_frames, max_frames=MOST_FRAMES)
            choices.notes.append(f"warning: of this window {fit.describe()}. Of its own: {better.suggestion()}")


def _fit_window(recipe: Recipe, data: Path, split: str, patch_frames: int, choices: Choices) -> None:
    from ..data.preparation.cached_statistics import cached_lengths

    if recipe.get("task.target_length") is not None:
        return
    lengths = cached_lengths(
        data,
        split,
        max_bad_fraction=recipe.get("task.max_bad_fraction", 0.01),
        h5_sample_rate_hz=recipe.get("task.h5_sample_rate", 32_000),
    )
    fit = lengths.window(patch_frames, max_frames=MOST_FRAMES)
    chosen = [f"task.target_length={fit.target_length_frames}"]
    if fit.mask_is_worth_it and recipe.get("task.padding") is None:
        chosen.append("task.padding=mask")
    choices.overrides += chosen
    recipe.set("task.target_length", fit.target_length_frames)
    choices.notes.append(f"window: {' '.join(chosen)}: {fit.describe()}")


def _statistics(recipe: Recipe, data: Path, split: str, front_end: FrontEnd) -> SplitStatistics:
    from ..data.preparation.cached_statistics import cached_statistics

    length = recipe.get("task.target_length") or front_end.target_length_frames
    return cached_statistics(
        data,
        replace(front_end, target_length_frames=length),
        split,
        max_bad_fraction=recipe.get("task.max_bad_fraction", 0.01),
        h5_sample_rate_hz=recipe.get("task.h5_sample_rate", 32_000),
    )


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
