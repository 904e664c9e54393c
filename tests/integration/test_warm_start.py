"""A copy of a warm process is the command that it stands for: compared with `subprocess.run`."""

import os
import subprocess
import sys

import pytest

from . import warm_start

PROGRAM = """
import atexit, multiprocessing, os, sys
print(__name__, sys.argv[1:], os.getcwd(), os.environ["TOLD"], sorted(os.environ), sys.path[1])
print(sys.stdin.read(), multiprocessing.get_start_method(), "torch" in sys.modules and "warm", file=sys.stderr)
atexit.register(print, "the end")
end = sys.argv[1]
if end == "raise":
    raise ValueError("the sky falls")
if end == "signal":
    os.kill(os.getpid(), 9)
if end != "return":
    sys.exit(int(end) if end.isdigit() else end)
"""


@pytest.mark.slow
@pytest.mark.parametrize("end", ["return", "0", "75", "a sentence", "raise", "signal"])
def test_warm_start__is_the_command(end, tmp_path, monkeypatch):
    (tmp_path / "some_program.py").write_text(PROGRAM)
    monkeypatch.chdir(tmp_path)
    command = [sys.executable, "-m", "some_program", end, "two words"]
    env = os.environ | {"OMP_NUM_THREADS": warm_start.THREADS, "PYTHONPATH": str(tmp_path), "TOLD": "ä"}
    assert warm_start.applies_to(command, env)
    cold = subprocess.run(command, env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    warm = warm_start.run(command, env, timeout_s=60)
    assert (warm.args, warm.returncode, warm.stdout) == (cold.args, cold.returncode, cold.stdout)
    assert warm.stderr.splitlines()[0] == cold.stderr.splitlines()[0].replace("False", "warm")
    assert warm.stderr.splitlines()[-1].removesuffix("warm") == cold.stderr.splitlines()[-1].removesuffix("False")


@pytest.mark.slow
def test_warm_start__ranks_end_with_the_first_that_fails(tmp_path):
    (tmp_path / "some_rank.py").write_text(
        "import os, sys, time\n"
        "print(os.environ['RANK'], os.environ['WORLD_SIZE'], flush=True)\n"
        "time.sleep(600 if os.environ['RANK'] == '0' else 0)\n"
        "sys.exit(3)\n"
    )
    env = os.environ | {"OMP_NUM_THREADS": warm_start.THREADS, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-m", "some_rank"]
    assert warm_start.run_ranks(2, command, env, tmp_path / "out.txt", timeout_s=60) == 3
    assert "1 2" in (tmp_path / "out.txt").read_text()


def test_warm_start__other_commands_are_not_its():
    env = {"OMP_NUM_THREADS": warm_start.THREADS}
    assert not warm_start.applies_to(["bash", "a.sh"], env)
    assert not warm_start.applies_to([sys.executable, "-c", "1"], env)
    assert not warm_start.applies_to([sys.executable, "-m", "a"], {"OMP_NUM_THREADS": "2"})
