"""Runs a model over many clips: loads ahead, batches by length, hands each clip's result out once it is complete."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from typing import Generic, Protocol, TypeVar

import torch
from torch import Tensor

from ..audio.io import AudioError
from .clips import Clip
from .half_precision import half_precision
from .loading import load_clips
from .windows import BadClip, LoadedClip, Window, Windowing, batches, collate, seconds


class Result(Protocol):
    """What is kept of a model's outputs for a clip, window by window; made for the clip."""

    clip: LoadedClip

    def add(self, window: Window, output: Tensor) -> None:
        """Takes a window's output, on the CPU, which is the caller's to reuse."""


class ClipResult:
    """All that a model made of a clip.

    Attributes:
        clip: the clip.
        outputs: of each window, on the CPU.
    """

    def __init__(self, clip: LoadedClip):
        self.clip = clip
        self.outputs: list[Tensor] = [torch.empty(0)] * len(clip.windows)

    def add(self, window: Window, output: Tensor) -> None:
        """Takes a window's output."""
        # A copy, as a view would keep the whole batch's output alive.
        self.outputs[window.number] = output.clone()


R = TypeVar("R", bound=Result)


class _Waiting(Generic[R]):
    """The clips that are under way, and those that turned out to be bad."""

    def __init__(self, make: Callable[[LoadedClip], R]):
        self._make = make
        self._results: dict[int, R] = {}
        self._missing: dict[int, int] = {}  # windows of each
        self.bad: list[BadClip] = []

    def windows(self, loaded: Iterable[LoadedClip | BadClip]) -> Iterator[Window]:
        for clip in loaded:
            if isinstance(clip, BadClip):
                self.bad.append(clip)
                continue
            self._results[clip.index] = self._make(clip)
            self._missing[clip.index] = len(clip.windows)
            try:
                yield from clip.cut()
            except AudioError as error:
                self._give_up(BadClip(clip.index, clip.clip, error.reason))

    def add(self, window: Window, output: Tensor) -> R | None:
        """Takes the output of a window; gives the clip's result if it was the last."""
        clip = window.clip
        if clip.index not in self._results:  # given up meanwhile
            return None
        if not torch.isfinite(output).all():
            place = f" from {seconds(window.start):g} s on" if len(clip.windows) > 1 else ""
            reason = f"the model's output{place} holds NaN or infinity; are its weights, norm_mean and norm_std right?"
            self._give_up(BadClip(clip.index, clip.clip, reason, not_finite=True))
            return None
        self._results[clip.index].add(window, output)
        self._missing[clip.index] -= 1
        return None if self._missing[clip.index] else self._results.pop(clip.index)

    def _give_up(self, bad: BadClip) -> None:
        self._results.pop(bad.index, None)
        self.bad.append(bad)


def run_clips(
    model: Callable[[Tensor, Tensor | None], Tensor],
    numbered: Iterable[tuple[int, Clip]],
    windowing: Windowing,
    *,
    device: torch.device,
    batch_size: int = 8,
    half: bool = False,
    num_workers: int = 2,
    processes: bool = False,
    h5_sample_rate_hz: int = 32_000,
    together: int | None = None,
    make: Callable[[LoadedClip], R] = ClipResult,  # type: ignore[assignment]
) -> Iterator[R | BadClip]:
    """Yields a result or a BadClip for every clip, not necessarily in the order given.

    A clip of which the model makes something that is not finite is a BadClip: so would be whatever is computed from it.

    Args:
        model: spectrograms (B, 1, T, F) and padding mask (B, N) or None -> (B, ...), one output per window.
        numbered: clips with their numbers.
        windowing: how they are cut and padded.
        device: where the model is.
        batch_size: most windows in a batch.
        half: compute in half precision (float16 on a GPU, bfloat16 on the CPU).
        num_workers: threads that decode.
        processes: they are processes instead, see :func:`.loading.load_clips`.
        h5_sample_rate_hz: rate of HDF5 data that does not state its own.
        together: which clips may share a batch, see :func:`.windows.batches`; their numbers then have to ascend.
        make: what takes the outputs of a clip's windows.
    """
    waiting = _Waiting(make)
    loaded = load_clips(
        numbered, windowing, num_workers=num_workers, processes=processes, h5_sample_rate_hz=h5_sample_rate_hz
    )
    precision = half_precision(device)
    for batch in batches(waiting.windows(loaded), batch_size, windowing.padding, together=together):
        source, padding_mask = collate(batch, windowing)
        with torch.inference_mode(), torch.autocast(device.type, precision) if half else nullcontext():
            outputs = model(source.to(device), None if padding_mask is None else padding_mask.to(device))
        for window, output in zip(batch, outputs.float().cpu(), strict=True):
            result = waiting.add(window, output)
            if result is not None:
                yield result
        yield from waiting.bad
        waiting.bad.clear()
    yield from waiting.bad
