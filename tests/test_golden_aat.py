"""Golden numbers of AAT's published program: pre-norm blocks with adapters, outputs and gradients.

A case is `aat_blocks_NAME.expected.pt`; which adapters it has is in its `kinds`.
"""

from pathlib import Path

import pytest
import torch

from ASDA.adaptation.adapting import adapt, load_tensors, split_added
from ASDA.adaptation.bottlenecks import MlpAdapters, SpatialAdapters
from ASDA.core.config import EncoderConfig, Plain, StackConfig
from ASDA.core.encoder import SpectrogramEncoder

GOLDEN = Path(__file__).resolve().parents[2] / "shared" / "golden"
CASES = sorted(GOLDEN.glob("aat_blocks_*.expected.pt"))
PLACES = {"s_adapter": "after_attention", "mlp_adapter": "beside_mlp"}
METHODS = {"mlp": MlpAdapters, "spatial": SpatialAdapters}
HEAD_WIDTH = 16  # of the cases' attention


@pytest.fixture(params=CASES or [None], ids=lambda path: path and path.name.partition(".")[0])
def case(request):
    if request.param is None:
        pytest.skip(f"there is no case in {GOLDEN}")
    return torch.load(request.param, weights_only=True)


def native(name: str) -> str:
    number, part, rest = name.split(".", 2)
    return f"stack.blocks.{number}.{PLACES.get(part, part)}.{rest}"


@pytest.fixture
def encoder(case):
    tensors = {native(name): tensor for name, tensor in case["state_dict"].items()}
    D, depth = case["source"].shape[2], len(case["outputs"])
    mlp = tensors["stack.blocks.0.mlp.fc1.weight"].shape[0] / D
    width = next(t.shape[0] for name, t in case["state_dict"].items() if "adapter.fc1.weight" in name)
    stack = StackConfig(D, depth, D // HEAD_WIDTH, mlp, Plain(), "pre", norm_first=False, norm_last=False)
    encoder = SpectrogramEncoder(EncoderConfig(stack, max_rows=4))
    adapt(encoder, [METHODS[kind](None if width == D // 4 else width) for kind in case["kinds"]])
    load_tensors(encoder, {**encoder.state_dict(), **tensors}, split_added(tensors)[1])
    return encoder


def test_golden__outputs_and_gradients(case, encoder):
    outputs = [output for output, _ in encoder.layers(case["source"])]
    for output, expected in zip(outputs, case["outputs"], strict=True):
        torch.testing.assert_close(output, expected, rtol=0, atol=1e-5)
    (outputs[-1] * case["loss_weights"]).sum().backward()
    found = {name: p.grad for name, p in encoder.named_parameters() if p.grad is not None}
    assert found.keys() == {native(name) for name in case["grads"]}
    for name, gradient in case["grads"].items():
        torch.testing.assert_close(found[native(name)], gradient, rtol=1e-4, atol=1e-4)
