"""Running chains: what is done is left alone, what fails stops nothing but itself; with small programs as steps."""

import dataclasses
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from ASDA.atomic import OutputLock
from ASDA.launch.ablation.folder import RunFolder, claim
from ASDA.launch.ablation.grid import Setting
from ASDA.launch.ablation.plan import Chain, Run, Step
from ASDA.launch.ablation.running import Runner, environments, last_lines
from ASDA.launch.settings import LaunchError


@dataclasses.dataclass(frozen=True)
class Scripted(Run):
    """A run whose steps are pieces of Python: stage -> code; each needs the one before it."""

    codes: dict = dataclasses.field(default_factory=dict)

    def steps(self):
        stages = list(self.codes)
        for number, (stage, code) in enumerate(self.codes.items()):
            after = stages[number - 1] if number else "pretraining" if self.setting.pretraining_of else ""
            yield Step(stage, (sys.executable, "-c", code), {"MARK": str(self.folder.path)}, after)


APPEND = "import os; open(os.environ['MARK'] + '/{0}', 'a').write('x')"


@pytest.fixture
def run(tmp_path):
    def run(name: str, codes: dict, of: str = "", stages: dict | None = None) -> Scripted:
        folder = RunFolder(tmp_path / name, tmp_path / (of or name) / "pretrained")
        return Scripted(Setting(name, (), of, (), (), ""), 1, folder, "", stages or {}, codes)

    return run


def marks(run: Run, stage: str) -> int:
    file = run.folder.path / stage
    return len(file.read_text()) if file.exists() else 0


def test_runner__does_what_is_not_done_once(run):
    runs = [run(name, {"pretraining": APPEND.format("one"), "probe": APPEND.format("two")}) for name in "abc"]
    for _ in range(2):
        Runner(lambda line: None, [{}, {}]).run([Chain((one,)) for one in runs])
    assert [(marks(one, "one"), marks(one, "two")) for one in runs] == [(1, 1)] * 3


def test_runner__a_failure_is_told_and_stops_nothing_else(run):
    said = []
    broken = run("broken", {"pretraining": "print('reading'); raise SystemExit('no such layer')", "probe": "1/0"})
    follower = run("follower", {"probe": APPEND.format("two")}, of="broken")
    good = run("good", {"pretraining": APPEND.format("one")})
    Runner(said.append).run([Chain((broken, follower)), Chain((good,))])
    assert broken.folder.failures() == {"pretraining": "exit code 1: no such layer"}
    assert follower.folder.failures() == {"pretraining": "that of broken is not done"} and not marks(follower, "two")
    assert good.folder.failures() == {} and marks(good, "one") == 1
    told = "\n".join(said)
    assert "broken, seed 1: pretraining failed with exit code 1" in told and "    reading\n    no such layer" in told
    mended = dataclasses.replace(broken, codes={"pretraining": "pass", "probe": "pass"})
    Runner(said.append).run([Chain((mended, follower))])
    assert mended.folder.failures() == follower.folder.failures() == {} and marks(follower, "two") == 1


def test_runner__saves_and_goes_on_later_when_it_is_asked_to_stop(run):
    waits = (
        "import os, signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(75));"
        "open(os.environ['MARK'] + '/began', 'w'); time.sleep(60)"
    )
    first, second = run("first", {"pretraining": waits}), run("second", {"pretraining": APPEND.format("one")})

    def stop():
        while not (first.folder.path / "began").exists():
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGUSR1)

    threading.Thread(target=stop, daemon=True).start()
    runner = Runner(lambda line: None)
    runner.run([Chain((first,)), Chain((second,))])
    assert runner.stopped and not marks(second, "one")
    assert not first.folder.is_done("pretraining") and first.folder.failures() == {}


def test_runner__leaves_a_run_alone_that_another_process_works_on(run):
    """Even one that has lost its parent: what it started keeps the lock."""
    one, other = (run(name, {"pretraining": APPEND.format("one")}) for name in "ab")
    one.folder.path.mkdir()
    lock = OutputLock(one.folder.path, one.folder.path / ".running.lock")
    lock.acquire()
    orphan = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=lock.descriptors)
    os.close(lock.descriptors[0])  # as when its process is killed
    lock._descriptor = None
    runner = Runner(lambda line: None)
    runner.run([Chain((one,)), Chain((other,))])
    assert runner.busy == ["a, seed 1"] and not marks(one, "one") and marks(other, "one") == 1
    orphan.communicate(b"\n")
    runner.run([Chain((one,))])
    assert marks(one, "one") == 1


def stage(diff_lambda: float, words: str = "words", crc: int = 1) -> dict:
    model = {"diff_lambda": diff_lambda, "depth": 4}
    return {"words": [words], "composed": {"model": model, "dataset": {}}, "data": {"train.tsv": crc}}


@pytest.mark.parametrize(
    ("now", "message"),
    [
        (stage(0.3), "model.diff_lambda: 0.1 then, 0.3 now. Give the setting another name"),
        (stage(0.1, crc=2), "train.tsv of other clips or labels"),
    ],
)
def test_run_folder__refuses_another_setting_under_its_name(now, message, run):
    one = run("a", {"pretraining": "pass"}, stages={"pretraining": stage(0.1)})
    Runner(lambda line: None).run([Chain((one,))])
    one.folder.require_same({"pretraining": stage(0.1), "new probe": stage(0.5)})
    with pytest.raises(LaunchError, match=message):
        one.folder.require_same({"pretraining": now})


def test_claim__leaves_folders_alone_that_are_not_its_own(tmp_path):
    claim(tmp_path / "new", "ASDA")
    claim(tmp_path / "new", "ASDA")
    with pytest.raises(LaunchError, match="holds the runs of ASDA, not of students"):
        claim(tmp_path / "new", "students")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "photo.png").touch()
    with pytest.raises(LaunchError, match="photos holds files that are not an ablation's"):
        claim(tmp_path / "photos", "ASDA")


def test_environments__divide_what_there_is():
    assert environments(1, 4, 8, {}) == [{}]
    assert environments(2, 0, 8, {}) == [{"OMP_NUM_THREADS": "4"}] * 2
    assert environments(2, 0, 8, {"OMP_NUM_THREADS": "1"}) == [{}, {}]
    assert [e["CUDA_VISIBLE_DEVICES"] for e in environments(2, 4, 8, {})] == ["0,1", "2,3"]
    assert [e["CUDA_VISIBLE_DEVICES"] for e in environments(2, 2, 8, {"CUDA_VISIBLE_DEVICES": "5,7"})] == ["5", "7"]
    with pytest.raises(LaunchError, match="--jobs 3: only 2 GPUs"):
        environments(3, 2, 8, {})


def test_last_lines__are_those_of_the_last_process(tmp_path: Path):
    hint = "Set the environment variable HYDRA_FULL_ERROR=1 for a complete stack trace."
    text = f"\n=== now probe: a\nold\n\n=== now pretraining: b\nfirst\n\nlast  \n{hint}\n"
    (tmp_path / "output.txt").write_text(text)
    assert last_lines(tmp_path / "output.txt") == ["first", "last"]
