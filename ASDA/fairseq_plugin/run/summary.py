"""What a run is about to do, in a few aligned lines before its first update."""

import logging
import os
from typing import Any, Dict, List, Optional

import torch

from ...audio.errors import AudioError
from ...core.config import EncoderConfig
from ...core.zoo import system_of
from ...data.containers import ClipReader, split_container
from ...data.folders import folder_names
from ...data.manifest import Manifest
from ...data.sampling import shuffled_order
from ...training.epoch_decay import EPOCH_DECAY
from .processes import rank_and_size
from .progress_line import duration
from .run_config import starting_checkpoint, value_in
from .schedule import COSINES, epoch_decay_of

_PROBED_CLIPS = 32
_SEED = 1


def describe(task: Any, run: Any, model: torch.nn.Module, epochs: Any, num_updates: int) -> str:
    """The summary.

    Args:
        task: of the run, with its data sets loaded.
        run: the configuration of the whole run.
        model: the network on its device, with the weights that the run begins with.
        epochs: fairseq's iterator over the training clips.
        num_updates: that are done already.
    """
    rows = {
        **{name: text for split, dataset in task.datasets.items() for name, text in _data(split, dataset).items()},
        **task.described(),
        "model": _model(run, model),
        "parameters": _parameters(model),
        "weights": _weights(task, run, num_updates),
        "batch": batch(run),
        "schedule": _schedule(run, epochs),
        "learning rate": _learning_rate(run),
        "computes": _computes(run, model),
        "saves": _saves(run),
        "logs": _logs(run),
    }
    width = max(map(len, rows))
    return "\n".join(["this run:", *(f"  {name:<{width}}  {value}" for name, value in rows.items() if value)])


def batch(run: Any) -> str:
    """How many clips an update has, and why; empty where batches are not counted in clips."""
    clips, freq = run.dataset.batch_size, run.optimization.update_freq[0]
    if clips is None:
        return ""
    size = rank_and_size()[1]
    return f"{clips} clips x {size} process(es) x update_freq {freq} = {clips * size * freq} clips per update"


def sound_s(manifest: Manifest) -> Optional[float]:
    """About how many seconds of sound the files of a manifest hold; None if it takes long to find out.

    Rows count samples at the files' own rates, which some of the files tell.
    """
    samples, seconds, reader = 0, 0.0, ClipReader()
    for row in shuffled_order(len(manifest), _SEED, epoch=1)[:_PROBED_CLIPS].tolist():
        path = manifest.path(row)
        if split_container(path)[1] is not None:  # its index may have to be made
            return None
        try:
            seconds += reader.probe(path).duration_s
        except AudioError:  # it is reported when it is to be heard
            continue
        samples += manifest.num_samples(row)
    return float(manifest.all_num_samples.sum()) * seconds / samples if samples else None


def _data(split: str, dataset: Any) -> Dict[str, str]:
    parts = dataset.manifest.parts
    if len(parts) == 1:
        return {f"data, {split}": _clips(dataset.manifest)}
    drawn = ", drawn with replacement" if dataset.sample_weights is not None else ""
    rows = {f"data, {split}": f"{len(dataset.manifest):,} clips of {len(parts)} folders{drawn}"}
    names = folder_names([part.manifest.file.parent for part in parts])
    for name, part, share in zip(names, parts, dataset.shares(), strict=True):
        rows[f"data, {split}, {name}"] = f"{100 * share:.2f} % of the draws: {_clips(part.manifest)}"
    return rows


def _clips(manifest: Manifest) -> str:
    seconds = sound_s(manifest)
    sound = "" if seconds is None else f", about {f'{seconds / 3600:,.1f} h' if seconds > 3600 else duration(seconds)}"
    return f"{len(manifest):,} clips{sound}, {manifest.file}"


def _model(run: Any, model: Any) -> str:
    name = value_in(run, "model", "_name")
    encoder = getattr(getattr(model, "encoder", None), "config", None)
    if not isinstance(encoder, EncoderConfig):
        return name
    stack = encoder.stack
    return (
        f"{system_of(encoder) or 'an encoder of its own kind'} ({name}): {stack.depth} layers of width "
        f"{stack.embed_dim}, {stack.attention.kind} attention, {stack.norm}-norm"
    )


def _parameters(model: torch.nn.Module) -> str:
    total = sum(p.numel() for p in model.parameters())
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return f"{total:,}, " + ("all trained" if trained == total else f"{trained:,} trained, {total - trained:,} frozen")


def _weights(task: Any, run: Any, num_updates: int) -> str:
    file = starting_checkpoint(task.cfg)
    if num_updates > 0:
        return f"continues after update {num_updates} from {file}"
    if file and os.path.isfile(file):
        return f"from {file}, at update 0"
    path = value_in(run, "model", "model_path")
    if path and not value_in(run, "model", "no_pretrained_weights"):
        return f"the encoder's from {path}"
    return "random"


def _schedule(run: Any, epochs: Any) -> str:
    optimization = run.optimization
    per_epoch = -(-len(epochs) // optimization.update_freq[0]) if epochs is not None else 0
    parts: List[str] = []
    if optimization.max_update > 0:
        parts.append(f"{optimization.max_update:,} updates")
        if per_epoch:
            parts[0] += f" = {optimization.max_update / per_epoch:.3g} epochs of {per_epoch:,}"
    if optimization.max_epoch > 0:
        parts.append(f"at most {optimization.max_epoch} epochs of {per_epoch:,} updates")
    if optimization.stop_time_hours > 0:
        parts.append(f"at most {optimization.stop_time_hours:g} h")
    return ", ".join(parts) or "until it is stopped"


def _learning_rate(run: Any) -> str:
    groups = value_in(run, "optimizer", "groups") or {}
    group = groups["default"] if "default" in groups else run
    of_group = group["lr_float"] if "lr_float" in group else None
    parts = [f"{run.optimization.lr[0] if of_group is None else of_group:g}"]
    warmup = value_in(group, "lr_scheduler", "warmup_updates")
    if warmup:
        parts.append(f"after {warmup:,} update(s) of warm-up")
    if value_in(group, "lr_scheduler", "_name") in COSINES:
        parts.append(f"then a cosine to {value_in(group, 'lr_scheduler', 'min_lr') or 0.0:g}")
    if value_in(group, "lr_scheduler", "_name") == EPOCH_DECAY:
        parts.append(epoch_decay_of(group["lr_scheduler"]).describe())
    decay = value_in(run, "model", "layer_decay")
    if decay not in (None, 0.0, 1.0):
        parts.append(f"times {decay:g} for each layer down")
    return ", ".join(parts)


def _computes(run: Any, model: torch.nn.Module) -> str:
    parameter = next(model.parameters())
    device = parameter.device
    where = f"{device} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else str(device)
    if device.type == "cpu":
        where += f", {torch.get_num_threads()} thread(s)"
    autocast = value_in(run, "model", "autocast")
    precision = str(parameter.dtype).removeprefix("torch.")
    if getattr(autocast, "name", autocast) == "bf16":
        precision += " weights, bf16 autocast"
    size = rank_and_size()[1]
    workers = run.dataset.num_workers
    each = " each" if size > 1 else ""
    return f"{precision} on {where}; {size} process(es), {workers} data-loader worker(s){each}"


def _saves(run: Any) -> str:
    checkpoint = run.checkpoint
    if checkpoint.no_save:
        return "nothing (checkpoint.no_save)"
    files = []
    if not checkpoint.no_last_checkpoints:
        interval = checkpoint.save_interval_updates
        at_intervals = f"every {interval:,} updates and " if interval > 0 else ""
        files.append(f"checkpoint_last.pt {at_intervals}at the end of each epoch")
    if not run.dataset.disable_validation:
        split = run.dataset.valid_subset.split(",")[0]
        files.append(f"checkpoint_best.pt by {checkpoint.best_checkpoint_metric} on {split}")
    return f"{checkpoint.save_dir}: {', '.join(files)}"


def _logs(run: Any) -> str:
    files = [h.baseFilename for h in logging.getLogger().handlers if isinstance(h, logging.FileHandler)]
    common = run.common
    parts = [f"{', '.join(files) or 'here'}, a line every {common.log_interval:,} update(s)"]
    trackers: Dict[str, str] = {"tensorboard_logdir": "TensorBoard", "wandb_project": "Weights & Biases"}
    parts += [f"{title}: {common[key]}" for key, title in trackers.items() if value_in(run, "common", key)]
    return "; ".join(parts)
