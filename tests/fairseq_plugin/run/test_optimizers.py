"""The recipes' optimiser as fairseq builds it: groups, norms, half precision, and the state of fairseq's adam."""

import copy

import pytest

pytest.importorskip("fairseq", reason="the optimiser is fairseq's view of it")

import torch
from fairseq import optim
from omegaconf import OmegaConf

import ASDA  # noqa: F401
from ASDA.fairseq_plugin.run.half_precision import FP16Optimizer
from tests.waiting import Waits

COMMON = {
    "common": {"fp16": True, "bf16": False, "fp16_no_flatten_grads": True, "fp16_scale_window": 100}
    | {"fp16_init_scale": 4, "fp16_scale_tolerance": 0.0, "threshold_loss_scale": None, "min_loss_scale": 1e-6},
    "optimization": {"update_freq": [1]},
    "distributed_training": {"distributed_world_size": 1},
}


def config(ours: bool):
    adam = {"_name": "asda_adamw" if ours else "adam", "adam_betas": [0.9, 0.95], "adam_eps": 1e-8, "lr": [1e-2]}
    if not ours:
        adam["tpu"] = False  # otherwise from the configuration of a whole run
    group = {"lr": [1e-2], "lr_float": 1e-2, "lr_scheduler": {"_name": "fixed", "warmup_updates": 0, "lr": [1e-2]}}
    groups = {
        name: {**group, "optimizer": {**adam, "weight_decay": decay}}
        for name, decay in (("default", 0.05), ("no_decay", 0.0))
    }
    name = "asda_composite" if ours else "composite"
    return OmegaConf.create({"_name": name, "dynamic_groups": True, "groups": groups})


def parameters(dtype=torch.float32):
    generator = torch.Generator().manual_seed(1)
    made = [torch.nn.Parameter(torch.randn(shape, generator=generator).to(dtype)) for shape in ((4, 3), (5, 4), (7,))]
    made[0].optim_overrides = {"optimizer": {"lr_scale": 0.5}}  # as layer-wise learning rates are said
    made[2].param_group = "no_decay"
    return made


def train(optimizer, params, updates, start=0, clip=0.5):
    norms = []
    for update in range(start, start + updates):
        generator = torch.Generator().manual_seed(update)
        optimizer.zero_grad()
        directions = [torch.randn(p.shape, generator=generator).to(p.dtype) for p in params]
        optimizer.backward(sum((p * d).float().sum() for p, d in zip(params, directions, strict=True)))
        optimizer.multiply_grads(0.1)
        norms.append(float(optimizer.clip_grad_norm(clip)))
        optimizer.step()
    return norms


def weights(params):
    return torch.cat([p.detach().float().flatten() for p in params])


def test_composite__equals_fairseqs_with_its_norms():
    found = []
    for ours in (True, False):
        params = parameters()
        optimizer = optim.build_optimizer(config(ours), params)
        found.append((train(optimizer, params, 50), weights(params)))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-6) and max(found[0][0]) > 0.5 > min(found[0][0])
    assert (found[0][1] - found[1][1]).norm() < 1e-6 * found[1][1].norm()


@pytest.mark.parametrize("ours_first", [True, False])
def test_state__of_fairseqs_composite_adam_and_of_ours_go_over(ours_first):
    straight = parameters()
    train(optim.build_optimizer(config(ours_first), straight), straight, 10)
    params = parameters()
    before = optim.build_optimizer(config(ours_first), params)
    train(before, params, 5)
    state = copy.deepcopy(before.state_dict())  # the next composite of fairseq takes the optimisers of this one over
    after = optim.build_optimizer(config(not ours_first), params)
    after.load_state_dict(state)
    assert type(after).__name__ == type(before).__name__ == "FairseqCompositeOptimizer"  # fairseq compares the names
    train(after, params, 5, start=5)
    assert (weights(params) - weights(straight)).norm() < 1e-6 * weights(straight).norm()


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_half_precision__casts_as_fairseqs_does(precision):
    found = []
    for kind in (FP16Optimizer, FP16Optimizer.__base__):
        params = parameters(torch.float16 if precision == "fp16" else torch.bfloat16)
        cfg = OmegaConf.create({**COMMON, "optimizer": config(ours=True)})
        cfg.common.fp16, cfg.common.bf16 = precision == "fp16", precision == "bf16"
        optimizer = kind.build_optimizer(cfg, params)
        found.append((train(optimizer, params, 20), weights(params), weights(optimizer.fp32_params)))
    assert found[0][0] == found[1][0]
    assert torch.equal(found[0][1], found[1][1]) and torch.equal(found[0][2], found[1][2])
    assert not torch.equal(found[0][1], found[0][2])


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_half_precision__clips_by_a_number_of_the_host(precision):
    """A tensor would have to be copied to the gradients' device, for which the host waits."""
    params = parameters(torch.float16 if precision == "fp16" else torch.bfloat16)
    cfg = OmegaConf.create({**COMMON, "optimizer": config(ours=True)})
    cfg.common.fp16, cfg.common.bf16 = precision == "fp16", precision == "bf16"
    optimizer = FP16Optimizer.build_optimizer(cfg, params)
    train(optimizer, params, 1)
    optimizer.zero_grad()
    optimizer.backward(sum(p.float().sum() for p in params))
    before = optimizer._multiply_factor
    assert optimizer.clip_grad_norm(0.5) > 0.5
    assert type(optimizer._multiply_factor) is float and optimizer._multiply_factor < before


def test_update__of_the_optimiser_reads_the_norm_alone():
    params = parameters()
    optimizer = optim.build_optimizer(config(ours=True), params)
    train(optimizer, params, 1)
    with Waits() as waits:
        optimizer.multiply_grads(0.1)
        norm = optimizer.clip_grad_norm(0.5)
        assert torch.isfinite(norm).all()  # as fairseq's trainer looks at it
        optimizer.step()
        optimizer.zero_grad()
    assert waits.places == ["ASDA/fairseq_plugin/run/one_read.py clip_grad_norm: aten::_local_scalar_dense"]
