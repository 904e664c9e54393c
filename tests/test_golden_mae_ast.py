"""Golden numbers of MAE-AST's released program: features in evaluation mode, losses and gradients without dropout.

A case is `mae_ast_KIND.expected.pt`, KIND being patch or frame; sizes are in its `cfg`.
"""

from pathlib import Path

import pytest

pytest.importorskip("fairseq", reason="the cases are of the registered model")

import torch
from torch import nn

from ASDA.checkpoints.layouts.mae_ast_names import to_published
from tests.fairseq_plugin.models.conftest import build
from tests.mae_ast_files import KERNELS

GOLDEN = Path(__file__).resolve().parents[2] / "shared" / "golden"
CASES = sorted(GOLDEN.glob("mae_ast_*.expected.pt"))


@pytest.fixture(params=CASES or [None], ids=lambda path: path and path.name.partition(".")[0])
def case(request):
    if request.param is None:
        pytest.skip(f"there is no case in {GOLDEN}")
    return torch.load(request.param, weights_only=True)


@pytest.fixture
def model(case):
    settings = dict(case["cfg"])
    frames, bins = KERNELS[settings.pop("kind")]
    model = build("mae_ast", {**settings, "ast_kernel_size_time": frames, "ast_kernel_size_chan": bins})
    model.load_state_dict(case["state_dict"])
    return model


def test_golden__state_dict_is_the_released_one(case, model):
    state = model.state_dict()
    assert state.keys() == case["state_dict"].keys()
    assert all(torch.equal(state[name], tensor) for name, tensor in case["state_dict"].items())


def test_golden__features_and_hidden_states(case, model):
    source = case["source"].float()[:, None]
    model.eval()
    with torch.no_grad():
        torch.testing.assert_close(model.extract_features(source)["x"], case["features"], rtol=0, atol=1e-5)
        tokens, _ = model.encoder.embed(model.objective.normalise(source))
        outputs = [output for output, _ in model.encoder.layers(tokens)]
    assert len(outputs) == len(case["hidden_states"])
    for output, expected in zip(outputs, case["hidden_states"], strict=True):
        torch.testing.assert_close(output, expected, rtol=0, atol=1e-5)


def test_golden__losses_and_gradients(case, model):
    mask = torch.zeros(case["features"].shape[:2], dtype=torch.bool).scatter_(1, case["masked_indices"], True)
    result = model.train()(case["source"].float()[:, None], precomputed_mask=mask)
    losses = {name: loss / result["sample_size"] for name, loss in result["losses"].items()}
    assert losses["generative"].item() == pytest.approx(10 * case["loss_recon"], rel=1e-5)
    assert losses["discriminative"].item() == pytest.approx(case["loss_nce"], rel=1e-5)
    sum(losses.values()).backward()
    own = nn.Module.named_parameters(model)  # under their own names, one tensor for queries, keys and values
    gradients = {name.removeprefix("objective."): p.grad for name, p in own if p.grad is not None}
    published = to_published(gradients)
    largest = max(float(gradient.abs().max()) for gradient in case["grads"].values())
    for name, expected in case["grads"].items():
        if name not in published:  # what is never used
            assert float(expected.abs().max()) == 0.0
            continue
        # The gradient of the keys' bias is 0 in exact arithmetic.
        tolerance = 1e-4 * max(float(expected.abs().max()), 1e-5 * largest)
        torch.testing.assert_close(published[name], expected, rtol=0, atol=tolerance, msg=name)
