"""How many updates a pass over the clips takes: what `task.epochs` means, for the launch and for the run."""

from __future__ import annotations

import math


def updates_per_epoch(clips: int, clips_per_step: int, processes: int, update_freq: int) -> int:
    """The updates of an epoch; the last one may have fewer clips.

    Args:
        clips: of an epoch.
        clips_per_step: of a process in a step (`dataset.batch_size`).
        processes: on all machines.
        update_freq: steps per update.
    """
    return math.ceil(math.ceil(clips / (clips_per_step * processes)) / update_freq)
