import math

import pytest
import torch
from torch import nn

from ASDA.core.attention import Attention
from ASDA.core.block import DropPath, Mlp, PostNormBlock, PreNormBlock, draws_numbers

B, S, D = 2, 3, 6


class HalfTurn(nn.Module):
    """Stands in for attention: mixes the tokens in a way that loops can follow, and keeps the mask it was given."""

    def forward(self, x, padding_mask):
        self.padding_mask = padding_mask
        return 0.7 * x.flip(1) - 0.2


def randomised(module):
    generator = torch.Generator().manual_seed(0)
    module = module.double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return module


def tokens(rows=B):
    return torch.randn(rows, S, D, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def naive_norm(row, norm, eps):
    mean = sum(row) / len(row)
    variance = sum((x - mean) ** 2 for x in row) / len(row)
    affine = zip(norm.weight.tolist(), norm.bias.tolist(), strict=True)
    return [(x - mean) / math.sqrt(variance + eps) * w + b for x, (w, b) in zip(row, affine, strict=True)]


def naive_mlp(row, mlp):
    def linear(values, layer):
        weight, bias = layer.weight.tolist(), layer.bias.tolist()
        return [
            sum(w * v for w, v in zip(weights, values, strict=True)) + b
            for weights, b in zip(weight, bias, strict=True)
        ]

    hidden = [h * 0.5 * (1.0 + math.erf(h / math.sqrt(2.0))) for h in linear(row, mlp.fc1)]  # exact GELU
    return linear(hidden, mlp.fc2)


@pytest.mark.parametrize("scale", [1.0, 1e-3])  # small tokens show which eps is used
def test_block__is_post_norm_and_hands_out_the_mlp_output(scale):
    block = randomised(PostNormBlock(HalfTurn(), D, 2 * D))
    x = scale * tokens()
    out, target = block(x)
    attended = block.attn(x, None)
    for b in range(B):
        for s in range(S):
            first = naive_norm((x[b, s] + attended[b, s]).tolist(), block.norm1, 1e-6)
            m = naive_mlp(first, block.mlp)
            second = naive_norm([a + c for a, c in zip(first, m, strict=True)], block.norm2, 1e-6)
            torch.testing.assert_close(target[b, s], torch.tensor(m, dtype=torch.float64), rtol=1e-10, atol=1e-10)
            torch.testing.assert_close(out[b, s], torch.tensor(second, dtype=torch.float64), rtol=1e-10, atol=1e-10)


def test_pre_norm_block__normalises_before_and_hands_out_the_mlp_output():
    block, x = randomised(PreNormBlock(HalfTurn(), D, 2 * D)), tokens()
    out, target = block(x)
    normalised = torch.tensor([[naive_norm(row.tolist(), block.norm1, 1e-6) for row in clip] for clip in x])
    attended = x + block.attn(normalised.double(), None)
    for b in range(B):
        for s in range(S):
            m = torch.tensor(naive_mlp(naive_norm(attended[b, s].tolist(), block.norm2, 1e-6), block.mlp)).double()
            torch.testing.assert_close(target[b, s], m, rtol=1e-6, atol=1e-6)
            torch.testing.assert_close(out[b, s], attended[b, s] + m, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", [PostNormBlock, PreNormBlock])
def test_block__has_two_places_for_adapters(kind):
    block, x = randomised(kind(HalfTurn(), D, 2 * D)), tokens()
    expected = block(x)
    seen = {}

    class Adapter(nn.Module):
        def __init__(self, place):
            super().__init__()
            self.place = place

        def forward(self, h):
            seen[self.place] = h
            return h if self.place == "after attention" else torch.zeros_like(h)

    block.after_attention, block.beside_mlp = Adapter("after attention"), Adapter("beside the MLP")
    for own, other in zip(block(x), expected, strict=True):
        assert torch.equal(own, other)
    first = block.norm1(x) if kind is PreNormBlock else x
    assert torch.equal(seen["after attention"], block.attn(first, None))
    assert torch.equal(block.mlp(seen["beside the MLP"]), expected[1])  # the MLP's own input
    block.beside_mlp = nn.Identity()
    added = expected[1] + seen["beside the MLP"]
    if kind is PreNormBlock:
        torch.testing.assert_close(block(x)[0], x + block.attn(first, None) + added)
    else:
        torch.testing.assert_close(block(x)[0], block.norm2(seen["beside the MLP"] + added))
    assert torch.equal(block(x)[1], expected[1])


def test_block__eps_is_that_of_both_norms():
    block = randomised(PostNormBlock(nn.Identity(), D, D, norm_eps=0.5))
    block.attn = HalfTurn()
    x = tokens()
    first = naive_norm((x + block.attn(x, None))[0, 0].tolist(), block.norm1, 0.5)
    m = naive_mlp(first, block.mlp)
    expected = naive_norm([a + c for a, c in zip(first, m, strict=True)], block.norm2, 0.5)
    torch.testing.assert_close(block(x)[0][0, 0], torch.tensor(expected, dtype=torch.float64))


def test_block__passes_the_padding_mask_to_attention():
    block = randomised(PostNormBlock(HalfTurn(), D, D))
    mask = torch.zeros(B, S, dtype=torch.bool)
    block(tokens(), mask)
    assert block.attn.padding_mask is mask


def test_block__mlp_dropout_drops_the_mlp_output():
    block = randomised(PostNormBlock(HalfTurn(), D, D, mlp_dropout=1.0)).train()
    x = tokens()
    out, target = block(x)
    assert torch.equal(target, torch.zeros_like(x))
    torch.testing.assert_close(out, block.norm2(block.norm1(x + block.attn(x, None))))


def test_block__activation_dropout_drops_the_hidden_units():
    block = randomised(PostNormBlock(HalfTurn(), D, D, activation_dropout=1.0)).train()
    assert torch.equal(block(tokens())[1], block.mlp.fc2.bias.expand(B, S, D))


def test_block__dropout_is_off_in_evaluation():
    options = {"activation_dropout": 0.9, "mlp_dropout": 0.9, "drop_path": 0.9}
    with_dropout = randomised(PostNormBlock(HalfTurn(), D, D, **options)).eval()
    without = randomised(PostNormBlock(HalfTurn(), D, D)).train()
    for a, b in zip(with_dropout(tokens()), without(tokens()), strict=True):
        assert torch.equal(a, b)


def test_block__drop_path_drops_both_branches_per_example_and_spares_the_target():
    block = randomised(PostNormBlock(HalfTurn(), D, D, drop_path=0.5)).train()
    x = tokens(rows=1).expand(4000, -1, -1)
    torch.manual_seed(0)
    out, target = block(x)
    attended = block.attn(x, None)
    counts = {}
    for keep_attention in (False, True):
        first = block.norm1(x[:1] + 2.0 * attended[:1] * keep_attention)
        m = block.mlp(first)
        for keep_mlp in (False, True):
            second = block.norm2(first + 2.0 * m * keep_mlp)
            same = torch.isclose(out, second, rtol=1e-9, atol=1e-9).flatten(1).all(1)
            counts[keep_attention, keep_mlp] = int(same.sum())
            torch.testing.assert_close(target[same], m.expand(int(same.sum()), -1, -1))
    assert sum(counts.values()) == 4000  # every example is one of the four cases
    for count in counts.values():
        assert abs(count - 1000) < 5 * math.sqrt(4000 * 0.25 * 0.75)


@pytest.mark.parametrize(("p", "training"), [(0.0, True), (0.0, False), (0.5, False)])
def test_drop_path__zero_or_evaluation_is_the_identity(p, training):
    x = tokens()
    assert DropPath(p).train(training)(x) is x


@pytest.mark.parametrize("p", [0.1, 0.6])
def test_drop_path__drops_whole_examples_and_keeps_the_mean(p):
    n = 20_000
    torch.manual_seed(0)
    y = DropPath(p).train()(torch.ones(n, 2, 3))
    assert torch.equal(y, y[:, :1, :1].expand_as(y))  # an example is dropped whole
    assert y.unique().tolist() == [0.0, pytest.approx(1.0 / (1.0 - p))]
    assert abs((y[:, 0, 0] == 0).float().mean().item() - p) < 5 * math.sqrt(p * (1 - p) / n)


@pytest.mark.parametrize("p", [-0.1, 1.0, 1.5])
def test_drop_path__rejects_what_is_no_probability(p):
    with pytest.raises(ValueError, match=rf"drop path probability must be in \[0, 1\), got {p}"):
        DropPath(p)


def test_mlp__has_the_width_it_is_given():
    mlp = Mlp(D, 21)
    assert mlp.fc1.weight.shape == (21, D)
    assert mlp.fc2.weight.shape == (D, 21)


def test_draws_numbers__is_so_with_dropout_at_any_place():
    def block(attention_dropout=0.0, **options):
        return PostNormBlock(Attention(8, 2, attention_dropout=attention_dropout), 8, 16, **options)

    assert not draws_numbers(block())
    for options in ({"drop_path": 0.1}, {"activation_dropout": 0.1}, {"mlp_dropout": 0.1}, {"attention_dropout": 0.1}):
        assert draws_numbers(block(**options)), options
    adapted = block()
    adapted.beside_mlp = torch.nn.Dropout(0.1)
    assert draws_numbers(adapted)
