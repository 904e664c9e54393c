"""Memory that is there: of the system, of control groups of both versions, of GPUs."""

import subprocess
from pathlib import Path

import pytest

from ASDA.launch import available
from ASDA.launch.available import _group_bytes, _system_bytes, available_bytes

GIB = 2**30


def write(root: Path, **files: str) -> None:
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def group(folder: Path, limit: str, usage: int, cache: int = 0, shared: int = 0, version: int = 2) -> None:
    names = ("memory.max", "memory.current", "file", "shmem")
    if version == 1:
        names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_cache", "total_shmem")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / names[0]).write_text(f"{limit}\n")
    (folder / names[1]).write_text(f"{usage}\n")
    (folder / "memory.stat").write_text(f"anon 5\n{names[2]} {cache}\n{names[3]} {shared}\n")


def test_system__is_what_is_available_without_swapping(tmp_path):
    write(tmp_path, proc__meminfo="MemTotal:       16 kB\nMemFree:  1 kB\nMemAvailable:    8 kB\nSwapFree: 9 kB\n")
    assert _system_bytes(tmp_path) == 8192


def test_system__elsewhere_is_all_there_is(tmp_path):
    assert _system_bytes(tmp_path) > GIB  # no /proc there


@pytest.mark.parametrize("version", [1, 2])
def test_group__leaves_its_limit_less_what_is_in_use_but_for_cached_files(tmp_path, version):
    write(tmp_path, proc__self__cgroup={1: "9:cpu:/\n4:memory:/job/step\n", 2: "0::/job/step\n"}[version])
    top = tmp_path / "sys/fs/cgroup" / ("memory" if version == 1 else "")
    group(top / "job/step", str(24 * GIB), 9 * GIB, cache=3 * GIB, shared=GIB, version=version)
    assert list(_group_bytes(tmp_path)) == [17 * GIB]
    group(top / "job", str(10 * GIB), 9 * GIB, version=version)  # the limit of a group above holds as well
    assert sorted(_group_bytes(tmp_path)) == [GIB, 17 * GIB]


def test_group__in_a_container_is_the_one_at_the_top(tmp_path):
    write(tmp_path, proc__self__cgroup="0::/system.slice/docker-1234.scope\n")
    group(tmp_path / "sys/fs/cgroup", str(4 * GIB), GIB)
    assert list(_group_bytes(tmp_path)) == [3 * GIB]


def test_group__without_a_limit_says_nothing(tmp_path):
    write(tmp_path, proc__self__cgroup="0::/\n")
    group(tmp_path / "sys/fs/cgroup", "max", GIB)
    assert list(_group_bytes(tmp_path)) == []
    assert list(_group_bytes(tmp_path / "nothing")) == []


def test_available__is_the_smallest(monkeypatch):
    monkeypatch.setattr(available, "_system_bytes", lambda: 7)
    monkeypatch.setattr(available, "_group_bytes", lambda: iter([9, 5]))
    assert available_bytes("cpu", 2) == 5
    monkeypatch.setattr(available, "_system_bytes", lambda: None)
    monkeypatch.setattr(available, "_group_bytes", lambda: iter([]))
    assert available_bytes("cpu", 2) is None


@pytest.mark.parametrize(("code", "printed", "found"), [(0, "85899345920\n", 80 * GIB), (1, "", None), (0, "?", None)])
def test_available__a_gpu_is_asked_in_a_process_of_its_own(monkeypatch, code, printed, found):
    def run(command, **_):
        assert "range(3)" in command[-1]
        return subprocess.CompletedProcess(command, code, printed, "")

    monkeypatch.setattr(available.subprocess, "run", run)
    assert available_bytes("cuda", 3) == found
