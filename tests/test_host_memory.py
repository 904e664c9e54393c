"""What a process does with freed memory, seen from outside: each case in a process of its own."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
VARIABLES = ("ASDA_KEEP_MEMORY", "GLIBC_TUNABLES", "ONEDNN_PRIMITIVE_CACHE_CAPACITY")

pytestmark = [pytest.mark.slow, pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")]

PROGRAM = """
import os, resource, sys
import torch
from ASDA import host_memory

MIB = 2**20

def use_64_mib():
    torch.empty(64 * MIB, dtype=torch.uint8).fill_(1)

def faults(turns):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(turns):
        use_64_mib()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def resident_mib():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() // MIB
"""


def run(program: str, **variables: str) -> list[str]:
    """What a fresh process prints."""
    inherited = {name: value for name, value in os.environ.items() if name[:7] != "MALLOC_" and name not in VARIABLES}
    process = subprocess.run(
        [sys.executable, "-c", PROGRAM + program],
        cwd=ROOT,
        env={**inherited, **variables},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert process.returncode == 0, process.stderr
    return process.stdout.split()


# A few turns pass until what small blocks pin of the heap is settled.
KEPT_BY = {
    "function": "kept = host_memory.keep_freed_memory()",
    "programs": "from ASDA.cli import _flags; kept = _flags.choose_device('cpu').type == 'cpu'",
}


@pytest.mark.parametrize("caller", KEPT_BY)
def test_kept_memory__is_used_again_without_asking_the_system(caller):
    kept, asked = run(f"{KEPT_BY[caller]}; faults(16); print(kept, faults(4))")
    assert kept == "True" and int(asked) <= 20


def test_kept_memory__is_otherwise_had_from_the_system_each_time():
    (asked,) = run("faults(16); print(faults(4))")
    assert int(asked) >= 100  # 65536 pages of 4 kB, or 128 huge ones


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ASDA_KEEP_MEMORY", "0"),
        ("MALLOC_TRIM_THRESHOLD_", "131072"),
        ("GLIBC_TUNABLES", "glibc.malloc.trim_threshold=131072"),
    ],
)
def test_kept_memory__the_users_settings_stand(name, value):
    kept, asked = run("print(host_memory.keep_freed_memory()); faults(16); print(faults(4))", **{name: value})
    assert kept == "False" and int(asked) >= 100


def test_kept_memory__other_c_libraries_are_left_alone(monkeypatch):
    from ASDA import host_memory

    for name in (*VARIABLES, *(name for name in os.environ if name.startswith("MALLOC_"))):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(host_memory.ctypes, "CDLL", lambda name: object())
    assert host_memory.keep_freed_memory() is False
    assert host_memory.return_freed_memory() is None


def test_returned_memory__is_no_longer_resident():
    before, after = run(
        "host_memory.keep_freed_memory(); use_64_mib(); print(resident_mib());"
        "host_memory.return_freed_memory(); print(resident_mib())"
    )
    assert int(before) - int(after) >= 60


def test_returned_memory__before_a_task_has_its_workers_forked():
    pytest.importorskip("fairseq", reason="the tasks are fairseq's")
    before, after = run(
        """
from fairseq.tasks import FairseqTask
from ASDA.fairseq_plugin.run.long_run import LongRunTask

FairseqTask.get_batch_iterator = lambda self, dataset, num_workers: print(resident_mib()) or sys.exit()
task = object.__new__(LongRunTask)
host_memory.keep_freed_memory()
use_64_mib()
print(resident_mib())
task.get_batch_iterator(None, num_workers=1)
"""
    )
    assert int(before) - int(after) >= 60


def test_compiled_kernels__are_bounded_by_the_programs_unless_the_user_says_otherwise():
    show = "print(os.environ['ONEDNN_PRIMITIVE_CACHE_CAPACITY'])"
    program = f"from ASDA.cli import _flags; _flags.choose_device('cpu'); {show}"
    assert run(program) == ["32"]
    assert run(program, ONEDNN_PRIMITIVE_CACHE_CAPACITY="7") == ["7"]


def test_compiled_kernels__patches_of_clips_of_many_lengths_need_none():
    """As a convolution the embedding would be compiled for each length, and all of these are kept."""
    (grown,) = run(
        """
from ASDA.core.config import PatchConfig
from ASDA.core.patches import PatchEmbed

embed, x = PatchEmbed(768, PatchConfig()), torch.randn(8, 1, 1024, 128)
with torch.inference_mode():
    embed(x)
    before = resident_mib()
    for frames in range(16, 1024, 16):
        embed(x[:, :, :frames])
print(resident_mib() - before)
"""
    )
    assert int(grown) < 100


@pytest.mark.long
def test_compiled_kernels__of_many_shapes_stay_few():
    """In bf16 each new shape of a linear map is compiled, and takes 6 MB at this width."""
    grown, bounded = (
        int(
            run(
                f"""
{setting}
weight, x = torch.randn(3072, 768), torch.randn(1024, 768)

def linear(rows):
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        torch.nn.functional.linear(x[:rows], weight)

linear(1024)
host_memory.return_freed_memory()
before = resident_mib()
for rows in range(8, 1024, 8):
    linear(rows)
host_memory.return_freed_memory()
print(resident_mib() - before)
"""
            )[0]
        )
        for setting in ("", "host_memory.bound_compiled_kernels()")
    )
    assert bounded < max(grown / 2, 50)
