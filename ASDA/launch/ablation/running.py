"""Runs the chains of a grid, several at a time: what is done is left alone, what fails stops nothing but itself."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ...atomic import LockedOutputError, OutputLock, atomic_writer
from ...training.stopping import EXIT_STOPPED, SIGNALS
from ..settings import LaunchError
from .folder import RunFolder
from .plan import Chain, Run, Step
from .stages import PRETRAINING

_LAST_LINES = 8
_LAST_BYTES = 1 << 16
_HINT = "Set the environment variable HYDRA_FULL_ERROR"  # which hydra puts behind the reason
_SOME_LEFT_OUT = 2  # exit code of a program that could not read some clips and has done the rest
# Settings of the launch scripts that would have every run be something else than the grid says.
_NOT_INHERITED = ("CONFIG", "DATA", "SAVE_DIR", "CHECKPOINT", "FOLDS", "EXTEND", "DRY_RUN", "NNODES", "RDZV_ENDPOINT")


class Runner:
    """Runs chains, and ends what runs when it is asked to stop.

    Args:
        say: tells the user a line.
        environments: environment variables of each of the chains that run at one time.

    Attributes:
        stopped: whether it was asked to stop.
        busy: the chains that another process works on.
    """

    def __init__(self, say: Callable[[str], None], environments: Sequence[Mapping[str, str]] = ({},)):
        self.stopped = False
        self.busy: list[str] = []
        self._say = say
        self._free = list(environments)
        self._children: set[subprocess.Popen] = set()
        self._guard = threading.Lock()

    def run(self, chains: Sequence[Chain]) -> None:
        """Runs all chains, or as far as they get until it is asked to stop (SIGTERM, SIGUSR1, Ctrl-C).

        What came of them is in their folders.
        """
        previous = {number: signal.signal(number, lambda *_: self.stop()) for number in SIGNALS}
        try:
            with ThreadPoolExecutor(len(self._free)) as pool:
                try:
                    for future in [pool.submit(self._run_chain, chain) for chain in chains]:
                        future.result()
                except BaseException:  # a second Ctrl-C, too, waits for what runs to save: that ends by itself
                    self.stop()
                    raise
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def stop(self) -> None:
        """Asks what runs to save and leave; nothing else begins."""
        self.stopped = True
        for child in list(self._children):
            child.send_signal(signal.SIGTERM)

    def _run_chain(self, chain: Chain) -> None:
        if self.stopped:
            return
        with self._guard:
            environment = self._free.pop()
        try:
            for run in chain.runs:
                self._run(run, environment)
        except LockedOutputError as error:
            self.busy.append(str(chain))
            self._say(str(error))
        finally:
            with self._guard:
                self._free.append(environment)

    def _run(self, run: Run, environment: Mapping[str, str]) -> None:
        folder = run.folder
        folder.path.mkdir(parents=True, exist_ok=True)
        with OutputLock(folder.path, folder.path / ".running.lock") as lock:
            folder.require_same(run.stages)
            folder.write_record(run.stages)
            folder.forget_failures()
            missing = self._missing(run)
            for step in run.steps():
                if self.stopped:
                    return
                if step.after and (step.after in missing or step.after in folder.failures()):
                    missing.add(step.stage)
                elif not folder.is_done(step.stage) or (step.output and not step.output.exists()):
                    self._take(run, step, environment, lock)

    def _missing(self, run: Run) -> set[str]:
        """The pre-training, if it is another run's and that has not got there."""
        if not run.setting.pretraining_of:
            return set()
        trainer = RunFolder(run.folder.pretrained.parent, run.folder.pretrained)
        if trainer.is_done(PRETRAINING):
            return set()
        if not self.stopped:
            run.folder.note_failed(PRETRAINING, f"that of {run.setting.pretraining_of} is not done")
        return {PRETRAINING}

    def _take(self, run: Run, step: Step, environment: Mapping[str, str], lock: OutputLock) -> None:
        began = time.monotonic()
        self._say(f"{run}: {step.stage} ...")
        code = self._call(run, step, environment, lock)
        if code == 0:
            run.folder.note_done(step.stage, time.monotonic() - began)
        elif self.stopped or code == EXIT_STOPPED:
            self.stop()  # who has asked that run to stop means the whole
            self._say(f"{run}: {step.stage} stopped; the same command goes on")
        else:
            lines = last_lines(run.folder.log)
            run.folder.note_failed(step.stage, f"exit code {code}: {lines[-1] if lines else 'it has said nothing'}")
            told = "\n".join(f"    {line}" for line in lines)
            self._say(f"{run}: {step.stage} failed with exit code {code}; the end of {run.folder.log}:\n{told}")

    def _call(self, run: Run, step: Step, environment: Mapping[str, str], lock: OutputLock) -> int:
        """Runs a process to its end; its exit code, 128 + the number of a signal that ended it."""
        inherited = {name: value for name, value in os.environ.items() if name not in _NOT_INHERITED}
        whole = {**inherited, "PYTHONSAFEPATH": "1", **environment, **step.settings}
        with open(run.folder.log, "ab") as log:
            log.write(f"\n=== {time.strftime('%Y-%m-%d %H:%M:%S')} {step.stage}: {shown(step)}\n".encode())
            log.flush()
            printed = subprocess.PIPE if step.prints else log
            # With the lock in its hands, a process that outlives this one keeps others out of the folder.
            child = subprocess.Popen(
                step.command, env=whole, stdin=subprocess.DEVNULL, stdout=printed, stderr=log, pass_fds=lock.descriptors
            )
            with self._guard:
                self._children.add(child)
            if self.stopped:
                child.send_signal(signal.SIGTERM)
            try:
                text, _ = child.communicate()
            finally:
                with self._guard:
                    self._children.discard(child)
        code = child.returncode if child.returncode >= 0 else 128 - child.returncode
        if not step.prints or step.output is None:
            return code
        if code == _SOME_LEFT_OUT and text.strip():
            self._say(f"{run}: {step.stage}: some clips were left out, see {run.folder.log}")
            code = 0
        if code == 0:
            with atomic_writer(step.output) as handle:
                handle.write(text.decode())
        return code


def shown(step: Step) -> str:
    """A process as a line for the shell."""
    settings = [f"{name}={shlex.quote(value)}" for name, value in step.settings.items()]
    return " ".join([*settings, shlex.join(("python", *step.command[1:]))])


def last_lines(log: Path) -> list[str]:
    """The last lines of a log that say something."""
    with open(log, "rb") as handle:
        handle.seek(max(0, log.stat().st_size - _LAST_BYTES))
        text = handle.read().decode("utf-8", "replace")
    lines = [line.rstrip() for line in text.rpartition("\n=== ")[2].splitlines()[1:]]
    return [line for line in lines if line and not line.startswith(_HINT)][-_LAST_LINES:]


def environments(jobs: int, gpus: int, cores: int, given: Mapping[str, str]) -> list[dict[str, str]]:
    """The environment of each of the chains that run at one time: GPUs, or else cores, are divided among them.

    Args:
        jobs: how many.
        gpus: that this machine shows and that may be used.
        cores: of this machine.
        given: the environment: its CUDA_VISIBLE_DEVICES is divided, its OMP_NUM_THREADS holds.

    Raises:
        LaunchError: there are GPUs, but fewer than jobs.
    """
    if gpus:
        if jobs > gpus:
            raise LaunchError(f"--jobs {jobs}: only {gpus} GPUs are there to be divided; NGPU=0 takes the CPU")
        if jobs == 1:
            return [{}]
        named = [name for name in given.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
        devices = named[:gpus] or [str(number) for number in range(gpus)]
        each = gpus // jobs
        return [{"CUDA_VISIBLE_DEVICES": ",".join(devices[n * each : (n + 1) * each])} for n in range(jobs)]
    if jobs == 1 or "OMP_NUM_THREADS" in given:
        return [{} for _ in range(jobs)]
    return [{"OMP_NUM_THREADS": str(max(1, cores // jobs))} for _ in range(jobs)]
