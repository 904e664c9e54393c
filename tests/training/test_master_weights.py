"""Float32 weights beside half-precision ones: taken, saved safely, given back."""

from types import SimpleNamespace

import pytest
import torch

from ASDA.training.master_weights import master_state, restore_master_state


def optimizer(seed: int, scaler: bool = True):
    """What matters here of fairseq's optimisers for half precision."""
    generator = torch.Generator().manual_seed(seed)
    weights = [torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in ((3, 2), (3,))]
    loss_scaler = SimpleNamespace(loss_scale=2.0**seed, _iter=seed, threshold=None)
    return SimpleNamespace(fp32_params=weights, scaler=loss_scaler if scaler else None)


def test_master_state__survives_a_safe_file_and_comes_back_bit_for_bit(tmp_path):
    torch.save(master_state(optimizer(1)), tmp_path / "state.pt")
    other = optimizer(2)
    restore_master_state(other, torch.load(tmp_path / "state.pt", weights_only=True))
    assert all(torch.equal(a, b) for a, b in zip(other.fp32_params, optimizer(1).fp32_params, strict=True))
    assert vars(other.scaler) == vars(optimizer(1).scaler)


def test_master_state__is_a_copy():
    own = optimizer(1)
    state = master_state(own)
    with torch.no_grad():
        own.fp32_params[0].zero_()
    assert state["master_weights"][0].abs().sum() > 0


def test_master_state__of_bf16_has_no_loss_scale():
    state = master_state(optimizer(1, scaler=False))
    restore_master_state(optimizer(2, scaler=False), state)
    assert state["loss_scaler"] == {}


def test_float32_optimizer__has_none_and_takes_none():
    plain = SimpleNamespace()
    assert master_state(plain) == {}
    restore_master_state(plain, master_state(optimizer(1)))
    restore_master_state(optimizer(1), {})


def test_restore__refuses_weights_of_another_model():
    state = master_state(optimizer(1))
    state["master_weights"].pop()
    with pytest.raises(ValueError, match="has 1 float32 weights .* optimiser's 2"):
        restore_master_state(optimizer(2), state)
