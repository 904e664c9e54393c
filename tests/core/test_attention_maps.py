"""The attention that is shown is the attention that is used."""

import pytest
import torch

from ASDA.core.attention_maps import attention_maps, rollout
from ASDA.core.patches import patch_padding_mask
from tests.architectures import make_encoder

ENCODERS = {
    "differential": {},
    "plain": {"attention": "plain"},
    "pre-norm": {"attention": "plain", "norm": "pre", "norm_last": True},
    "no prefix": {"num_prefix_tokens": 0},
    "two prefix tokens": {"attention": "plain", "num_prefix_tokens": 2},
}


@pytest.fixture(params=ENCODERS.values(), ids=ENCODERS)
def encoder(request):
    torch.manual_seed(0)
    return make_encoder(embed_dim=32, depth=3, num_heads=4, max_rows=8, **request.param).eval()


@pytest.fixture
def spectrogram():
    return torch.randn(2, 1, 64, 128, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("padded", [False, True])
def test_attention_maps__times_the_values_are_what_the_layers_give(encoder, spectrogram, padded):
    mask = patch_padding_mask(torch.tensor([64, 20]), 64, encoder.config.patches, encoder.config.columns)
    mask = mask if padded else None
    inputs, outputs = [], []

    def note(_, args, out) -> None:
        inputs.append(args[0])
        outputs.append(out)

    for block in encoder.stack.blocks:
        block.attn.register_forward_hook(note)
    layers = attention_maps(encoder, spectrogram, mask)
    assert len(layers) == 3
    for block, layer, x, used in zip(encoder.stack.blocks, layers, inputs, outputs, strict=True):
        attention = block.attn
        B, S, D = x.shape
        values = attention.v(x) if hasattr(attention, "v") else attention.qkv(x)[..., 2 * D :]
        heads = values.view(B, S, 4, D // 4).transpose(1, 2)
        out = (layer.weights @ heads).transpose(1, 2).flatten(2)
        if hasattr(attention, "norm"):
            out = attention.norm(out) * attention.out_scale
        torch.testing.assert_close(attention.proj(out), used, rtol=0, atol=1e-5)


def test_attention_maps__leave_no_hooks_and_need_no_gradient(encoder, spectrogram):
    layers = attention_maps(encoder, spectrogram)
    assert not any(block.attn._forward_pre_hooks for block in encoder.stack.blocks)
    assert not layers[0].maps.requires_grad


def test_rollout__rows_sum_to_one_and_a_single_layer_is_half_itself(encoder, spectrogram):
    layers = attention_maps(encoder, spectrogram)
    whole = rollout(layers)
    torch.testing.assert_close(whole.sum(dim=-1), torch.ones(whole.shape[:2]), rtol=0, atol=1e-5)
    size = layers[0].weights.abs().mean(dim=1)
    expected = 0.5 * size / size.sum(dim=-1, keepdim=True) + 0.5 * torch.eye(size.shape[-1])
    torch.testing.assert_close(rollout(layers[:1]), expected, rtol=0, atol=1e-6)
