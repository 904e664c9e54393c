"""What data-loading processes deliver from each kind of file: batches with masks, as a run's loader makes them."""

from __future__ import annotations

import math
import resource
import statistics
import time
from dataclasses import dataclass

import torch
from torch.utils.data import DataLoader

from ASDA.audio.front_end import FrontEnd
from ASDA.core.places import Places
from ASDA.data.dataset import SpectrogramDataset
from ASDA.data.manifest import Manifest
from ASDA.masks.inverse_block import InverseBlockMask
from benchmarks import measuring

GPU_CLIPS_PER_S = (130, 300)
"""What a card takes in pre-training, by the arithmetic of a step; no card has confirmed it."""


@dataclass(frozen=True)
class Delivery:
    """Of some workers: clips per second on the wall, and milliseconds of processor time per clip, all of them."""

    clips_per_s: float
    ms_per_clip: float


def deliver(manifest: Manifest, workers: int, batch_size: int, num_masks: int, repeats: int) -> Delivery:
    """Epochs through a loader with so many workers, the median.

    The clock starts with the first batch, so that starting the workers does not count.
    """
    sampler = InverseBlockMask(grid=(64, 8), num_masks=num_masks)
    dataset = SpectrogramDataset(manifest, FrontEnd(), mask_sampler=sampler, mask_places=_places)
    found = []
    for epoch in range(1, repeats + 1):
        dataset.set_epoch(epoch)
        order = dataset.ordered_indices().tolist()
        batches = [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
        used = _children_s()
        loader = DataLoader(dataset, batch_sampler=batches, num_workers=workers, collate_fn=dataset.collater)
        received = iter(loader)
        first = len(next(received)["id"])
        start, clips = time.perf_counter(), -first * (workers - 1)  # the other workers have their first batch by now
        for batch in received:
            clips += len(batch["id"])
        seconds = time.perf_counter() - start
        del received, loader
        found.append((max(clips, 1) / seconds, 1000 * (_children_s() - used) / len(order)))
    return Delivery(*(statistics.median(values) for values in zip(*found, strict=True)))


def _places(masks: torch.Tensor, num_clips: int, padding: torch.Tensor | None) -> dict[str, torch.Tensor]:
    return Places.of(masks, num_clips, padding).to_dict()


def _children_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def workers_needed(ms_per_clip: float, clips_per_s: float) -> int:
    """Cores that are busy with nothing else."""
    return math.ceil(clips_per_s * ms_per_clip / 1000)


def delivery_row(name: str, found: dict[int, Delivery]) -> tuple[str, ...]:
    """A table row: what each number of workers delivers, what a clip costs, workers for a GPU."""
    ms = found[min(found)].ms_per_clip
    needed = (str(workers_needed(ms, rate)) for rate in GPU_CLIPS_PER_S)
    return (name, *(f"{each.clips_per_s:.0f}" for each in found.values()), f"{ms:.1f}", *needed)


def delivery_table(rows: list[tuple[str, ...]], workers: list[int]) -> str:
    """All rows under their headings."""
    each = [f"clips/s, {number} worker{'s' * (number > 1)}" for number in workers]
    needed = [f"workers for {rate} clips/s" for rate in GPU_CLIPS_PER_S]
    return measuring.table(["clips", *each, "ms per clip", *needed], rows)
