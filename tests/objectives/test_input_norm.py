"""The input's normalisation is torch's BatchNorm, but for what its docstring says."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from ASDA.objectives.input_norm import InputNorm


def batches(count=4):
    generator = torch.Generator().manual_seed(0)
    return [3.0 * torch.randn(3, 1, 20, 16, generator=generator) - 7.0 + n for n in range(count)]


def followed(norm, inputs):
    return [norm(x) for x in inputs]


def test_input_norm__is_torchs_batch_norm():
    ours, torchs = InputNorm(), nn.BatchNorm2d(1, affine=False)
    assert ours.state_dict().keys() == torchs.state_dict().keys()
    for one, other in zip(followed(ours, batches()), followed(torchs, batches()), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
    for name, buffer in torchs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], buffer, rtol=1e-5, atol=1e-6)
    x = batches(1)[0]
    torch.testing.assert_close(ours.eval()(x), torchs.eval()(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_input_norm__what_is_not_finite_or_does_not_count_leaves_no_trace(bad):
    norm = InputNorm()
    followed(norm, batches())
    before = {name: buffer.clone() for name, buffer in norm.state_dict().items()}
    x = batches(1)[0]
    norm(x, counts=False)
    x[0, 0, 0, 0] = bad
    norm(x)
    norm.eval()(batches(1)[0])
    assert all(torch.equal(norm.state_dict()[name], buffer) for name, buffer in before.items())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_input_norm__stays_in_float32(dtype):
    norm = InputNorm()
    followed(norm, batches())
    before = norm.running_mean.clone()
    norm.to(dtype)
    assert norm.running_mean.dtype == torch.float32 and torch.equal(norm.running_mean, before)
    assert norm(batches(1)[0].to(dtype)).dtype == torch.float32
    assert norm.double().running_mean.dtype == torch.float64
    assert norm.to("meta").running_var.device.type == "meta"


@pytest.mark.slow
def test_input_norm__two_processes_have_the_statistics_of_one_that_sees_all_their_batches(tmp_path):
    program = """
import sys, torch, torch.distributed as dist
sys.path.insert(0, sys.argv[3])
from ASDA.objectives.input_norm import InputNorm
from tests.objectives.test_input_norm import batches
rank = int(sys.argv[1])
dist.init_process_group("gloo", init_method="file://" + sys.argv[2], rank=rank, world_size=2)
norm = InputNorm()
for number in (0, 2):
    norm(batches()[number + rank], counts=not (number == 2 and rank == 1))
torch.save(norm.state_dict(), f"{sys.argv[2]}.{rank}")
"""
    arguments = [str(tmp_path / "meet"), str(Path(__file__).resolve().parents[2])]
    processes = [subprocess.Popen([sys.executable, "-c", program, str(rank), *arguments]) for rank in (0, 1)]
    assert [process.wait(120) for process in processes] == [0, 0]
    alone = InputNorm()
    followed(alone, batches()[:3])
    for rank in (0, 1):
        state = torch.load(f"{tmp_path / 'meet'}.{rank}", weights_only=True)
        assert all(torch.equal(state[name], buffer) for name, buffer in alone.state_dict().items())
