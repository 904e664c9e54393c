"""How the programs' threads share the cores. To be imported before torch, whose OpenMP looks at this once, as it loads.

Between two operations of the network its threads would spin in wait for the next one, and take the cores from the
threads that decode and write meanwhile. Waiting passively costs next to nothing where nobody else wants the cores.
What the user has set in the environment stays.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

_MOST_DECODERS = 4
_CORES_PER_DECODER = 8
"""Decoding is a few percent of a base network's work on a CPU; a GPU takes more than one thread decodes."""


def available_cores() -> int:
    """Cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def named_threads() -> int | None:
    """The number of the network's threads that the user has set in the environment."""
    named = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return int(named) if named.isdecimal() and int(named) else None


def decoding_threads(on_cpu: bool, cores: int | None = None) -> int:
    """Threads that decode where the user names no number, each on one core.

    Args:
        on_cpu: the network runs there too.
        cores: that there are; None: those of this process.
    """
    cores = cores or available_cores()
    return max(1, min(_MOST_DECODERS, cores // _CORES_PER_DECODER if on_cpu else cores))


def compute_threads(decoders: int) -> int | None:
    """Threads of a network on a CPU, which with those that decode are no more than the cores.

    None: as many as torch takes. The user has set them, or the cores are so few that giving one up would cost the
    network more than to share it does.
    """
    cores = available_cores()
    if "OMP_NUM_THREADS" in os.environ or cores < _CORES_PER_DECODER:
        return None
    return max(cores - decoders, cores // 2)
