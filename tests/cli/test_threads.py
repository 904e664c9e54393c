"""How the programs share the cores: what is set before torch loads, how many threads decode and compute."""

import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch

from ASDA.cli import _flags, _threads, evaluate, infer
from ASDA.inference.clips import find_clips

SHOW = """
import os, sys
class Finder:
    def find_spec(self, name, path, target=None):
        if name == "torch":
            print(os.environ.get("OMP_WAIT_POLICY"))
sys.meta_path.insert(0, Finder())
import ASDA.cli.{program}
"""


def policy_when_torch_loads(program, **environment):
    inherited = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    command = [sys.executable, "-c", SHOW.format(program=program)]
    return subprocess.run(
        command, env=inherited | environment, capture_output=True, text=True, check=True
    ).stdout.split()


@pytest.mark.parametrize("program", ["extract", "infer", "evaluate", "probe"])
def test_threads__wait_passively_from_when_torch_loads(program):
    assert policy_when_torch_loads(program) == ["PASSIVE"]


def test_threads__what_the_user_has_set_stays():
    assert policy_when_torch_loads("extract", OMP_WAIT_POLICY="ACTIVE") == ["ACTIVE"]


@pytest.mark.parametrize("cores", [1, 2, 4, 7, 8, 16, 64])
def test_threads__decoders_and_network_are_within_the_cores(cores, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(_threads, "available_cores", lambda: cores)
    decoders = _threads.decoding_threads(on_cpu=True)
    computing = _threads.compute_threads(decoders)
    assert 1 <= decoders <= 4
    if cores < 8:
        assert decoders == 1 and computing is None
    else:
        assert decoders + computing == cores and computing >= 0.875 * cores
    assert _threads.decoding_threads(on_cpu=False) == min(4, cores)


def test_threads__many_decoders_leave_the_network_half_of_the_cores(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(_threads, "available_cores", lambda: 16)
    assert _threads.compute_threads(14) == 8


@pytest.mark.parametrize("given", [None, "3"])
def test_share_cores__sets_the_threads_of_the_network_unless_the_user_has(given, monkeypatch):
    monkeypatch.setattr(_threads, "available_cores", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if given:
        monkeypatch.setenv("OMP_NUM_THREADS", given)
    before, args = torch.get_num_threads(), SimpleNamespace(num_workers=None)
    try:
        _flags.share_cores(args, torch.device("cpu"))
        assert args.num_workers == 1
        assert torch.get_num_threads() == (before if given else 7)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(("set_to", "expected"), [(None, None), ("3", 3), ("4,2", 4), ("0", None), ("many", None)])
def test_threads__the_number_that_the_user_has_set(set_to, expected, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if set_to is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", set_to)
    assert _threads.named_threads() == expected


@pytest.mark.parametrize(
    ("device", "seconds", "number", "flag", "expected"),
    [
        ("cuda", 1, 10_000, None, True),
        ("cuda", 1, 10_000, False, False),
        ("cuda", 1, 9_999, None, False),
        ("cuda", 5, 10_000, None, False),
        ("cpu", 1, 10_000, None, False),
        ("cpu", 5, 1, True, True),
    ],
)
def test_decodes_in_processes__where_a_gpu_would_wait_for_short_clips(
    device, seconds, number, flag, expected, tmp_path, capsys
):
    soundfile.write(tmp_path / "clip.wav", np.zeros(16_000 * seconds), 16_000)
    (tmp_path / "list.tsv").write_text(f"{tmp_path}\nmissing.wav\t1\n" + "clip.wav\t1\n" * (number - 1))
    clips = find_clips([str(tmp_path / "list.tsv")])
    args = SimpleNamespace(worker_processes=flag, num_workers=4, h5_sample_rate=32_000)
    assert _flags.decodes_in_processes(args, torch.device(device), clips, range(number)) == expected
    said = capsys.readouterr().err
    assert ("clips of about 1.0 s: 4 processes decode" in said) == (expected and flag is None)


@pytest.mark.parametrize("program", ["infer", "evaluate"])
def test_worker_processes__are_what_each_program_decodes_in(program, corpus, models, run, processes_started):
    flags = ["--worker_processes", "--num_workers", 2, "--device", "cpu"]
    words = {
        "infer": [infer.main, corpus / "clip_4.wav", "--checkpoint_dir", models.finetuned],
        "evaluate": [evaluate.main, "--eval_dir", corpus, "--checkpoint_dir", models.finetuned],
    }
    main, *own = words[program]
    assert run(main, *own, *flags).code == 0 and processes_started == [2]
    assert run(main, *own, *flags[1:]).code == 0 and processes_started == [2]
