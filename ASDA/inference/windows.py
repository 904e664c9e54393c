"""Clips -> normalised windows -> batches: where lengths are cut, padded and masked."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby, islice

import torch
from torch import Tensor

from ..audio.fbank import FRAME_SHIFT_MS, num_frames
from ..audio.front_end import FrontEnd, fit_length, normalise
from ..audio.io import AudioError
from ..core.config import PatchConfig
from ..core.patches import PatchGrid, PatchRows, patch_grid, row_padding_mask
from ..data.containers import ClipReader
from ..data.excerpt import excerpt_s
from .clips import Clip

PADDINGS = ("constant", "own", "mask")

BLOCK_S = 300
"""Seconds that are decoded at a time of a clip that is longer than this, and is used window after window."""

LOOKAHEAD_BATCHES = 16
"""Batches' worth of windows that are sorted by length at a time."""

_BATCHES_TOGETHER = 4
_EDGE_S = 1
_FRAMES_PER_S = 100


@dataclass(frozen=True)
class Windowing:
    """How a clip becomes windows.

    Attributes:
        front_end: with `target_length_frames`, the length of a window.
        padding: of windows that are shorter than that: `constant` pads with zeros before normalisation; `own` runs them
            at their own length (rounded up to whole patches); `mask` pads a batch to its longest window with a padding
            mask. `own` and `mask` give the same features. None: the front end's, as in training.
        hop_frames: from one window of a long clip to the next; None: only the first window is used.
        patches: of the encoder, which hears whole ones only.
    """

    front_end: FrontEnd
    padding: str = None  # type: ignore[assignment] # never None once it is made
    hop_frames: int | None = None
    patches: PatchConfig = PatchConfig()

    def __post_init__(self) -> None:
        if self.padding is None:
            object.__setattr__(self, "padding", self.front_end.padding)
        if self.padding not in PADDINGS:
            raise ValueError(f'padding "{self.padding}" is not one of {", ".join(PADDINGS)}')
        length = self.front_end.target_length_frames
        if length is None or length < self.patches.size[0]:
            raise ValueError(
                f"target_length has to be at least one patch of {self.patches.size[0]} frames, got {length}"
            )
        if self.hop_frames is not None and not 1 <= self.hop_frames <= length:
            raise ValueError(f"the hop has to be between 1 frame and the window's {length}, got {self.hop_frames}")

    @property
    def window_frames(self) -> int:
        """Frames of a full window."""
        length = self.front_end.target_length_frames
        assert length is not None  # checked when this was made
        return length

    def starts(self, num_frames: int) -> list[int]:
        """First frames of the windows of a clip: as many hops as it takes to reach its end."""
        length = self.window_frames
        if self.hop_frames is None or num_frames <= length:
            return [0]
        return list(range(0, num_frames - length + self.hop_frames, self.hop_frames))

    def padded_length(self, num_frames: int) -> int:
        """Frames of a window with its padding, if ``num_frames`` of them hold sound."""
        if self.padding == "constant":
            return self.window_frames
        return PatchRows.of(self.window_frames, self.front_end.num_mel_bins, self.patches).padded_frames(num_frames)

    def grid(self, num_frames: int) -> PatchGrid:
        """Patch rows and columns of so many frames."""
        return patch_grid(num_frames, self.front_end.num_mel_bins, self.patches)

    @property
    def gapless_hop_frames(self) -> int:
        """The hop from the first row of a window to the row behind its last: each row of a clip is there once."""
        return self.grid(self.window_frames).rows * self.patches.stride[0]


@dataclass(frozen=True)
class LoadedClip:
    """A decoded clip.

    Attributes:
        index: its place in the run's list.
        clip: its name and path.
        num_frames: its own length in frames of 10 ms.
        duration_s: its own length in seconds, to the sample.
        frames: log-mel values (T, F), not normalised; all of them, or those of the one window that is used. None: they
            are decoded when the windows are cut, as the clip is too long to be held.
        windowing: how it is cut.
        reader: of a clip that is decoded later.
    """

    index: int
    clip: Clip
    num_frames: int
    duration_s: float
    frames: Tensor | None
    windowing: Windowing
    reader: ClipReader | None = None

    @property
    def num_bytes(self) -> int:
        """Memory that its frames take."""
        return 0 if self.frames is None else self.frames.untyped_storage().nbytes()

    @property
    def windows(self) -> list[Window]:
        """Its windows, in order of time."""
        return [Window(self, number, start) for number, start in enumerate(self.windowing.starts(self.num_frames))]

    @property
    def kept_rows(self) -> list[int]:
        """Patch rows of each window that features are kept of.

        Those that hold nothing but padding are kept only where constant padding fills up a single window, as EAT's
        programs do.
        """
        windows = self.windows
        keep_padding = self.windowing.padding == "constant" and len(windows) == 1
        return [window.num_rows if keep_padding else window.num_heard_rows for window in windows]

    def cut(self) -> Iterator[Window]:
        """Its windows, in order of time, each with its frames.

        Raises:
            AudioError: a part of the clip that is decoded only now cannot be used.
        """
        block, first = torch.empty(0, self.windowing.front_end.num_mel_bins), 0
        for window in self.windows:
            if self.frames is not None:
                yield replace(window, frames=self.frames[window.start : window.start + window.num_frames])
                continue
            while first + len(block) < window.start + window.num_frames:
                following = self._block(first + len(block))
                block, first = torch.cat([block[window.start - first :], following]), window.start
            yield replace(window, frames=block[window.start - first :][: window.num_frames])

    def _block(self, first: int) -> Tensor:
        """The frames from ``first`` on, which is a whole number of seconds, of a stretch of `BLOCK_S`."""
        assert self.reader is not None
        rate_hz = self.windowing.front_end.sample_rate_hz
        start_s = first // _FRAMES_PER_S
        before_s = min(start_s, _EDGE_S)  # so that the resampler's edges are not heard
        waveform = self.reader.load(self.clip.path, start_s - before_s, before_s + BLOCK_S + _EDGE_S)
        count = min(BLOCK_S * _FRAMES_PER_S, self.num_frames - first)
        frames = self.windowing.front_end.log_mel(waveform[before_s * rate_hz :], count)
        if len(frames) < count:
            raise AudioError(
                self.clip.path,
                f"its header promises {seconds(self.num_frames):.2f} s, decoding ends after "
                f"{seconds(first + len(frames)):.2f} s",
            )
        return frames


@dataclass(frozen=True)
class Window:
    """One window of a clip; `number` counts them, `start` is its first frame, `frames` are its own once it is cut."""

    clip: LoadedClip
    number: int
    start: int
    frames: Tensor | None = None

    @property
    def num_frames(self) -> int:
        """Frames that hold sound, rather than padding."""
        return min(self.clip.num_frames - self.start, self.clip.windowing.window_frames)

    @property
    def padded_length(self) -> int:
        """Frames with the padding."""
        return self.clip.windowing.padded_length(self.num_frames)

    @property
    def heard_frames(self) -> int:
        """Frames of sound in whole patches, which is what a model hears of them: the window's weight in a mean."""
        patches = self.clip.windowing.patches
        return min(self.num_frames, patches.size[0] + (self.num_rows - 1) * patches.stride[0])

    @property
    def num_rows(self) -> int:
        """Patch rows with the padding."""
        return self.clip.windowing.grid(self.padded_length).rows

    @property
    def num_heard_rows(self) -> int:
        """Patch rows that hold some sound."""
        return min(self.num_rows, -(-self.num_frames // self.clip.windowing.patches.stride[0]))

    @property
    def spectrogram(self) -> Tensor:
        """(T, F), padded and normalised; made when asked for, as long clips have many windows."""
        front_end = self.clip.windowing.front_end
        frames = self.frames
        if frames is None:
            assert self.clip.frames is not None
            frames = self.clip.frames[self.start : self.start + self.num_frames]
        return normalise(fit_length(frames, self.padded_length), front_end.norm_mean, front_end.norm_std)


@dataclass(frozen=True)
class BadClip:
    """A clip that could not be used, and why.

    Attributes:
        index: its place in the run's list.
        clip: its name and path.
        reason: in one line.
        not_finite: what the model made of it holds NaN or infinity, so that the model may be at fault.
    """

    index: int
    clip: Clip
    reason: str
    not_finite: bool = False

    @property
    def num_bytes(self) -> int:
        """Memory that its frames take: it has none."""
        return 0


def load_clip(index: int, clip: Clip, reader: ClipReader, windowing: Windowing) -> LoadedClip:
    """Decodes a clip: all of it, what its only window needs or, if it is long and has many, nothing yet.

    Raises:
        AudioError: the clip cannot be used.
    """
    front_end = windowing.front_end
    rate_hz, length = front_end.sample_rate_hz, windowing.window_frames
    with reader.open(clip.path) as audio:
        num_samples = math.ceil(audio.info.num_samples * rate_hz / audio.info.sample_rate_hz)  # as its header has it
        is_long = num_samples > BLOCK_S * rate_hz
        if not is_long:
            waveform = audio.load()
        elif windowing.hop_frames is None:  # the mean that is removed is then the excerpt's, not the recording's
            waveform = audio.load(duration_s=excerpt_s(length))
    if not is_long:
        num_samples = len(waveform)
    if is_long and windowing.hop_frames is not None:
        own_reader = ClipReader(rate_hz, reader.h5_sample_rate_hz)  # the windows are cut on another thread
        frames = None
    else:
        frames = front_end.log_mel(waveform, length if windowing.hop_frames is None else None)
    own_length = num_frames(num_samples, rate_hz)
    if own_length == 0:  # shorter than one analysis window: a frame of padding, which is all that training sees of it
        assert frames is not None
        own_length, frames = 1, fit_length(frames, 1)
    later = own_reader if frames is None else None
    return LoadedClip(index, clip, own_length, num_samples / rate_hz, frames, windowing, later)


def clips_together(batch_size: int, padding: str) -> int:
    """Clips that are worked on as one part: enough for full batches of windows of similar length."""
    return batch_size * (_BATCHES_TOGETHER if padding == "constant" else LOOKAHEAD_BATCHES)


def batches(
    windows: Iterable[Window],
    batch_size: int,
    padding: str,
    lookahead: int = LOOKAHEAD_BATCHES,
    together: int | None = None,
) -> Iterator[list[Window]]:
    """Groups windows into batches of similar length.

    Args:
        windows: in any order; with `together`, in that of their clips.
        batch_size: most windows in a batch.
        padding: with `own` all windows of a batch have one length.
        lookahead: batches' worth of windows that are sorted by length at a time; not needed with `constant`.
        together: clips whose numbers, divided by it, give different whole numbers share no batch; None: all may. What
            a network computes for a clip depends in its last bits on the batch, so whoever computes the same part of
            the clips gets the same.
    """
    of_part = groupby(windows, key=lambda window: 0 if together is None else window.clip.index // together)
    for _, pending in of_part:
        while group := list(islice(pending, batch_size * (1 if padding == "constant" else lookahead))):
            group.sort(key=lambda window: window.padded_length, reverse=True)
            runs = [group]
            if padding == "own":
                runs = [list(run) for _, run in groupby(group, key=lambda window: window.padded_length)]
            for run in runs:
                yield from (run[first : first + batch_size] for first in range(0, len(run), batch_size))


def collate(batch: list[Window], windowing: Windowing) -> tuple[Tensor, Tensor | None]:
    """Spectrograms (B, 1, T, F) of a batch and, if some are padded under a mask, the padding mask (B, N)."""
    lengths = [window.padded_length for window in batch]
    longest = max(lengths)
    source = torch.stack([fit_length(window.spectrogram, longest) for window in batch])[:, None]
    if min(lengths) == longest:
        return source, None
    grid = windowing.grid(longest)
    num_rows = torch.tensor([window.num_rows for window in batch])
    return source, row_padding_mask(num_rows, grid)


def seconds(frames: float) -> float:
    """Frames of 10 ms -> seconds."""
    return frames * FRAME_SHIFT_MS / 1000
