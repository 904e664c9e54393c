"""How far a run is, in one line."""

import time
from collections import deque
from typing import Callable, Deque, Optional, Tuple

_REMEMBERED_UPDATES = 50


class ProgressLine:
    """Follows a run and says where it is.

    Args:
        clock: seconds that only go forward.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self._began = clock()
        self._total = 0
        self._clips_per_update: Optional[int] = None
        self._marks: Deque[Tuple[float, int]] = deque(maxlen=_REMEMBERED_UPDATES)  # (time, updates done)
        self._loss = float("nan")
        self._split, self._batch, self._batches = "", 0, 0  # of the validation that is going on

    def begin(self, num_updates: int, total: int, clips_per_update: Optional[int]) -> None:
        """Updates begin, after ``num_updates`` that were done before; ``total``: of the run, 0: unknown."""
        self._total, self._clips_per_update = total, clips_per_update
        self._marks.append((self._clock(), num_updates))
        self._split = ""

    def update(self, num_updates: int, loss: float) -> None:
        """The run has done ``num_updates``."""
        self._marks.append((self._clock(), num_updates))
        self._loss, self._split = loss, ""

    def reads(self, split: str, batches: int) -> None:
        """A pass over a split begins."""
        self._split, self._batch, self._batches = split, 0, batches

    def validated_batch(self) -> None:
        """One more batch of it."""
        self._batch += 1

    def __str__(self) -> str:
        if not self._marks:
            reading = f", reads {self._split}" if self._split else ""
            return f"getting ready for {duration(self._clock() - self._began)}{reading}"
        if self._split:
            return f"update {self._done}: validates on {self._split}, batch {self._batch} of {self._batches}"
        (start, first), (_, last) = self._marks[0], self._marks[-1]
        now = self._clock()
        if last == first:
            return f"update {last + 1} has taken {duration(now - start)} so far"
        parts = [f"update {self._done}, loss {self._loss:.4g}"]
        rate = (last - first) / (now - start)
        if self._clips_per_update:
            parts.append(f"{self._clips_per_update * rate:.3g} clips/s")
        if self._total:
            parts.append(f"{duration((self._total - last) / rate)} left")
        return ", ".join(parts)

    @property
    def _done(self) -> str:
        done = self._marks[-1][1]
        return f"{done} of {self._total}" if self._total else str(done)


def duration(seconds: float) -> str:
    """`3 d 4 h`, `2 h 5 min`, `1 min 20 s`, `12 s`."""
    seconds = round(seconds)
    parts = [(seconds // 86400, "d"), (seconds // 3600 % 24, "h"), (seconds // 60 % 60, "min"), (seconds % 60, "s")]
    first = next((i for i, (number, _) in enumerate(parts) if number >= 1), len(parts) - 1)
    shown = [f"{number} {unit}" for number, unit in parts[first : first + 2] if number >= 1]
    return " ".join(shown) or "0 s"
