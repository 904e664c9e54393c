"""What a planned run would be, in a table: data, window, network, batch, schedule, folder, command. Starts nothing."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from .command import Launch, Run
from .inputs import splits_of
from .recipe import Recipe


def overview(launch: Launch) -> list[str]:
    """The lines of the table, then the command of each run."""
    recipe, run = launch.recipe, launch.runs[0]
    rows = [*_data(recipe, run), *_window(recipe, run), *_network(recipe, run), *_schedule(launch), *_folder(run)]
    width = max(len(name) for name, _ in rows)
    return [*(f"{name:<{width}}  {value}" for name, value in rows), "", *map(str, launch.runs)]


def _stated(run: Run, key: str) -> str:
    """The value that the command gives a key; empty if it gives none."""
    return next((word.partition("=")[2] for word in reversed(run.command) if word.partition("=")[0] == key), "")


def _data(recipe: Recipe, run: Run) -> list[tuple[str, str]]:
    from ..data.manifest import Manifest

    folder = Path(_stated(run, "task.data"))
    rows = [("data", str(folder))]
    for split in splits_of(recipe):
        file = folder / f"{split}.tsv"
        rows.append(
            (f"  {split}", f"{len(Manifest.read(file)):,} clips" if file.exists() else f"{file.name} is absent")
        )
    return rows


def _window(recipe: Recipe, run: Run) -> list[tuple[str, str]]:
    from ..data.manifest import ManifestError
    from ..data.preparation.cached_statistics import cached_lengths

    length = int(_stated(run, "task.target_length") or 0) or recipe.get("task.target_length")
    rows = [("window", f"{length} frames" if length else "the data set's, or the checkpoint's")]
    folder, split = Path(_stated(run, "task.data")), splits_of(recipe)[0]
    if not (folder / f"{split}.tsv").exists():
        return rows
    try:
        lengths = cached_lengths(folder, split, h5_sample_rate_hz=recipe.get("task.h5_sample_rate", 32_000))
    except ManifestError as error:
        return [*rows, ("  lengths", str(error))]
    rows.append(("  lengths", lengths.summary().removeprefix("length: ")))
    if length:
        rows.append(("  fit", lengths.fit(length).describe()))
    return [*rows, ("  suggested", lengths.window().suggestion())]


def _network(recipe: Recipe, run: Run) -> list[tuple[str, str]]:
    import torch

    from ..checkpoints.reading import read_checkpoint
    from ..core.encoder import SpectrogramEncoder
    from ..core.zoo import system_of

    path = _stated(run, "model.model_path")
    if not path:
        return [("network", f"model._name={recipe.get('model._name')}; asda-info --config tells its parts")]
    checkpoint = read_checkpoint(path)
    with torch.device("meta"):
        encoder = SpectrogramEncoder(checkpoint.encoder_config)
    count = sum(parameter.numel() for parameter in encoder.parameters())
    stack = checkpoint.encoder_config.stack
    name = system_of(checkpoint.encoder_config) or "an encoder"
    return [("network", f"{name}, {stack.depth} layers of width {stack.embed_dim}, {count:,} parameters: {path}")]


def _schedule(launch: Launch) -> list[tuple[str, str]]:
    recipe, batch = launch.recipe, launch.batch
    rows = [("batch", batch.describe(recipe.get("task.clips_per_update"), "processes"))]
    epochs, updates = recipe.get("task.epochs"), recipe.get("optimization.max_update")
    clips = _num_clips(launch)
    if epochs and clips:
        per_epoch = math.ceil(math.ceil(clips / (batch.clips * batch.processes)) / batch.update_freq)
        rows.append(("schedule", f"{epochs} epochs of {per_epoch:,} updates: {epochs * per_epoch:,}"))
    elif clips:
        passes = updates * batch.clips_per_update / clips
        rows.append(("schedule", f"{updates:,} updates, {passes:,.1f} times through the {clips:,} clips"))
    else:
        rows.append(("schedule", f"{epochs} epochs" if epochs else f"{updates:,} updates"))
    rates: Any = recipe.get("optimization.lr", [])
    return [*rows, ("  learning rate", ", ".join(map(str, rates)))]


def _num_clips(launch: Launch) -> int:
    from ..data.manifest import Manifest

    if launch.recipe.get("task.weights_file"):
        return launch.recipe.get("task.num_samples")
    file = Path(_stated(launch.runs[0], "task.data")) / f"{splits_of(launch.recipe)[0]}.tsv"
    return len(Manifest.read(file)) if file.exists() else 0


def _folder(run: Run) -> list[tuple[str, str]]:
    last = run.save_dir / "checkpoint_last.pt"
    state = "goes on from its checkpoint_last.pt" if last.exists() else "begins anew"
    return [("saves into", f"{run.save_dir}; {state}")]
