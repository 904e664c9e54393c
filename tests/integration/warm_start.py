"""Starts `python -m MODULE ...` as a copy of a process that has imported torch and fairseq already.

These imports take most of the time of a tiny run. Python's fork server makes the copies: it runs no other code, has no
other threads, and reads of this project nothing. From there on a copy is a process of its own: session, environment,
folder, arguments, output and exit code are those of the command.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path

THREADS = "1"
"""Of a copy: OpenMP reads how many when it is imported, that is before a command says anything."""
IMPORTED = [__name__, "fairseq_cli.hydra_train", "torch._dynamo", "torch.distributed.fsdp", "torchaudio", "soundfile"]


@cache
def _fork_server():
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(IMPORTED)
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = THREADS
    try:  # it starts with the first process
        first = context.Process(target=int)
        first.start()
        first.join()
    finally:
        os.environ.pop("OMP_NUM_THREADS")
        if before is not None:
            os.environ["OMP_NUM_THREADS"] = before
    return context


def applies_to(command: Sequence[str], env: dict[str, str]) -> bool:
    """Whether a command can be started so."""
    return list(command[:2]) == [sys.executable, "-m"] and env.get("OMP_NUM_THREADS") == THREADS


class WarmProcess:
    """A running command, with what is used of `subprocess.Popen`.

    Args:
        command: `sys.executable`, "-m", a module, its arguments.
        env: the whole environment.
        stdout: a file that is appended to.
        stderr: likewise; may be the same.
    """

    def __init__(self, command: Sequence[str], env: dict[str, str], stdout: Path, stderr: Path):
        self._args = list(command)
        running, started = multiprocessing.Pipe(duplex=False)
        arguments = (self._args[2:], env, os.getcwd(), str(stdout), str(stderr), started)
        self._process = _fork_server().Process(target=_become, args=arguments, daemon=False)
        self._process.start()
        started.close()
        running.recv()  # its session is its own from here on, as with Popen
        self.pid = self._process.pid

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        code = self._process.exitcode
        if code is None:
            raise subprocess.TimeoutExpired(self._args, timeout)
        return code

    def send_signal(self, number: signal.Signals) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)


def run(command: Sequence[str], env: dict[str, str], timeout_s: float) -> subprocess.CompletedProcess:
    """A command until its end, as `subprocess.run` with its output as text."""
    with tempfile.TemporaryDirectory() as folder:
        stdout, stderr = Path(folder) / "stdout", Path(folder) / "stderr"
        process = WarmProcess(command, env, stdout, stderr)
        try:
            code = process.wait(timeout_s)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        return subprocess.CompletedProcess(command, code, stdout.read_text(), stderr.read_text())


def run_ranks(number: int, command: Sequence[str], env: dict[str, str], output: Path, timeout_s: float = 300) -> int:
    """A command in several processes, which are told of each other as torchrun does; the first exit code but 0."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    told = {"WORLD_SIZE": str(number), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    ranks = [{"RANK": str(rank), "LOCAL_RANK": str(rank), **told} for rank in range(number)]
    processes = [WarmProcess(command, env | rank, output, output) for rank in ranks]
    until = time.monotonic() + timeout_s
    try:
        while time.monotonic() < until:
            codes = [process.poll() for process in processes]
            if any(codes) or None not in codes:
                return next(filter(None, codes), 0)
            time.sleep(0.02)
        raise subprocess.TimeoutExpired(command, timeout_s)
    finally:
        for process in processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def _become(arguments: list[str], env: dict[str, str], folder: str, stdout: str, stderr: str, started) -> None:
    """What the copy does: all that makes it the command, then the command."""
    os.setsid()
    for number, file in ((1, stdout), (2, stderr)):
        opened = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(opened, number)
        os.close(opened)
    multiprocessing.set_start_method(None, force=True)  # Python's default again, not that of this process
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(env)
    ours = env.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:] = [folder, *ours, *(entry for entry in sys.path if entry not in {"", folder, *ours})]
    sys.argv[:] = arguments
    started.send(True)
    started.close()
    try:
        runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
    finally:  # multiprocessing says what was raised, makes it an exit code, and leaves exit handlers out
        threading._shutdown()
        atexit._run_exitfuncs()
