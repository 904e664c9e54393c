"""Training runs for tests: tiny, through the real entry points, each in processes of its own, with a record of each."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import soundfile as sf
import torch

from . import warm_start
from .conftest import ROOT, TINY, TINY_RUN

PROBE = Path(__file__).parent / "asda_probe"
GLOO = [
    "distributed_training.distributed_backend=gloo",
    "distributed_training.distributed_init_method=env://",
    "distributed_training.distributed_no_spawn=true",
    "distributed_training.distributed_rank=${oc.env:RANK}",
]


def write_clips(folder: Path, train: int = 10, evaluation: int = 5, valid: bool = False) -> Path:
    """A labelled corpus of 1 s clips in three classes, told apart by their pitch."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(0)
    for split, number in (("train", train), ("eval", evaluation), *((("valid", evaluation),) if valid else ())):
        rows, labels = [str(folder)], []
        for clip in range(number):
            tone = np.sin(np.arange(16_000) * (0.05 + 0.1 * (clip % 3)))
            # fairseq takes every file beside the manifests that begins with "valid" for one.
            name = f"held_out{clip}" if split == "valid" else f"{split}{clip}"
            sf.write(folder / f"{name}.wav", 0.3 * tone + generator.normal(0, 0.05, 16_000), 16_000)
            rows.append(f"{name}.wav\t16000")
            labels.append(f"{name}\t/m/{clip % 3}" + (",/m/0" if clip % 4 == 1 and clip % 3 else ""))
        (folder / f"{split}.tsv").write_text("\n".join(rows) + "\n")
        (folder / f"{split}.lbl").write_text("\n".join(labels) + "\n")
    table = "".join(f'{c},/m/{c},"class {c}"\n' for c in range(3))
    (folder / "label_descriptors.csv").write_text("index,mid,display_name\n" + table)
    return folder


class Run:
    """A training run in ``folder``: its processes, and what it left there.

    Args:
        folder: of checkpoints and logs.
        data: folder of manifests.
        overrides: hydra overrides, after those that make a run tiny.
        processes: several for data parallel with gloo.
        config: the yaml, one of those that `TINY` has a network for.
    """

    def __init__(self, folder: Path, data: Path, *overrides: str, processes: int = 1, config: str = "pretraining_AS2M"):
        self.folder, self.num_processes = folder, processes
        self._arguments = (folder, data, *overrides), {"processes": processes, "config": config}
        folder.mkdir(parents=True, exist_ok=True)
        self.output = folder / "output.txt"
        launcher = ["-m", "ASDA.launch.torchrun", "--standalone", f"--nproc_per_node={processes}"]
        self._program = [
            *("-m", "fairseq_cli.hydra_train"),
            *("--config-dir", ROOT / "config", "--config-name", config),
            *(f"common.user_dir={PROBE}", f"task._name=probe_{config}", f"task.data={data}"),
            *(f"checkpoint.save_dir={folder}", f"hydra.run.dir={folder}", "common.tensorboard_logdir=null"),
            *TINY_RUN,
            *TINY[config],
            *([*GLOO, f"distributed_training.distributed_world_size={processes}"] if processes > 1 else []),
            *overrides,
        ]
        self.command = [sys.executable, *(launcher if processes > 1 else []), *self._program]

    # -- running

    def again(self) -> "Run":
        """A run with the same command."""
        positional, named = self._arguments
        return Run(*positional, **named)

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "ASDA_PROBE": str(self.folder)}

    def start(self, environment: dict | None = None, **options) -> "Run":
        env = self._environment() | (environment or {})
        command = [str(part) for part in self.command]
        if not options and warm_start.applies_to(command, env):
            self.process = warm_start.WarmProcess(command, env, self.output, self.output)
            return self
        with open(self.output, "a") as output:
            # A session of its own, so that its processes can be signalled together.
            self.process = subprocess.Popen(
                command, env=env, stdout=output, stderr=output, start_new_session=True, **options
            )
        return self

    def wait(self, timeout_s: float = 300) -> int:
        """Waits for the end; the exit code."""
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            raise AssertionError(f"still running after {timeout_s} s:\n{self.text[-3000:]}") from None

    def finish(self, environment: dict | None = None) -> "Run":
        """Runs to the end, which has to be a good one."""
        if self.num_processes == 1:
            code = self.start(environment).wait()
        else:  # what torchrun tells its processes is all of it that such a run needs
            command = [str(part) for part in (sys.executable, *self._program)]
            env = self._environment() | (environment or {})
            code = warm_start.run_ranks(self.num_processes, command, env, self.output)
        assert code == 0, f"exit code {code}\n{self.text[-5000:]}"
        return self

    def wait_until(self, condition, timeout_s: float = 120) -> None:
        """Waits until ``condition()`` holds, while the run goes on."""
        until = time.monotonic() + timeout_s
        while not condition():
            if self.process.poll() is not None or time.monotonic() > until:
                self.kill()
                raise AssertionError(f"the run did not get there:\n{self.text[-3000:]}")
            time.sleep(0.01)

    def kill(self) -> None:
        """SIGKILL to all its processes."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(30)

    # -- what it left

    @property
    def text(self) -> str:
        return self.output.read_text()

    def records(self, rank: int = 0) -> dict[int, dict]:
        """Update -> what a process had after it. Of an update that was done twice, the later."""
        lines = (self.folder / f"rank{rank}.jsonl").read_text().splitlines()
        return {record["update"]: record for record in map(json.loads, lines)}

    def log(self, kind: str = "train_inner") -> list[dict]:
        """The json lines of one kind in the log."""
        return [json.loads(line) for line in re.findall(rf"\[{kind}\]\[INFO\] - (\{{.*\}})", self.text)]

    def checkpoint(self, name: str = "checkpoint_last.pt") -> dict:
        return torch.load(self.folder / name, weights_only=True)


def updates_done(run: Run) -> int:
    file = run.folder / "rank0.jsonl"
    return len(file.read_text().splitlines()) if file.exists() else 0


def resume_from(checkpoint: Path, folder: Path) -> None:
    """Puts a checkpoint where a run in ``folder`` continues from it."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(checkpoint, folder / "checkpoint_last.pt")


def difference(one, other, path: str = "") -> list[str]:
    """Where two checkpoints differ in a bit; times, the config's folders and how often a run was resumed aside."""
    if path == "/optimizer_history":  # an entry for each start
        one, other = one[-1:], other[-1:]
    if isinstance(one, dict):
        ignored = {"cfg", "metrics", "previous_training_time"}
        if one.keys() - ignored != other.keys() - ignored:
            return [f"{path}: {sorted(one.keys() ^ other.keys(), key=str)}"]
        return [d for key in one.keys() - ignored for d in difference(one[key], other[key], f"{path}/{key}")]
    if isinstance(one, list | tuple):
        if len(one) != len(other):
            return [f"{path}: {len(one)} and {len(other)} entries"]
        pairs = enumerate(zip(one, other, strict=True))
        return [d for i, (a, b) in pairs for d in difference(a, b, f"{path}/{i}")]
    equal = torch.equal(one, other) if torch.is_tensor(one) else one == other
    return [] if equal else [path]
