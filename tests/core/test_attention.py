import math

import pytest
import torch

from ASDA.core import attention
from ASDA.core.attention import Attention, DifferentialAttention, depth_lambda_init
from ASDA.core.config import DifferentialV2, StackConfig
from ASDA.core.differential_v2 import DifferentialAttentionV2
from ASDA.core.stack import TransformerStack

B, S, D, H = 2, 5, 12, 3
E = D // H


def randomised(layer, seed=0):
    """The layer in float64 with every weight, bias and affine part random, so that none can be left out unnoticed."""
    generator = torch.Generator().manual_seed(seed)
    layer = layer.double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return layer


def tokens(seed=1, rows=B, length=S, width=D):
    return torch.randn(rows, length, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def padding():
    return torch.tensor([[False, False, True, False, True], [False] * S])


def linear(row, layer):
    weight, bias = layer.weight.tolist(), layer.bias.tolist()
    return [
        sum(w * float(x) for w, x in zip(weights, row, strict=True)) + b
        for weights, b in zip(weight, bias, strict=True)
    ]


def naive_map(queries, keys, padded):
    """softmax(q k^T / sqrt(E)) of one head by loops; a padded key gets no weight at all."""
    attention = []
    for q in queries:
        weights = [
            0.0 if hidden else math.exp(sum(a * b for a, b in zip(q, k, strict=True)) / math.sqrt(len(q)))
            for k, hidden in zip(keys, padded, strict=True)
        ]
        attention.append([w / sum(weights) for w in weights])
    return attention


def naive_mix(attention, values):
    return [
        [sum(a * v[e] for a, v in zip(row, values, strict=True)) for e in range(len(values[0]))] for row in attention
    ]


def naive_layer_norm(row, norm):
    mean = sum(row) / len(row)
    variance = sum((x - mean) ** 2 for x in row) / len(row)
    affine = zip(norm.weight.tolist(), norm.bias.tolist(), strict=True)
    return [(x - mean) / math.sqrt(variance + 1e-5) * w + b for x, (w, b) in zip(row, affine, strict=True)]


def naive_differential(layer, x, padded, coefficient, out_scale):
    """ASDA, section 2: o = softmax(q1 k1^T / sqrt(E)) v - lambda softmax(q2 k2^T / sqrt(E)) v, norm, scale, project."""
    out = []
    for clip, hidden in zip(x, padded, strict=True):
        projected = [linear(row, layer.qk) for row in clip]
        q1, q2, k1, k2 = ([row[part * D : (part + 1) * D] for row in projected] for part in range(4))
        v = [linear(row, layer.v) for row in clip]
        merged = [[] for _ in range(S)]
        for h in range(H):
            head = slice(h * E, (h + 1) * E)
            values = [row[head] for row in v]
            first = naive_mix(naive_map([r[head] for r in q1], [r[head] for r in k1], hidden), values)
            second = naive_mix(naive_map([r[head] for r in q2], [r[head] for r in k2], hidden), values)
            for s in range(S):
                merged[s] += [a - coefficient * b for a, b in zip(first[s], second[s], strict=True)]
        out.append([linear([out_scale * y for y in naive_layer_norm(row, layer.norm)], layer.proj) for row in merged])
    return torch.tensor(out, dtype=torch.float64)


def naive_plain(layer, x, padded):
    out = []
    for clip, hidden in zip(x, padded, strict=True):
        projected = [linear(row, layer.qkv) for row in clip]
        merged = [[] for _ in range(S)]
        for h in range(H):
            q, k, v = ([r[part * D + h * E : part * D + (h + 1) * E] for r in projected] for part in range(3))
            for s, row in enumerate(naive_mix(naive_map(q, k, hidden), v)):
                merged[s] += row
        out.append([linear(row, layer.proj) for row in merged])
    return torch.tensor(out, dtype=torch.float64)


def naive_differential_v2(layer, x, padded, lambda_init):
    """Differential Transformer V2: o = softmax(q1 k^T / sqrt(E)) v - lambda softmax(q2 k^T / sqrt(E)) v, project.

    Both maps look at the same keys; lambda is of the token that asks and of the head.
    """
    out = []
    for clip, hidden in zip(x, padded, strict=True):
        queries, keys_values = ([linear(row, part) for row in clip] for part in (layer.q, layer.kv))
        logits = [linear(row, layer.lambda_proj) for row in clip]
        merged = [[] for _ in range(S)]
        for h in range(H):
            q1, q2, k, v = (
                [row[part * D + h * E : part * D + (h + 1) * E] for row in rows]
                for rows in (queries, keys_values)
                for part in (0, 1)
            )
            first, second = (naive_mix(naive_map(q, k, hidden), v) for q in (q1, q2))
            for s in range(S):
                odds = math.exp(logits[s][h]) * lambda_init / (1 - lambda_init)  # of the sigmoid
                merged[s] += [a - odds / (1 + odds) * b for a, b in zip(first[s], second[s], strict=True)]
        out.append([linear(row, layer.proj) for row in merged])
    return torch.tensor(out, dtype=torch.float64)


LAYERS = {"plain": Attention, "differential": DifferentialAttention, "differential_v2": DifferentialAttentionV2}


def make(kind, **options):
    return randomised(LAYERS[kind](D, H, **options))


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(("coefficient", "out_scale"), [(0.1, 0.95), (0.3, 0.95), (1.0, 0.2), (0.0, 0.95)])
def test_differential_attention__equals_loops(coefficient, out_scale, masked):
    layer = make("differential", diff_lambda=coefficient, out_scale=out_scale)
    mask = padding() if masked else None
    expected = naive_differential(
        layer, tokens(), (padding() if masked else ~padding() & False), coefficient, out_scale
    )
    torch.testing.assert_close(layer(tokens(), mask), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("masked", [False, True])
def test_attention__equals_loops(masked):
    layer = make("plain")
    mask = padding() if masked else None
    expected = naive_plain(layer, tokens(), (padding() if masked else ~padding() & False))
    torch.testing.assert_close(layer(tokens(), mask), expected, rtol=1e-9, atol=1e-9)


def test_differential_attention__norm_has_eps_1e_5():
    layer = make("differential")
    x = tokens() * 1e-3  # tiny tokens without biases: the variance is of the size of eps
    with torch.no_grad():
        layer.v.bias.zero_()
    expected = naive_differential(layer, x, ~padding() & False, 0.3, 0.95)
    torch.testing.assert_close(layer(x), expected, rtol=1e-9, atol=1e-9)


def test_differential_attention__learned_lambda_equals_its_formula():
    layer = make("differential", lambda_mode="learned", lambda_init=0.35, out_scale=0.65)
    exponents = [
        sum(a * b for a, b in zip(q.tolist(), k.tolist(), strict=True))
        for q, k in [(layer.lambda_q1, layer.lambda_k1), (layer.lambda_q2, layer.lambda_k2)]
    ]
    coefficient = math.exp(exponents[0]) - math.exp(exponents[1]) + 0.35
    assert abs(coefficient - 0.35) > 0.05  # the vectors matter in this test
    assert layer.current_lambda().item() == pytest.approx(coefficient, rel=1e-6)
    expected = naive_differential(layer, tokens(), padding(), coefficient, 0.65)
    torch.testing.assert_close(layer(tokens(), padding()), expected, rtol=1e-5, atol=1e-6)


def test_differential_attention__learned_lambda_gets_gradients():
    layer = make("differential", lambda_mode="learned")
    layer(tokens()).square().sum().backward()
    for vector in (layer.lambda_q1, layer.lambda_k1, layer.lambda_q2, layer.lambda_k2):
        assert vector.shape == (E,)
        assert vector.grad.abs().max() > 0


def test_differential_attention__lambda_vectors_start_as_normal_0_1():
    torch.manual_seed(0)
    layer = DifferentialAttention(512, 1, lambda_mode="learned")
    vectors = torch.cat([layer.lambda_q1, layer.lambda_k1, layer.lambda_q2, layer.lambda_k2])
    assert vectors.numel() == 4 * 512
    # Standard errors: 0.1 / sqrt(2048) = 0.0022 of the mean, 0.1 / sqrt(4096) = 0.0016 of the deviation.
    assert abs(vectors.mean().item()) < 0.009
    assert abs(vectors.std().item() - 0.1) < 0.0065


def test_differential_attention__fixed_lambda_is_no_parameter():
    names = {name for name, _ in DifferentialAttention(D, H).named_parameters()}
    assert names == {f"{module}.{kind}" for module in ("qk", "v", "norm", "proj") for kind in ("weight", "bias")}


@pytest.mark.parametrize("zero", [0, 0.0])
def test_differential_attention__lambda_zero_does_not_compute_the_second_map(zero):
    layer = make("differential", diff_lambda=zero)
    expected = layer(tokens(), padding()).detach()
    with torch.no_grad():  # what would be multiplied by zero were it computed, becomes not-a-number
        for part in (1, 3):  # q2, k2
            layer.qk.weight[part * D : (part + 1) * D] = float("nan")
    assert torch.equal(layer(tokens(), padding()), expected)


def test_differential_attention__lambda_zero_is_bit_equal_to_one_softmax_map():
    layer = make("differential", diff_lambda=0.0).float()
    x = tokens().float()
    q1, _, k1, _ = layer.qk(x).split(D, dim=-1)
    q, k, v = (y.unflatten(-1, (H, E)).transpose(1, 2) for y in (q1, k1, layer.v(x)))
    merged = torch.nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
    assert torch.equal(layer(x), layer.proj(layer.norm(merged) * layer.out_scale))


@pytest.mark.parametrize("masked", [False, True])
def test_differential_attention__forward_agrees_with_attention_maps(masked):
    layer = make("differential", diff_lambda=0.3)
    mask = padding() if masked else None
    maps = layer.attention_maps(tokens(), mask)
    assert maps.shape == (B, 2, H, S, S)
    values = layer.v(tokens()).float().unflatten(-1, (H, E)).transpose(1, 2)
    heads = (maps[:, 0] - 0.3 * maps[:, 1]) @ values
    merged = heads.transpose(1, 2).flatten(2).double()
    expected = layer.proj(layer.norm(merged) * layer.out_scale)
    torch.testing.assert_close(layer(tokens(), mask), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("masked", [False, True])
def test_attention__forward_agrees_with_attention_maps(masked):
    layer = make("plain")
    mask = padding() if masked else None
    maps = layer.attention_maps(tokens(), mask)
    assert maps.shape == (B, 1, H, S, S)
    values = layer.qkv(tokens())[..., 2 * D :].float().unflatten(-1, (H, E)).transpose(1, 2)
    expected = layer.proj((maps[:, 0] @ values).transpose(1, 2).flatten(2).double())
    torch.testing.assert_close(layer(tokens(), mask), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("lambda_init", [0.5, 0.3])
def test_differential_attention_v2__equals_loops(lambda_init, masked):
    layer = make("differential_v2", lambda_init=lambda_init)
    mask = padding() if masked else None
    expected = naive_differential_v2(layer, tokens(), (padding() if masked else ~padding() & False), lambda_init)
    torch.testing.assert_close(layer(tokens(), mask), expected, rtol=1e-9, atol=1e-9)


def test_differential_attention_v2__tokens_and_heads_have_their_own_lambda_between_0_and_1():
    coefficients = make("differential_v2").current_lambda(tokens())
    assert coefficients.shape == (B, H, S) and len(coefficients.unique()) == B * H * S
    assert ((coefficients > 0) & (coefficients < 1)).all()


@pytest.mark.parametrize(("layers", "starts"), [(None, (0.5, 0.5)), (0.3, (0.3, 0.3)), ([0.2, 0.8], (0.2, 0.8))])
def test_differential_attention_v2__lambda_begins_near_lambda_init(layers, starts):
    torch.manual_seed(0)
    stack = TransformerStack(StackConfig(64, 2, 4, attention=DifferentialV2(layers)))
    x = torch.nn.functional.layer_norm(tokens(rows=40, width=64).float(), (64,))
    for block, start in zip(stack.blocks, starts, strict=True):
        drawn = block.attn.current_lambda(x)
        # The logit of a token of unit variance has a deviation of 0.02 * sqrt(64) = 0.16, of lambda at most a quarter.
        assert abs(drawn.mean().item() - start) < 0.02 and 0.01 < drawn.std().item() < 0.06


def test_differential_attention_v2__has_no_norm_and_its_lambda_gets_gradients():
    layer = make("differential_v2")
    assert {name for name, _ in layer.named_parameters()} == {
        f"{module}.{kind}" for module in ("q", "kv", "lambda_proj", "proj") for kind in ("weight", "bias")
    }
    layer(tokens()).square().sum().backward()
    assert all(p.grad.abs().max() > 0 for p in layer.parameters())


@pytest.mark.parametrize("masked", [False, True])
def test_differential_attention_v2__forward_agrees_with_attention_maps(masked):
    layer = make("differential_v2", lambda_init=0.3)
    mask = padding() if masked else None
    maps = layer.attention_maps(tokens(), mask)
    assert maps.shape == (B, 2, H, S, S)
    one, minus_lambda = layer.map_coefficients(tokens())
    values = layer.kv(tokens())[..., D:].float().unflatten(-1, (H, E)).transpose(1, 2)
    heads = (one * maps[:, 0] + minus_lambda[..., None] * maps[:, 1]) @ values
    expected = layer.proj(heads.transpose(1, 2).flatten(2).double())
    torch.testing.assert_close(layer(tokens(), mask), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("lambda_init", [0, 1, -0.1, float("nan")])
def test_differential_attention_v2__rejects_what_no_sigmoid_reaches(lambda_init):
    with pytest.raises(ValueError, match=r"lambda_init \(.*\) must be between 0 and 1"):
        DifferentialAttentionV2(D, H, lambda_init=lambda_init)


@pytest.mark.parametrize("kind", LAYERS)
def test_attention_maps__are_distributions_over_the_real_tokens(kind):
    maps = make(kind).attention_maps(tokens(), padding())
    torch.testing.assert_close(maps.sum(-1), torch.ones_like(maps[..., 0]))
    assert torch.equal(maps == 0, padding()[:, None, None, None, :].expand_as(maps))


@pytest.mark.parametrize("kind", LAYERS)
def test_attention__padded_tokens_leave_the_others_as_without_them(kind):
    layer = make(kind)
    kept = ~padding()[0]
    expected = layer(tokens()[:1, kept])
    torch.testing.assert_close(layer(tokens()[:1], padding()[:1])[:, kept], expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", LAYERS)
def test_attention__is_equivariant_to_the_order_of_tokens(kind):
    layer = make(kind)
    order = torch.tensor([3, 0, 4, 1, 2])
    torch.testing.assert_close(layer(tokens()[:, order]), layer(tokens())[:, order], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("masked", [False, True])
def test_attend__bfloat16_on_a_processor_with_tiles_is_fused_where_nobody_trains(monkeypatch, masked):
    q, k, v = torch.randn(3, 2, 4, 9, 16, generator=torch.Generator().manual_seed(0)).bfloat16()
    mask = torch.arange(9) >= torch.tensor([[9], [5]]) if masked else None
    expected = attention.attend(q.float(), k.float(), v.float(), mask, 0.0)
    fused = []
    of_torch = attention.F.scaled_dot_product_attention
    monkeypatch.setattr(
        attention.F, "scaled_dot_product_attention", lambda *a, **o: fused.append(1) or of_torch(*a, **o)
    )
    for tiles in (False, True):
        monkeypatch.setattr(attention, "_multiplies_tiles", lambda tiles=tiles: tiles)
        for without_gradients in (torch.enable_grad, torch.no_grad, torch.inference_mode):
            before = len(fused)
            with without_gradients():
                found = attention.attend(q, k, v, mask, 0.0)
            torch.testing.assert_close(found.float(), expected, atol=2e-2, rtol=2e-2)
            assert len(fused) - before == (tiles and without_gradients is torch.inference_mode)


@pytest.mark.parametrize("kind", LAYERS)
def test_attention__dropout_zero_is_the_identity(kind):
    layer = make(kind, attention_dropout=0.0, projection_dropout=0.0)
    assert torch.equal(layer.train()(tokens()), layer.eval()(tokens()))


@pytest.mark.parametrize("option", ["attention_dropout", "projection_dropout"])
@pytest.mark.parametrize("kind", LAYERS)
def test_attention__dropout_acts_in_training_only(kind, option):
    layer = make(kind, **{option: 0.5})
    torch.manual_seed(0)
    assert torch.equal(layer.eval()(tokens()), make(kind).eval()(tokens()))
    assert not torch.allclose(layer.train()(tokens()), layer.eval()(tokens()))


def test_attention__dropout_on_the_map_keeps_the_mean():
    layer = make("plain", attention_dropout=0.4).float().train()
    torch.manual_seed(0)
    draws = layer(tokens(rows=1).float().expand(20_000, -1, -1))
    error = (draws.mean(0) - layer.eval()(tokens(rows=1).float())[0]).abs()
    assert (error < 5 * draws.std(0) / 20_000**0.5).all()


def test_differential_attention__dropout_acts_on_both_maps():
    # With every entry dropped both maps vanish: what is left is the norm's bias.
    layer = make("differential", attention_dropout=1.0 - 1e-9).train()
    torch.manual_seed(0)
    expected = layer.proj(layer.norm.bias * layer.out_scale).expand(B, S, D)
    torch.testing.assert_close(layer(tokens()), expected)


@pytest.mark.parametrize("kind", LAYERS)
def test_attention__projection_dropout_drops_its_share(kind):
    layer = make(kind, projection_dropout=0.3).train()
    torch.manual_seed(0)
    share = (layer(tokens(rows=400)) == 0).double().mean().item()
    assert abs(share - 0.3) < 5 * math.sqrt(0.3 * 0.7 / (400 * S * D))


@pytest.mark.parametrize("layer", LAYERS.values())
def test_attention__rejects_heads_that_do_not_divide_the_width(layer):
    with pytest.raises(ValueError, match=r"num_heads \(12\) must divide embed_dim \(100\)"):
        layer(100, 12)


def test_differential_attention__rejects_an_unknown_lambda_mode():
    with pytest.raises(ValueError, match='lambda_mode "constant" is not one of fixed, learned'):
        DifferentialAttention(D, H, lambda_mode="constant")


@pytest.mark.parametrize(("layer", "value"), [(1, 0.2), (2, 0.3555090676), (12, 0.7778700996)])
def test_depth_lambda_init__grows_with_the_depth(layer, value):
    assert depth_lambda_init(layer) == pytest.approx(value, abs=1e-9)
