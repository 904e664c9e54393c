"""AdamW: fairseq's Adam to rounding, and each goes on from the other's state."""

import copy

import pytest
import torch

from ASDA.training.adamw import AdamW

GROUPS = ({"lr": 3e-3, "weight_decay": 0.05}, {"lr": 1e-3, "weight_decay": 0.0})
HOW = {"betas": (0.9, 0.95), "eps": 1e-8}
SHAPES = (((5, 7), (3,)), ((11,), (2, 3, 4)))


def fairseqs():
    return pytest.importorskip("fairseq.optim.adam").Adam


def optimizer(kind, dtype=torch.float32):
    generator = torch.Generator().manual_seed(1)
    parameters = [[torch.nn.Parameter(torch.randn(s, generator=generator).to(dtype)) for s in part] for part in SHAPES]
    return kind([{"params": part, **group} for part, group in zip(parameters, GROUPS, strict=True)], **HOW)


def train(optim, updates, start=0, scale=1.0):
    """Updates with gradients of all sizes; one parameter has none in each third."""
    for update in range(start, start + updates):
        generator = torch.Generator().manual_seed(update)
        for number, parameter in enumerate(p for group in optim.param_groups for p in group["params"]):
            gradient = torch.randn(parameter.shape, generator=generator) * scale * 10.0 ** -(number * 2)
            parameter.grad = None if number == 1 and update % 3 == 1 else gradient.to(parameter.dtype)
        optim.step()


def values(optim):
    weights = [p for group in optim.param_groups for p in group["params"]]
    return weights + [optim.state[p][name] for p in weights for name in ("exp_avg", "exp_avg_sq")]


def assert_equal(one, other, error=1e-6):
    for a, b in zip(values(one), values(other), strict=True):
        assert (a - b).norm() <= error * b.norm()


@pytest.mark.parametrize("scale", [1.0, 1e-7], ids=["usual gradients", "gradients of the size of eps"])
@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 1e-6), (torch.float64, 1e-12)])
def test_adamw__equals_fairseqs_over_50_updates(scale, dtype, error):
    own, other = optimizer(AdamW, dtype), optimizer(fairseqs(), dtype)
    train(own, 50, scale=scale), train(other, 50, scale=scale)
    assert_equal(own, other, error)
    assert [own.state[p]["step"] for p in own.state] == [other.state[p]["step"] for p in other.state]


def test_adamw__where_the_device_has_no_fused_kernel_is_the_same(monkeypatch):
    own, other = optimizer(AdamW), optimizer(AdamW)
    train(own, 10)
    monkeypatch.setattr("ASDA.training.adamw._FUSED_ON", ())
    train(other, 10)
    assert_equal(own, other)


@pytest.mark.parametrize("backwards", [False, True], ids=["fairseq's to ours", "ours to fairseq's"])
def test_state__goes_over(backwards):
    first, second = (AdamW, fairseqs()) if backwards else (fairseqs(), AdamW)
    straight, before, after = optimizer(first), optimizer(first), optimizer(second)
    train(straight, 20)
    train(before, 10)
    with torch.no_grad():
        for own, other in zip(weights(after), weights(before), strict=True):
            own.copy_(other)
    after.load_state_dict(copy.deepcopy(before.state_dict()))
    train(after, 10, start=10)
    assert_equal(straight, after)
    assert {name: type(v) for name, v in next(iter(after.state.values())).items()} == {
        name: type(v) for name, v in next(iter(straight.state.values())).items()
    }


def weights(optim):
    return [p for group in optim.param_groups for p in group["params"]]
