"""Runs a model over many clips: loads ahead, batches by length, hands each clip's result out once it is complete."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field

import torch
from torch import Tensor

from .clips import Clip
from .windows import BadClip, LoadedClip, Window, Windowing, batches, collate, load_clips, seconds


@dataclass
class ClipResult:
    """What a model made of a clip.

    Attributes:
        clip: the clip.
        outputs: of each window, on the CPU.
    """

    clip: LoadedClip
    outputs: list[Tensor | None] = field(default_factory=list)


def run_clips(
    model: Callable[[Tensor, Tensor | None], Tensor],
    numbered: Iterable[tuple[int, Clip]],
    windowing: Windowing,
    *,
    device: torch.device,
    batch_size: int = 8,
    half: bool = False,
    num_threads: int = 2,
    h5_sample_rate_hz: int = 32_000,
) -> Iterator[ClipResult | BadClip]:
    """Yields a result or a BadClip for every clip, not necessarily in the order given.

    A clip of which the model makes something that is not finite is a BadClip: so would be whatever is computed from it.

    Args:
        model: spectrograms (B, 1, T, F) and padding mask (B, N) or None -> (B, ...), one output per window.
        numbered: clips with their numbers.
        windowing: how they are cut and padded.
        device: where the model is.
        batch_size: most windows in a batch.
        half: compute in half precision (float16 on a GPU, bfloat16 on the CPU).
        num_threads: threads that decode.
        h5_sample_rate_hz: rate of HDF5 data that does not state its own.
    """
    waiting: dict[int, ClipResult] = {}
    bad: list[BadClip] = []

    def windows() -> Iterator[Window]:
        loaded = load_clips(numbered, windowing, num_threads=num_threads, h5_sample_rate_hz=h5_sample_rate_hz)
        for clip in loaded:
            if isinstance(clip, BadClip):
                bad.append(clip)
                continue
            found = clip.windows
            waiting[clip.index] = ClipResult(clip, [None] * len(found))
            yield from found

    precision = torch.float16 if device.type == "cuda" else torch.bfloat16
    for batch in batches(windows(), batch_size, windowing.padding):
        source, padding_mask = collate(batch, windowing)
        with torch.inference_mode(), torch.autocast(device.type, precision) if half else nullcontext():
            outputs = model(source.to(device), None if padding_mask is None else padding_mask.to(device))
        outputs = outputs.float().cpu()
        for window, output in zip(batch, outputs, strict=True):
            result = waiting[window.clip.index]
            # A copy, as a view would keep the whole batch's output alive.
            result.outputs[window.number] = output.clone()
            if all(o is not None for o in result.outputs):
                yield _if_finite(waiting.pop(window.clip.index))
        yield from bad
        bad.clear()
    yield from bad


def _if_finite(result: ClipResult) -> ClipResult | BadClip:
    for window, output in zip(result.clip.windows, result.outputs, strict=True):
        if not torch.isfinite(output).all():
            place = f" from {seconds(window.start):g} s on" if len(result.outputs) > 1 else ""
            reason = f"the model's output{place} holds NaN or infinity; are its weights, norm_mean and norm_std right?"
            return BadClip(result.clip.index, result.clip.clip, reason, not_finite=True)
    return result
