"""What a process that computes on a CPU does with memory it no longer needs. No result depends on it.

glibc gives the memory of a large tensor back to the system once it is freed, and has the next one's made anew, page by
page: up to a third of the time of a training step (benchmarks/results/cpu/step.md). Where the C library has no such
settings (macOS, musl) nothing here does anything.
"""

from __future__ import annotations

import ctypes
import os

# mallopt(3): names of malloc.h, and the variables that set the same
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
_VARIABLES = ("MALLOC_MMAP_MAX_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_")

_COMPILED_KERNELS = 32


def keep_freed_memory() -> bool:
    """Lets this process, and those it forks, keep what they free, for what they allocate next.

    Returns:
        Whether it does so: not where ``ASDA_KEEP_MEMORY=0`` is set, or one of glibc's own variables of malloc, nor with
        another C library.
    """
    tuned = any(name in os.environ for name in _VARIABLES) or "glibc.malloc." in os.environ.get("GLIBC_TUNABLES", "")
    mallopt = _function("mallopt")
    if os.environ.get("ASDA_KEEP_MEMORY") == "0" or tuned or mallopt is None:
        return False
    # Large blocks come from the heap like all others, and its end is never cut off.
    return bool(mallopt(_M_MMAP_MAX, 0)) and bool(mallopt(_M_TRIM_THRESHOLD, -1))


def return_freed_memory() -> None:
    """Gives what is free now back to the system. To be called before a fork.

    The child would hold on to the pages of free memory that it shares, and this process would get copies of them as it
    writes there: the same memory twice.
    """
    malloc_trim = _function("malloc_trim")
    if malloc_trim is not None:
        malloc_trim(0)


def bound_compiled_kernels() -> None:
    """Bounds how many kernels oneDNN keeps, which it compiles for each shape of its input; it keeps 1024 otherwise.

    With clips of all lengths these are gigabytes in bf16. Has to be called before the first of them; the variable
    ``ONEDNN_PRIMITIVE_CACHE_CAPACITY``, where it is set, stays as it is.
    """
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", str(_COMPILED_KERNELS))


def _function(name: str):
    try:
        return getattr(ctypes.CDLL(None), name, None)
    except (OSError, TypeError):  # no C library of the process, as on Windows
        return None
