"""LayerNorm: torch's, in the precision of its input, on a GPU under autocast as well (seen without one)."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F

from ASDA.core.layer_norm import LayerNorm, layer_norm


@pytest.mark.parametrize("affine", [True, False])
def test_layer_norm__is_torchs(affine):
    x = torch.randn(4, 16)
    weight, bias = (torch.randn(16), torch.randn(16)) if affine else (None, None)
    assert torch.equal(layer_norm(x, weight, bias, 1e-6), F.layer_norm(x, (16,), weight, bias, 1e-6))


@pytest.fixture
def autocast_on_a_gpu():
    """As torch.autocast("cuda", torch.bfloat16) does where there is one."""
    torch.set_autocast_enabled("cuda", True)
    torch.set_autocast_dtype("cuda", torch.bfloat16)
    yield
    torch.set_autocast_enabled("cuda", False)
    torch.set_autocast_dtype("cuda", torch.float16)


@pytest.mark.usefixtures("autocast_on_a_gpu")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_layer_norm__under_autocast_keeps_the_precision_of_its_input(device, dtype):
    with FakeTensorMode(), torch.autocast("cpu", torch.bfloat16):
        x = torch.empty(4, 16, dtype=dtype, device=device)
        own = LayerNorm(16, device=device)
        assert own(x).dtype == layer_norm(x).dtype == dtype
        if device == "cuda" and dtype == torch.bfloat16:
            assert F.layer_norm(x, (16,)).dtype == torch.float32  # what torch does by itself
