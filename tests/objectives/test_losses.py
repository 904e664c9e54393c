import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import ASDA
from ASDA.objectives.losses import channel_stds, layer_average_target, summed_regression


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_summed_regression__equals_loops():
    predicted, target = normal(7, 5), normal(7, 5, seed=1)
    total = 0.0
    for p, t in zip(predicted.tolist(), target.tolist(), strict=True):
        for a, b in zip(p, t, strict=True):
            total += (a - b) ** 2 / math.sqrt(5)
    assert summed_regression(predicted, target).item() == pytest.approx(total, rel=1e-6)


def test_summed_regression__scales_by_the_width_only():
    predicted, target = normal(6, 4), normal(6, 4, seed=1)
    expected = summed_regression(predicted, target)
    torch.testing.assert_close(summed_regression(predicted.view(2, 3, 4), target.view(2, 3, 4)), expected)
    assert summed_regression(target, target).item() == 0.0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_summed_regression__sums_in_float32(dtype):
    predicted, target = torch.full((1000, 16), 8.0, dtype=dtype), torch.zeros(1000, 16, dtype=dtype)
    loss = summed_regression(predicted, target)
    assert loss.dtype == torch.float32
    assert loss.item() == 1000 * 16 * 64 / 4  # beyond the range of float16


def naive_target(layers, eps=1e-5):
    """The same by loops: (B, N, D) lists in, the same out."""
    B, N, D = len(layers[0]), len(layers[0][0]), len(layers[0][0][0])
    out = [[[0.0] * D for _ in range(N)] for _ in range(B)]
    for layer in layers:
        for b in range(B):
            for d in range(D):
                column = [layer[b][n][d] for n in range(N)]
                mean = sum(column) / N
                variance = sum((x - mean) ** 2 for x in column) / N
                for n in range(N):
                    out[b][n][d] += (column[n] - mean) / math.sqrt(variance + eps) / len(layers)
    for b in range(B):
        for n in range(N):
            mean = sum(out[b][n]) / D
            variance = sum((x - mean) ** 2 for x in out[b][n]) / D
            out[b][n] = [(x - mean) / math.sqrt(variance + eps) for x in out[b][n]]
    return torch.tensor(out, dtype=torch.float64)


@pytest.mark.parametrize("scale", [1.0, 3e-3])  # the small one shows the eps of the instance norm
@pytest.mark.parametrize("num_layers", [1, 4])
def test_layer_average_target__equals_loops(num_layers, scale):
    # Layers of different size and offset: each counts the same after its instance norm.
    layers = [scale * (normal(2, 9, 6, seed=i) * 10.0**i + i) for i in range(num_layers)]
    target = layer_average_target(layers)
    assert target.dtype == torch.float32
    torch.testing.assert_close(target.double(), naive_target([x.tolist() for x in layers]), rtol=1e-4, atol=1e-5)


def test_layer_average_target__eps_of_the_layer_norm():
    # Two layers that nearly cancel: the mean is so small that the second norm's eps decides.
    layers = [normal(2, 9, 6), -normal(2, 9, 6) + 1e-2 * normal(2, 9, 6, seed=1)]
    torch.testing.assert_close(
        layer_average_target(layers).double(), naive_target([x.tolist() for x in layers]), rtol=1e-3, atol=1e-3
    )


def test_layer_average_target__leaves_its_input_alone():
    layers = [normal(2, 9, 6), normal(2, 9, 6, seed=1)]
    before = [layer.clone() for layer in layers]
    layer_average_target(layers)
    assert all(torch.equal(a, b) for a, b in zip(layers, before, strict=True))


def test_layer_average_target__works_in_float32():
    layers = [normal(2, 9, 6).to(torch.bfloat16)]
    torch.testing.assert_close(layer_average_target(layers), layer_average_target([layers[0].float()]), rtol=0, atol=0)


def naive_channel_std(rows):
    R, D = len(rows), len(rows[0])
    total = 0.0
    for d in range(D):
        column = [row[d] for row in rows]
        mean = sum(column) / R
        total += math.sqrt(sum((x - mean) ** 2 for x in column) / (R - 1) + 1e-6)
    return total / D


@pytest.mark.parametrize(("scale", "offset"), [(1.0, 0.0), (1e-3, 0.0), (0.1, 100.0), (0.0, 3.0)])
def test_channel_stds__equals_loops(scale, offset):
    rows = scale * normal(11, 6) + offset
    (value,) = channel_stds(rows)
    assert value.dtype == torch.float32
    assert value.ndim == 0
    assert value.item() == pytest.approx(naive_channel_std(rows.tolist()), rel=1e-4)


def test_channel_stds__falls_to_its_floor_on_collapse():
    assert channel_stds(torch.full((50, 6), -0.7))[0].item() == pytest.approx(1e-3, rel=1e-4)


def test_channel_stds__of_several_groups_are_summed_over_ranks_at_once(monkeypatch):
    groups = [normal(11, 6), 3 * normal(4, 6, seed=1), normal(0, 6)]
    expected = [channel_stds(rows)[0] for rows in groups]
    summed = []
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "all_reduce", summed.append)
    torch.testing.assert_close(channel_stds(*groups), expected, rtol=0, atol=0, equal_nan=True)
    assert [tuple(moments.shape) for moments in summed] == [(3, 3, 6)]


def test_channel_stds__takes_no_part_in_the_gradient():
    assert not channel_stds(normal(5, 3).requires_grad_())[0].requires_grad


RANK = """
import sys
import torch
import torch.distributed as dist
from ASDA.objectives.losses import channel_stds

rank, folder = int(sys.argv[1]), sys.argv[2]
dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
torch.save(channel_stds(torch.load(f"{folder}/rows{rank}.pt", weights_only=True))[0], f"{folder}/std{rank}.pt")
dist.destroy_process_group()
"""


@pytest.mark.slow
def test_channel_stds__of_two_ranks_is_that_of_all_rows(tmp_path):
    # Ranks hold different numbers of rows, and rows of different size and mean.
    rows = [normal(3, 6), 2 * normal(40, 6, seed=1) + 2]
    for rank in range(2):
        torch.save(rows[rank], tmp_path / f"rows{rank}.pt")
    repository = Path(ASDA.__file__).parents[1]
    ranks = [subprocess.Popen([sys.executable, "-c", RANK, str(r), str(tmp_path)], cwd=repository) for r in range(2)]
    try:
        assert [rank.wait(timeout=120) for rank in ranks] == [0, 0]
    finally:
        for rank in ranks:
            rank.kill()
    values = [torch.load(tmp_path / f"std{rank}.pt", weights_only=True) for rank in range(2)]
    assert torch.equal(*values)
    assert values[0].item() == pytest.approx(naive_channel_std(torch.cat(rows).tolist()), rel=1e-5)
