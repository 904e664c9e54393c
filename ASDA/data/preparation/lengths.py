"""How long the clips of a manifest are: a distribution that shards can add up."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

RESOLUTION_S = 0.01
_SHOWN = (("min", 0.0), ("25 %", 0.25), ("median", 0.5), ("75 %", 0.75), ("90 %", 0.9), ("max", 1.0))


@dataclass
class LengthDistribution:
    """Numbers of clips by length, in steps of 10 ms; memory grows with the number of lengths, not of clips."""

    counts: Counter = field(default_factory=Counter)

    def add(self, seconds: float) -> None:
        """Counts one clip."""
        self.counts[round(seconds / RESOLUTION_S)] += 1

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
