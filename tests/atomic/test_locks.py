"""One writer at a time, and nobody waits for the dead."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ASDA.atomic import LockedOutputError, OutputLock

REPOSITORY = Path(__file__).resolve().parents[2]
HOLD = """
import sys
from ASDA.atomic import OutputLock
lock = OutputLock(sys.argv[1])
lock.acquire(shared=sys.argv[2] == "shared")
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def hold(tmp_path):
    """Starts a process that holds the lock on `tmp_path/out.h5`."""
    started = []

    def hold(kind="alone"):
        command = [sys.executable, "-c", HOLD, str(tmp_path / "out.h5"), kind]
        process = subprocess.Popen(command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        started.append(process)
        assert process.stdout.readline() == b"held\n"
        return process

    yield hold
    for process in started:
        process.kill()
        process.communicate()


def test_output_lock__the_second_is_told_who_the_first_is(tmp_path, hold):
    process = hold()
    with pytest.raises(LockedOutputError) as caught:
        OutputLock(tmp_path / "out.h5").acquire()
    assert str(caught.value).startswith(f"{tmp_path}/out.h5: process {process.pid} on ")
    (tmp_path / "link.h5").symlink_to("out.h5")
    assert not OutputLock(tmp_path / "link.h5").try_acquire()
    assert OutputLock(tmp_path / "other.h5").try_acquire()


def test_output_lock__ends_with_its_process(tmp_path, hold):
    process = hold()
    process.send_signal(signal.SIGKILL)
    process.wait()
    with OutputLock(tmp_path / "out.h5") as lock:
        assert f"process {os.getpid()} " in lock.holder()
    assert list(tmp_path.iterdir()) == []


def test_output_lock__shared_by_those_who_share_it(tmp_path, hold):
    hold("shared")
    lock = OutputLock(tmp_path / "out.h5")
    assert not lock.try_acquire()
    assert lock.try_acquire(shared=True)
    lock.release()
    assert lock.file.exists()  # the other still holds it
    assert not lock.try_acquire()


def test_output_lock__can_be_taken_again_and_shared_later(tmp_path):
    lock, other = OutputLock(tmp_path / "out"), OutputLock(tmp_path / "out")
    for _ in range(2):
        lock.acquire()
        assert not other.try_acquire(shared=True)
        lock.acquire(shared=True)
        assert other.try_acquire(shared=True)
        other.release()
        lock.release()
    assert list(tmp_path.iterdir()) == []


def test_output_lock__goes_on_with_a_warning_where_there_are_no_locks(tmp_path, monkeypatch, caplog):
    def no_locks(*_):
        raise OSError(37, "No locks available")

    monkeypatch.setattr("fcntl.flock", no_locks)
    with OutputLock(tmp_path / "out"):
        assert "has no locks" in caplog.text
