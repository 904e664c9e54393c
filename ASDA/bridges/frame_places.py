"""Where evenly spaced frames lie in a clip, and which row of patches each of them is."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..audio.fbank import FRAME_SHIFT_MS, num_frames
from ..inference.clips import Clip
from ..inference.windows import LoadedClip, Windowing


@dataclass(frozen=True)
class FramePlaces:
    """Frames of features, `hop` spectrogram frames apart.

    A row of patches is heard once for each place that its beginning takes between two rows: the clip is put behind so
    many leading frames of padding. Frames are whole hops from the first row of the clip as it is, before it too as
    long as their middle is in the clip.

    Attributes:
        windowing: how clips are cut, with the patches of the encoder.
        hop: in spectrogram frames of 10 ms.
    """

    windowing: Windowing
    hop: int

    @classmethod
    def every(cls, windowing: Windowing, hop_ms: float | None) -> FramePlaces:
        """Frames so far apart; None: as rows of patches are.

        Raises:
            ValueError: the spectrogram has no frames so far apart.
        """
        if hop_ms is None:
            return cls(windowing, windowing.patches.stride[0])
        hop = hop_ms / FRAME_SHIFT_MS
        if not (math.isfinite(hop) and hop >= 1 and hop == int(hop)):
            raise ValueError(
                f"hop_ms={hop_ms}: expected a multiple of {FRAME_SHIFT_MS:g} ms, the shift of the spectrogram"
            )
        return cls(windowing, int(hop))

    @classmethod
    def at_most(cls, windowing: Windowing, hop_ms: float) -> FramePlaces:
        """The longest hop up to this one that divides the distance of rows evenly: rows take the fewest places."""
        stride = windowing.patches.stride[0]
        most = max(1, int(hop_ms / FRAME_SHIFT_MS))
        return cls(windowing, max(hop for hop in range(1, most + 1) if stride % hop == 0))

    @property
    def hop_ms(self) -> float:
        """From frame to frame."""
        return self.hop * FRAME_SHIFT_MS

    def centres_ms(self, count: int) -> Tensor:
        """Middles of the first frames, (count,) float64, from the clip's beginning on."""
        return self._first_centre_ms + self.hop_ms * torch.arange(count, dtype=torch.float64)

    def row_of(self, number: int) -> tuple[int, int]:
        """Leading frames with which there is a row of patches for this frame, and the row."""
        stride = self.windowing.patches.stride[0]
        begin = self.hop * (number - self._num_before)  # may be before the clip's
        lead = -begin % stride
        return lead, (begin + lead) // stride

    def count(self, num_samples: int, sample_rate_hz: int) -> int:
        """Frames of a clip: those whose middle is not behind its end, one at least.

        Overlapping rows of patches end with the one that holds the last sound, and frames with them.
        """
        own_hz = self.windowing.front_end.sample_rate_hz
        length = max(1, num_frames(-(-num_samples * own_hz // sample_rate_hz), own_hz))
        duration_ms = 1000 * num_samples / sample_rate_hz
        inside = 1 + math.floor((duration_ms - self._first_centre_ms) / self.hop_ms + 1e-9)
        rows: dict[int, int] = {}  # that are heard of it, by leading frames
        for number in range(1, inside):
            lead, row = self.row_of(number)
            if lead not in rows:
                clip = LoadedClip(0, Clip("", ""), lead + length, 0.0, None, self.windowing)
                rows[lead] = sum(window.num_heard_rows for window in clip.windows)
            if row >= rows[lead]:
                return number
        return max(1, inside)

    @property
    def _first_centre_ms(self) -> float:
        return self.windowing.patches.size[0] * FRAME_SHIFT_MS / 2 - self.hop_ms * self._num_before

    @property
    def _num_before(self) -> int:
        """Frames before the clip's first row, whose middle is at half a row."""
        patches = self.windowing.patches
        return min(patches.size[0] // (2 * self.hop), (patches.stride[0] - 1) // self.hop)
