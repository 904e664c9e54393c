"""Whether the workers that decode are processes, where the user does not say."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

from ..data.manifest import Manifest
from ..data.preparation.parallel import one_per_core
from ..data.worker_processes import many_short_clips_s
from ._console import note


def processes_pay(path_of: Callable[[int], str], number: int, h5_sample_rate_hz: int, workers: int) -> bool:
    """Whether clips are many and short; then says so.

    Args:
        path_of: a clip by its number.
        number: of the clips.
        h5_sample_rate_hz: rate of HDF5 data that does not state its own.
        workers: how many would decode.
    """
    seconds = many_short_clips_s(path_of, number, h5_sample_rate_hz)
    if seconds is None:
        return False
    note(
        f"clips of about {seconds:.1f} s: {workers} processes decode, as threads would be slower "
        "(--no-worker_processes: threads)"
    )
    return True


def reads_in_processes(args: argparse.Namespace, manifest: Manifest, rows: Sequence[int]) -> bool:
    """--worker-processes of a program without a network; where it is not given, what pays."""
    if args.worker_processes is not None:
        return args.worker_processes
    workers = args.workers or one_per_core()
    return processes_pay(lambda number: manifest.path(rows[number]), len(rows), args.h5_sample_rate, workers)
