"""How long the clips of a manifest are: a distribution that shards can add up, and the window that fits it."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field

from ...audio.fbank import FRAME_SHIFT_MS, num_frames
from .window import WindowFit

RESOLUTION_S = 0.01
PATCH_FRAMES = 16
"""Frames of a patch, unless another architecture is meant."""
COVERAGE = 0.9
"""Share of the clips that a suggested window holds whole."""
_ROUNDING = 1e-6  # of seconds / RESOLUTION_S, with room
_SHOWN = (("min", 0.0), ("25 %", 0.25), ("median", 0.5), ("75 %", 0.75), ("90 %", 0.9), ("max", 1.0))


@dataclass
class LengthDistribution:
    """Numbers of clips by length, in steps of 10 ms; memory grows with the number of lengths, not of clips."""

    counts: Counter = field(default_factory=Counter)

    def add(self, seconds: float) -> None:
        """Counts one clip; half-way between two steps it counts as the longer, so that its frames come out right."""
        self.counts[math.floor(seconds / RESOLUTION_S + 0.5 + _ROUNDING)] += 1

    def merge(self, other: LengthDistribution) -> LengthDistribution:
        """That of both together."""
        return LengthDistribution(self.counts + other.counts)

    def __len__(self) -> int:
        return sum(self.counts.values())

    def quantile_s(self, share: float) -> float:
        """The length that this share of the clips does not exceed; of none the shortest."""
        needed = max(1.0, share * len(self))
        seen = 0
        for length in sorted(self.counts):
            seen += self.counts[length]
            if seen >= needed:
                return length * RESOLUTION_S
        raise ValueError("there is no clip")

    def frames(self) -> list[tuple[int, int]]:
        """(frames, number of clips), by length; a clip below one analysis window has none.

        In steps of 10 ms a length says its number of frames exactly: one more step is one more frame.
        """
        return [(_frames(length), count) for length, count in sorted(self.counts.items())]

    def fit(self, target_length_frames: int) -> WindowFit:
        """What a window of so many frames does to the clips.

        Raises:
            ValueError: there is no clip.
        """
        if not self.counts:
            raise ValueError("there is no clip")
        padding = sum(max(0, target_length_frames - frames) * count for frames, count in self.frames())
        lost = sum(max(0, frames - target_length_frames) * count for frames, count in self.frames())
        num_cut = sum(count for frames, count in self.frames() if frames > target_length_frames)
        sound = sum(frames * count for frames, count in self.frames())
        return WindowFit(
            target_length_frames,
            num_clips=len(self),
            share_padding=padding / (target_length_frames * len(self)),
            share_cut=num_cut / len(self),
            lost_s=lost * FRAME_SHIFT_MS / 1000,
            share_lost=lost / sound if sound else 0.0,
        )

    def window(
        self, patch_frames: int = PATCH_FRAMES, coverage: float = COVERAGE, max_frames: int | None = None
    ) -> WindowFit:
        """The shortest window of whole patches that holds a share of the clips whole.

        Args:
            patch_frames: frames of a patch; the window is a multiple of it, and at least one.
            coverage: that share, above 0 and at most 1.
            max_frames: no longer than this, whatever is cut; None: as long as the clips want it.

        Raises:
            ValueError: there is no clip, or no window of whole patches within ``max_frames``.
        """
        if patch_frames < 1 or not 0.0 < coverage <= 1.0 or (max_frames is not None and max_frames < patch_frames):
            raise ValueError(
                f"expected patch_frames >= 1, 0 < coverage <= 1 and max_frames >= patch_frames, got {patch_frames}, "
                f"{coverage:g} and {max_frames}"
            )
        longest = _frames(round(self.quantile_s(coverage) / RESOLUTION_S))
        patches = max(1, math.ceil(longest / patch_frames))
        if max_frames is not None:
            patches = min(patches, max_frames // patch_frames)
        return self.fit(patches * patch_frames)

    def summary(self) -> str:
        """One line; empty without clips."""
        if not self.counts:
            return ""
        return "length: " + ", ".join(f"{name} {self.quantile_s(share):.2f} s" for name, share in _SHOWN)

    def to_dict(self) -> dict[str, int]:
        """For json: numbers of clips by length in steps of 10 ms."""
        return {str(length): count for length, count in sorted(self.counts.items())}

    @classmethod
    def from_dict(cls, values: dict[str, int]) -> LengthDistribution:
        """Inverse of `to_dict`.

        Raises:
            ValueError: a length or number that is no whole number of at least 0.
        """
        counts = Counter({int(length): int(count) for length, count in values.items()})
        if any(length < 0 or count < 1 for length, count in counts.items()):
            raise ValueError("lengths and numbers of clips cannot be negative")
        return cls(counts)


def _frames(length: int) -> int:
    rate_hz = 16_000  # one at which windows and shifts are whole samples
    return num_frames(round(length * RESOLUTION_S * rate_hz), rate_hz)
