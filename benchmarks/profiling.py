"""What a repeated piece of work consists of: its operations by time, and for how long nothing of it computes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from benchmarks import measuring


@dataclass(frozen=True)
class Profile:
    """Of some repetitions.

    Attributes:
        operations: (name, milliseconds each time, calls each time), the longest first: kernels of a GPU, operations of
            a CPU without what they call.
        wall_ms: of each repetition, with what the profiler takes.
        idle: share of it in which no kernel of the GPU, or no operation on the CPU, runs.
    """

    operations: list[tuple[str, float, float]]
    wall_ms: float
    idle: float

    def table(self, most: int = 15) -> str:
        """The longest operations, and the rest."""
        total = sum(ms for _, ms, _ in self.operations)
        shown, others = self.operations[:most], self.operations[most:]
        if others:
            shown = [*shown, (f"{len(others)} others", sum(o[1] for o in others), sum(o[2] for o in others))]
        rows = [(_short(name), f"{ms:.2f}", f"{ms / total:.1%}", f"{calls:.0f}") for name, ms, calls in shown]
        return measuring.table(("operation", "ms", "share", "calls"), rows)

    def sentence(self, device: torch.device) -> str:
        """How long each repetition takes, and for how long nothing computes."""
        what = "no kernel runs on the GPU" if device.type == "cuda" else "no operation runs (Python, between them)"
        calls = sum(calls for _, _, calls in self.operations)
        return (
            f"{self.wall_ms:.1f} ms on the wall with the profiler, {calls:.0f} calls; for {self.idle:.1%} of it {what}."
        )


def profiled(work: Callable[[], object], device: torch.device, repeats: int = 3) -> Profile:
    """Profiles a piece of work that has been done before."""
    on_gpu = device.type == "cuda"
    kind = DeviceType.CUDA if on_gpu else DeviceType.CPU
    measuring.synchronise(device)
    with profile(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]) as found:
        start = time.perf_counter()
        for _ in range(repeats):
            work()
        measuring.synchronise(device)
        wall_us = 1e6 * (time.perf_counter() - start)
    # Ranges that somebody has named (an update, a part of it) are no operations.
    events = [e for e in found.events() if e.device_type == kind and not e.is_user_annotation]
    times: dict[str, float] = {}
    calls: dict[str, int] = {}
    for event in events:
        spent = event.time_range.elapsed_us() if on_gpu else event.self_cpu_time_total  # kernels call none
        times[event.name] = times.get(event.name, 0.0) + spent
        calls[event.name] = calls.get(event.name, 0) + 1
    operations = [(name, us / 1000 / repeats, calls[name] / repeats) for name, us in times.items()]
    busy_us = covered((event.time_range.start, event.time_range.end) for event in events)
    operations.sort(key=lambda operation: -operation[1])
    return Profile(operations, wall_us / 1000 / repeats, max(0.0, 1 - busy_us / wall_us))


def covered(ranges: Iterable[tuple[float, float]]) -> float:
    """The length of what some ranges cover together."""
    total, end = 0.0, float("-inf")
    for start, stop in sorted(ranges):
        total += max(0.0, stop - max(start, end))
        end = max(end, stop)
    return total


def _short(name: str, most: int = 100) -> str:
    name = name.replace("|", "/")
    return name if len(name) <= most else f"{name[: most - 3]}..."
