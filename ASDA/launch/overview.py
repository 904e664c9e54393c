"""What a planned run would be, in a table: data, window, network, batch, schedule, folder, command. Starts nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..training.epoch_decay import EPOCH_DECAY, EpochDecay
from ..training.file_names import NEWEST
from ..training.updates import updates_per_epoch
from .command import Launch
from .inputs import drawn_shares, splits_of
from .own_data import lengths_of
from .recipe import Recipe
from .settings import LaunchError
from .starting_point import StartingPoint


def overview(launch: Launch) -> list[str]:
    """The lines of the table, then the command of each run. Of folds the table is about the first."""
    recipe, (_, data, save_dir) = launch.recipe, launch.inputs.folders()[0]
    rows = [*_data(recipe, data), *_window(recipe, data), *_network(recipe, launch.start), *_schedule(launch, data)]
    state = f"goes on from its {NEWEST}" if (save_dir / NEWEST).exists() else "begins anew"
    rows.append(("saves into", f"{save_dir}; {state}"))
    width = max(len(name) for name, _ in rows)
    return [*(f"{name:<{width}}  {value}" for name, value in rows), "", *map(str, launch.runs)]


def _data(recipe: Recipe, data: tuple[Path, ...]) -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    there = all((folder / f"{splits_of(recipe)[0]}.tsv").exists() for folder in data)
    shares = drawn_shares(recipe, data, splits_of(recipe)[0]) if there else None
    for number, folder in enumerate(data):
        of_all = f"; {100 * shares[number]:.2f} % of the draws" if shares and len(data) > 1 else ""
        rows.append(("data", f"{folder}{of_all}"))
        for split in splits_of(recipe):
            clips = _num_clips((folder,), split)
            rows.append((f"  {split}", f"{split}.tsv is absent" if clips is None else f"{clips:,} clips"))
    return rows


def _num_clips(data: tuple[Path, ...], split: str) -> int | None:
    """Clips of a split, of all folders; None if it is not there."""
    from ..data.joined_manifest import JoinedManifest

    there = all((folder / f"{split}.tsv").exists() for folder in data)
    return len(JoinedManifest.read_split(data, split)) if there else None


def _window(recipe: Recipe, data: tuple[Path, ...]) -> list[tuple[str, str]]:
    from ..data.manifest import ManifestError

    length = recipe.get("task.target_length")
    rows = [("window", f"{length} frames" if length else "the data set's, or the checkpoint's")]
    split = splits_of(recipe)[0]
    if not all((folder / f"{split}.tsv").exists() for folder in data):
        return rows
    try:
        lengths = lengths_of(recipe, data, split)
    except ManifestError as error:
        return [*rows, ("  lengths", str(error))]
    rows.append(("  lengths", lengths.summary().removeprefix("length: ")))
    if length:
        rows.append(("  fit", lengths.fit(length).describe()))
    return [*rows, ("  suggested", lengths.window().suggestion())]


def _network(recipe: Recipe, start: StartingPoint | None) -> list[tuple[str, str]]:
    if start is None:
        return [("network", f"model._name={recipe.model}; asda-info --config tells its parts")]
    import torch

    from ..core.encoder import SpectrogramEncoder
    from ..core.zoo import system_of

    with torch.device("meta"):
        encoder = SpectrogramEncoder(start.encoder)
    count = sum(parameter.numel() for parameter in encoder.parameters())
    stack, name = start.encoder.stack, system_of(start.encoder) or "an encoder"
    return [("network", f"{name}, {stack.depth} layers of width {stack.embed_dim}, {count:,} parameters: {start.path}")]


def _schedule(launch: Launch, data: tuple[Path, ...]) -> list[tuple[str, str]]:
    recipe, batch = launch.recipe, launch.batch
    rows = [("batch", batch.describe(recipe.get("task.clips_per_update"), "processes"))]
    epochs, updates = recipe.get("task.epochs"), recipe.get("optimization.max_update")
    clips = _num_clips(data, splits_of(recipe)[0])
    if recipe.get("task.weights_file"):
        clips = recipe.get("task.num_samples")
    if epochs and clips:
        each = updates_per_epoch(clips, batch.clips, batch.processes, batch.update_freq)
        rows.append(("schedule", f"{epochs} epochs of {each:,} updates: {epochs * each:,}"))
    elif clips:
        passes = updates * batch.clips_per_update / clips
        rows.append(("schedule", f"{updates:,} updates, {passes:,.1f} times through the {clips:,} clips"))
    else:
        rows.append(("schedule", f"{epochs} epochs" if epochs else f"{updates:,} updates"))
    rates: Any = recipe.get("optimization.lr", [])
    return [*rows, ("  learning rate", ", ".join([*map(str, rates), *_decay(recipe, epochs)]))]


def _decay(recipe: Recipe, epochs: int | None) -> list[str]:
    """How the learning rate falls, where it does so by epochs."""
    schedule = "optimizer.groups.default.lr_scheduler"
    if recipe.get(f"{schedule}._name") != EPOCH_DECAY:
        return []
    warmup = recipe.get(f"{schedule}.warmup_updates", 0)
    keys = {"decay": "decay", "from_epoch": "decay_from_epoch", "every_epochs": "decay_every_epochs"}
    stated = {name: recipe.get(f"{schedule}.{key}") for name, key in keys.items()}
    try:
        steps = EpochDecay(**{name: value for name, value in stated.items() if value is not None})
    except ValueError as error:
        raise LaunchError(f"{schedule}: {error}") from error
    return [*([f"after {warmup:,} updates of warm-up"] if warmup else []), steps.describe(epochs)]
