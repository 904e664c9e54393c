"""How much memory is there for a run? What the system has left, or the container, or the GPU."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

# In a process of its own: asking makes a context on the GPU, which would stay as long as the one that asked.
_ASK_GPU = "import torch; print(min(torch.cuda.mem_get_info(gpu)[0] for gpu in range({count})))"


def available_bytes(device: str, count: int) -> int | None:
    """Memory that a run can have; None where nobody says.

    Args:
        device: "cpu": for all processes together; "cuda": of the GPU that has the least.
        count: how many GPUs.
    """
    if device == "cuda":
        return _gpu_bytes(count)
    found = [number for number in (_system_bytes(), *_group_bytes()) if number is not None]
    return min(found, default=None)


def _gpu_bytes(count: int) -> int | None:
    asked = subprocess.run([sys.executable, "-c", _ASK_GPU.format(count=count)], capture_output=True, text=True)
    return int(asked.stdout) if asked.returncode == 0 and asked.stdout.strip().isdigit() else None


def _system_bytes(root: Path = Path("/")) -> int | None:
    """What programs can still have without swapping, on Linux; elsewhere all there is."""
    for line in _lines(root / "proc/meminfo"):
        name, _, value = line.partition(":")
        if name == "MemAvailable":
            return int(value.split()[0]) * 1024
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None


def _group_bytes(root: Path = Path("/")) -> Iterator[int]:
    """What the limits of this process's control groups leave, of version 1 and 2."""
    mounted = root / "sys/fs/cgroup"
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        if controllers not in ("", "memory") and "memory" not in controllers.split(","):
            continue
        top, names = (mounted / "memory", _VERSION_1) if controllers else (mounted, _VERSION_2)
        folder = top / path.strip("/")
        # Seen from inside a container the folder may not exist: its own group is then mounted at the top.
        for group in (folder, *folder.parents):
            if not group.is_relative_to(top):
                break
            left = _left(group, *names)
            if left is not None:
                yield left


_VERSION_1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_cache", "total_shmem")
_VERSION_2 = ("memory.max", "memory.current", "file", "shmem")


def _left(group: Path, limit: str, usage: str, cache: str, shared: str) -> int | None:
    """What a group's limit leaves, counting what the system keeps of files as free; None without a limit."""
    limits, used = _lines(group / limit), _lines(group / usage)
    if not limits or not limits[0].strip().isdigit() or not used:
        return None
    kept = dict(line.split(maxsplit=1) for line in _lines(group / "memory.stat"))
    of_files = int(kept.get(cache, 0)) - int(kept.get(shared, 0))
    return max(0, int(limits[0]) - max(0, int(used[0]) - max(0, of_files)))


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
