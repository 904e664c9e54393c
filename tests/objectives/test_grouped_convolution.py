"""Both ways to compute a grouped convolution: the same outputs and gradients, in every precision, compiled or not."""

import math

import pytest
import torch
from torch import nn
from torch._dynamo.utils import counters

from ASDA.core.patches import PatchGrid
from ASDA.core.places import Places
from ASDA.objectives import grouped_convolution
from ASDA.objectives.conv_decoder import ConvDecoder2d
from ASDA.objectives.grouped_convolution import WAYS, convolve, measured, multiply

B, GRID = 3, PatchGrid(5, 4)


def convolution(inputs=8, outputs=12, side=3, groups=4, bias=True, dtype=torch.float64):
    torch.manual_seed(1)
    return nn.Conv2d(inputs, outputs, side, padding=side // 2, groups=groups, bias=bias).to(dtype)


def tokens(channels=8, dtype=torch.float64):
    return torch.randn(B, GRID.num_patches, channels, generator=torch.Generator().manual_seed(2)).to(dtype)


def output_and_gradients(way, conv, x):
    x = x.clone().requires_grad_()
    y = way(x, conv, GRID)
    return [y.detach(), *torch.autograd.grad(y.cos().sum(), (x, *conv.parameters()))]


@pytest.mark.parametrize(
    "shape",
    [{}, {"side": 1}, {"side": 5}, {"side": 7}, {"groups": 1}, {"inputs": 4, "groups": 4}, {"bias": False}],
    ids=str,
)
def test_multiply__is_the_convolution(shape):
    conv = convolution(**shape)
    x = tokens(conv.in_channels)
    for own, expected in zip(
        output_and_gradients(multiply, conv, x), output_and_gradients(convolve, conv, x), strict=True
    ):
        assert own.shape == expected.shape
        torch.testing.assert_close(own, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 1e-5), (torch.bfloat16, 0.02)])
def test_multiply__in_lower_precision_is_near(dtype, error):
    conv = convolution()
    expected = output_and_gradients(convolve, conv, tokens())
    conv = convolution(dtype=dtype)
    for own, other in zip(output_and_gradients(multiply, conv, tokens(dtype=dtype)), expected, strict=True):
        assert own.dtype == dtype
        assert (own.double() - other).norm() < error * other.norm()


def test_multiply__under_autocast_has_its_precision_and_float32_gradients():
    expected = output_and_gradients(convolve, convolution(), tokens())
    conv, x = convolution(dtype=torch.float32), tokens(dtype=torch.float32).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        y = multiply(x, conv, GRID)
    found = [y.detach(), *torch.autograd.grad(y.float().cos().sum(), (x, *conv.parameters()))]
    assert y.dtype == torch.bfloat16 and all(gradient.dtype == torch.float32 for gradient in found[1:])
    for own, other in zip(found, expected, strict=True):
        assert (own.double() - other).norm() < 0.02 * other.norm()


def test_multiply__keeps_its_input_and_not_what_is_around_each_place():
    conv, x, kept = convolution(), tokens().requires_grad_(), []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()) or t, lambda t: t):
        multiply(x, conv, GRID)
    assert sum(kept) <= x.numel() + 2 * conv.weight.numel()


def test_decoder__predicts_the_same_either_way_also_with_padding(monkeypatch):
    torch.manual_seed(3)
    decoder = ConvDecoder2d(8, decoder_dim=12, num_layers=3, groups=4).double()
    padding = torch.zeros(B, GRID.num_patches, dtype=torch.bool)
    padding[1, 12:] = True
    x = tokens().masked_fill(padding[..., None], 0.0)
    products, found = [], {}
    monkeypatch.setitem(WAYS, "matmul", lambda *inputs: products.append(inputs) or multiply(*inputs))
    for backend in ("conv", "matmul"):
        decoder.use(backend)
        found[backend] = decoder.decode(x, GRID, padding_mask=padding)
    assert len(products) == 3
    torch.testing.assert_close(found["conv"], found["matmul"], rtol=1e-10, atol=1e-12)


def test_decoder__of_products_is_compiled_without_a_break():
    torch.manual_seed(3)
    decoder = ConvDecoder2d(8, decoder_dim=8, num_layers=2, groups=4, mask_noise_std=0.0)
    decoder.use("matmul")
    mask = torch.zeros(B, GRID.num_patches, dtype=torch.bool)
    mask[:, ::2] = True
    places = Places.of(mask, B)
    x = torch.randn(B, GRID.num_patches // 2, 8)
    expected = decoder(x, places, GRID)
    torch._dynamo.reset()
    counters.clear()
    decoder.compile_layers(dynamic=False, fullgraph=True, backend="aot_eager")
    compiled = decoder(x, places, GRID)
    torch.testing.assert_close(compiled, expected)
    compiled.sum().backward()
    assert decoder.blocks[0][0].weight.grad is not None and not counters["graph_break"]
    torch._dynamo.reset()


def test_measured__times_each_way_and_leaves_no_gradient():
    conv = convolution(dtype=torch.float32)
    seconds = measured(conv, 2, GRID)
    assert set(seconds) == set(WAYS) and all(0 < took < 60 for took in seconds.values())
    assert all(p.grad is None for p in conv.parameters())


def test_measured__what_does_not_fit_takes_for_ever(monkeypatch):
    def too_large(*_):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(grouped_convolution, "WAYS", {"conv": convolve, "matmul": too_large})
    seconds = measured(convolution(dtype=torch.float32), 2, GRID)
    assert seconds["matmul"] == math.inf and math.isfinite(seconds["conv"])
