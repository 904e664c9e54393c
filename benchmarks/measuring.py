"""What every benchmark shares: clocks, peak memory, the machine's name and speed, aligned tables, reports."""

from __future__ import annotations

import argparse
import ctypes
import datetime
import gc
import math
import os
import platform
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import soundfile
import torch
import torchaudio

from ASDA import host_memory

MIB = 2**20


def best_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def clock_name(device: torch.device) -> str:
    return "GPU" if device.type == "cuda" else "processor time"


def now_s(device: torch.device) -> float:
    """Seconds for differences: after all work so far on a GPU, else the process's own processor time.

    Other people's programs stretch wall time without limit, processor time by some per cent (shared caches and memory).
    With one thread it is what the wall clock of an idle machine shows.
    """
    if device.type == "cuda":
        synchronise(device)
        return time.perf_counter()
    return time.process_time()


@dataclass
class Measurement:
    """Medians over the repetitions of a function, and the most memory that it takes beyond what was held before."""

    seconds: float
    wall_seconds: float
    peak_bytes: int


def take_turns(
    functions: dict[Hashable, Callable[[], object]],
    device: torch.device,
    repeats: int,
    prepare: Callable[[Hashable], None] = lambda name: None,
) -> dict[Hashable, Measurement]:
    """Runs the functions in turns, so that a change of the machine's load meets all of them alike.

    A function for which a GPU has too little memory has no times (NaN), and the others go on.

    Before each measured call a function runs once unmeasured: it then finds caches and allocator as it left them
    itself, as in a loop of its own, and not as the function before it did. (On a CPU, memory that has to be had from
    the system anew can cost a third of a training step.) Peak memory is measured in a turn of its own, from an empty
    allocator. ``prepare`` is called before each turn, with the function's name.
    """
    times: dict[Hashable, list[tuple[float, float]]] = {name: [] for name in functions}
    peaks = dict.fromkeys(functions, 0)
    too_large = set()

    def turn(name: Hashable, function: Callable[[], object]) -> None:
        function()
        wall, start = time.perf_counter(), now_s(device)
        function()
        spent = now_s(device) - start
        times[name].append((spent, time.perf_counter() - wall))

    def of_memory(name: Hashable, function: Callable[[], object]) -> None:
        start_peak(device)
        function()
        peaks[name] = peak_bytes(device)

    for take in (*[turn] * repeats, of_memory):
        for name, function in functions.items():
            if name not in too_large:
                try:
                    prepare(name)
                    take(name, function)
                except RuntimeError as error:  # of torch, or of a run that names what takes less
                    if "out of memory" not in str(error).lower():
                        raise
                    too_large.add(name)
            if name in too_large and device.type == "cuda":
                gc.collect()
                torch.cuda.empty_cache()
    return {
        name: Measurement(math.nan, math.nan, 0)
        if name in too_large
        else Measurement(statistics.median(t[0] for t in each), statistics.median(t[1] for t in each), peaks[name])
        for name, each in times.items()
    }


def keep_freed_memory(keep: bool) -> bool:
    """What the C library does with freed memory from now on: keeps it, as training on a CPU has it, or returns it.

    Returns:
        Whether it can be told.
    """
    if not host_memory.keep_freed_memory():
        return False
    if not keep:  # what glibc's own settings come to in a process that frees large tensors, see mallopt(3)
        for parameter, value in ((-4, 65536), (-3, 32 * MIB), (-1, 64 * MIB)):  # M_MMAP_MAX and the two thresholds
            ctypes.CDLL(None).mallopt(parameter, value)
    host_memory.return_freed_memory()
    return True


_held_bytes = 0


def start_peak(device: torch.device) -> None:
    """Peak memory counts from here, and above what is held here."""
    global _held_bytes
    gc.collect()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        _held_bytes = torch.cuda.memory_allocated(device)
    elif sys.platform == "linux":
        host_memory.return_freed_memory()
        Path("/proc/self/clear_refs").write_text("5")  # the high-water mark falls to what is resident now
        _held_bytes = _resident_bytes("VmRSS")


def peak_bytes(device: torch.device) -> int:
    """The most memory held since `start_peak`, above what was held then; 0 where the system does not tell."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) - _held_bytes
    return max(0, _resident_bytes("VmHWM") - _held_bytes) if sys.platform == "linux" else 0


def saved_bytes(forward: Callable[[], Any], own: Iterable[torch.Tensor]) -> int:
    """What a forward pass keeps for the backward one, each storage once; without ``own``, which are there anyway."""
    known = {tensor.untyped_storage().data_ptr() for tensor in own}
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            kept[storage.data_ptr()] = storage  # held, so that its address is not given to another
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        forward()
    return sum(storage.nbytes() for storage in kept.values())


def _resident_bytes(key: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no {key}")


def matmul_rate(device: torch.device, dtype: torch.dtype, repeats: int = 5) -> float:
    """FLOP/s of a large square matrix product, the median over the repetitions."""
    n = 8192 if device.type == "cuda" else 2048
    a, b = (torch.randn(n, n, device=device).to(dtype) for _ in range(2))
    seconds = take_turns({"matmul": lambda: a @ b}, device, repeats)["matmul"].seconds
    return 2 * n**3 / seconds


def device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpu_info = Path("/proc/cpuinfo")
    lines = cpu_info.read_text().splitlines() if cpu_info.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    flags = next((line.split(":", 1)[1].split() for line in lines if line.startswith("flags")), [])
    wide = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if flag in flags]
    return f"{models[0] if models else platform.machine()} ({os.cpu_count()} cores{''.join(f', {w}' for w in wide)})"


def environment(device: torch.device | None = None) -> str:
    """Date, machine, load and versions, in one line."""
    device = device or torch.device("cpu")
    threads = torch.get_num_threads()
    load = f", load average {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    cuda = f", CUDA {torch.version.cuda}" if device.type == "cuda" else ""
    return (
        f"{datetime.date.today()}, {device_name(device)}, {threads} thread{'s' if threads > 1 else ''}{load}; "
        f"{platform.system()}, Python {platform.python_version()}, torch {torch.__version__}{cuda}, "
        f"torchaudio {torchaudio.__version__}, soundfile {soundfile.__version__} ({soundfile.__libsndfile_version__})"
    )


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A markdown table with aligned columns; the first column to the left, numbers to the right."""
    widths = [max(len(str(row[i])) for row in (headings, *rows)) for i in range(len(headings))]

    def line(cells: Sequence[str]) -> str:
        padded = [
            str(c).ljust(w) if i == 0 else str(c).rjust(w) for i, (c, w) in enumerate(zip(cells, widths, strict=True))
        ]
        return f"| {' | '.join(padded)} |"

    rule = "|" + "|".join("-" * (w + 2) if i == 0 else "-" * (w + 1) + ":" for i, w in enumerate(widths)) + "|"
    return "\n".join([line(headings), rule, *(line(row) for row in rows)])


def add_arguments(parser: argparse.ArgumentParser, repeats: int) -> None:
    """What every benchmark of the network takes."""
    parser.add_argument("--device", type=torch.device, default=best_device(), help="default: a GPU if there is one")
    parser.add_argument("--threads", type=int, help="CPU threads; default: all")
    parser.add_argument("--repeats", type=int, default=repeats, help="measured turns of each variant")
    parser.add_argument("--output", type=Path, help="markdown file to write the report to as well")


def set_threads(threads: int | None) -> None:
    if threads is not None:
        torch.set_num_threads(threads)


def publish(module: str, argv: list[str] | None, text: str, output: Path | None) -> None:
    """Prints a report under the command that makes it, and writes it to a file if one is named."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if "--output" in arguments:  # where the table went is nobody's business
        place = arguments.index("--output")
        del arguments[place : place + 2]
    command = f"`python -m benchmarks.{module}{''.join(f' {shlex.quote(a)}' for a in arguments)}`"
    write_report([command, text.strip()], output)


def write_report(parts: Sequence[str], output: Path | None) -> None:
    """Prints a report, the command that makes it first, and writes it to a file if one is named."""
    report = "\n\n".join(parts) + "\n"
    print(report, end="")
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(report, encoding="utf-8")
