"""Every fast path against `benchmarks.reference`, the same step written plainly: outputs and gradients.

Tolerances, as relative errors ||fast - reference|| / ||reference||: in float64 1e-10 (layers; only rounding may
differ); in float32 1e-5 for losses and 1e-4 for gradients, as for the golden numbers; under bfloat16 autocast 0.02 and
0.05 to the float32 reference or, where that is more, 1.5 times the reference's own error in bfloat16.
"""

import pytest
import torch
from torch._dynamo.utils import counters

from ASDA.core import attention as attention_module
from ASDA.core.attention import Attention, DifferentialAttention
from ASDA.core.differential_v2 import DifferentialAttentionV2
from ASDA.core.patches import PatchGrid
from ASDA.core.places import Places, kept_indices
from ASDA.masks.inverse_block import InverseBlockMask
from ASDA.objectives.conv_decoder import ConvDecoder2d
from ASDA.objectives.losses import layer_average_target
from ASDA.objectives.self_distillation import SelfDistillation
from benchmarks import reference
from tests.architectures import make_encoder

pytestmark = pytest.mark.slow

B, M, D, H, S = 2, 3, 32, 4, 21
Q, PATCH = 8, 16


def relative_error(tensor, expected):
    return float((tensor.double() - expected.double()).norm() / expected.double().norm())


def random_weights(module, std=0.3):
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.requires_grad:
                parameter.add_(std * torch.randn(parameter.shape, generator=generator).to(parameter))
    return module


def tokens(*shape, seed=1, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def padding():
    mask = torch.zeros(B, S, dtype=torch.bool)
    mask[0, 15:] = True
    mask[1, 3:6] = True
    return mask


def output_and_gradients(function, module, x):
    """The output of ``function(x)`` and the gradients that its cosine makes, of ``x`` and of the parameters by name."""
    x = x.clone().requires_grad_()
    names, parameters = zip(*((n, p) for n, p in module.named_parameters() if p.requires_grad), strict=True)
    out = function(x)
    gradients = torch.autograd.grad(
        out.float().cos().sum() if x.dtype != torch.float64 else out.cos().sum(), (x, *parameters)
    )
    return {"output": out.detach(), "input": gradients[0], **dict(zip(names, gradients[1:], strict=True))}


def assert_same(fast, plain, tolerance):
    assert fast.keys() == plain.keys()
    for name, expected in plain.items():
        error = relative_error(fast[name], expected)
        assert error < tolerance, f"{name}: relative error {error:.2g}"


LAYERS = {
    "differential": lambda: DifferentialAttention(D, H, diff_lambda=0.3, out_scale=0.95),
    "learned": lambda: DifferentialAttention(D, H, lambda_mode="learned", lambda_init=0.4, out_scale=0.6),
    "plain": lambda: Attention(D, H),
    "lambda of each token": lambda: DifferentialAttentionV2(D, H, lambda_init=0.3),
}


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("kind", LAYERS)
def test_attention__equals_explicit_maps(kind, masked):
    layer, x, mask = random_weights(LAYERS[kind]().double()), tokens(B, S, D), padding() if masked else None
    fast = output_and_gradients(lambda t: layer(t, mask), layer, x)
    plain = output_and_gradients(lambda t: reference.attention(layer, t, mask), layer, x)
    # The learned lambda is computed in float32 in both, and its vectors' gradients arrive in it.
    assert_same(fast, plain, 1e-5 if kind == "learned" else 1e-10)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("kind", LAYERS)
def test_attention__is_one_graph_for_torch_compile(kind, masked):
    layer, x, mask = random_weights(LAYERS[kind]().double()), tokens(B, S, D), padding() if masked else None
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")  # no code is made: the graph is what counts
    expected = output_and_gradients(lambda t: layer(t, mask), layer, x)
    assert_same(output_and_gradients(lambda t: compiled(t, mask), layer, x), expected, 1e-6)
    torch._dynamo.reset()


@pytest.mark.parametrize(
    "settings",
    [
        {"diff_lambda": [0.1, 0.3, 0.7]},
        {"lambda_mode": "learned", "out_scale": None},
        {"attention": "differential_v2", "lambda_init": [0.1, 0.3, 0.7]},
    ],
    ids=["lambda of each layer", "learned", "lambda of each token"],
)
def test_blocks__share_their_compiled_code_whatever_their_lambda(settings):
    stack = make_encoder(embed_dim=D, depth=3, num_heads=H, **settings).stack
    expected = stack(tokens(B, S, D, dtype=torch.float32))
    torch._dynamo.reset()
    counters.clear()
    for block in stack.blocks:
        block.compile(dynamic=True, backend="eager")  # no code is made: the graphs are what counts
    torch.testing.assert_close(stack(tokens(B, S, D, dtype=torch.float32)), expected)
    stack(tokens(B, S + 8, D, dtype=torch.float32))
    assert counters["stats"]["unique_graphs"] == 1
    torch._dynamo.reset()


@pytest.mark.parametrize("explicit_tokens", [1024, 0], ids=["explicit", "fused"])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("kind", LAYERS)
def test_attention__bfloat16_is_as_close_as_explicit_maps(kind, masked, explicit_tokens, monkeypatch):
    monkeypatch.setattr(attention_module, "_EXPLICIT_MAP_TOKENS", explicit_tokens)
    layer, mask = random_weights(LAYERS[kind](), std=0.1), padding() if masked else None
    x = tokens(B, S, D, dtype=torch.float32)
    exact = output_and_gradients(lambda t: reference.attention(layer, t, mask), layer, x)
    with torch.autocast("cpu", torch.bfloat16):
        fast = output_and_gradients(lambda t: layer(t, mask), layer, x)
        plain = output_and_gradients(lambda t: reference.attention(layer, t, mask), layer, x)
    for name, expected in exact.items():
        error, plain_error = relative_error(fast[name], expected), relative_error(plain[name], expected)
        assert error < (0.02 if name == "output" else 0.05) or error < 1.5 * plain_error, (name, error, plain_error)


@pytest.mark.parametrize("options", [{}, {"decoder_dim": 48}, {"residual": False}])
def test_decoder__equals_transposing_around_each_norm(options):
    decoder = random_weights(ConvDecoder2d(D, **({"decoder_dim": D, "num_layers": 3, "groups": 4} | options)).double())
    x, grid = tokens(B, 5 * Q, D), PatchGrid(5, Q)
    plain = output_and_gradients(lambda t: reference.decode(decoder, t, grid), decoder, x)
    assert_same(output_and_gradients(lambda t: decoder.decode(t, grid), decoder, x), plain, 1e-10)


def test_decoder__predicts_chosen_places_as_it_predicts_all():
    decoder = random_weights(ConvDecoder2d(D, decoder_dim=D, num_layers=2, groups=4).double())
    x, grid, hidden = tokens(B, 5 * Q, D), PatchGrid(5, Q), tokens(B, 5 * Q) > 0
    places = hidden.flatten().nonzero()[:, 0]
    plain = output_and_gradients(lambda t: reference.decode(decoder, t, grid)[hidden], decoder, x)
    assert_same(output_and_gradients(lambda t: decoder.decode(t, grid, places), decoder, x), plain, 1e-10)


def test_fill__equals_sorting_kept_and_filled_places():
    mask = InverseBlockMask((6, Q), B * M)(torch.Generator().manual_seed(0))
    places = Places.of(mask, B)
    x = tokens(B * M, places.kept.shape[1], D).requires_grad_()
    decoder = ConvDecoder2d(D, decoder_dim=D, num_layers=1, groups=1, mask_noise_std=0.0)
    fast, plain = decoder.fill(x, places, PatchGrid(6, Q)), reference.fill_grid(x, mask, 0.0)
    assert torch.equal(fast, plain)
    assert torch.equal(*(torch.autograd.grad(out.cos().sum(), x)[0] for out in (fast, plain)))


def test_students__equal_full_length_copies():
    encoder = random_weights(make_encoder(embed_dim=D, depth=2, num_heads=H, max_rows=16).double(), std=0.1)
    x, mask = tokens(B, 1, 160, Q * PATCH), InverseBlockMask((10, Q), B * M)(torch.Generator().manual_seed(0))
    plain = output_and_gradients(lambda t: reference.encode(encoder, t, mask)[0], encoder, x)
    assert_same(output_and_gradients(lambda t: encoder.features(t, kept=kept_indices(mask)), encoder, x), plain, 1e-10)


def test_target__equals_norms_layer_by_layer():
    model = objective()
    x = tokens(B, 1, 160, Q * PATCH, dtype=torch.float32)
    assert relative_error(model.target(x), reference.teacher_target(model, x)) < 1e-5


def test_target__of_bfloat16_layers_is_summed_in_float32():
    layers = [tokens(B, 40, D, seed=n, dtype=torch.float32) * 10.0**n + n for n in range(3)]
    expected = layer_average_target([layer.bfloat16().float() for layer in layers])
    assert torch.equal(layer_average_target([layer.bfloat16() for layer in layers]), expected)


def test_teacher__update_equals_a_loop_over_parameters():
    teachers = [objective().teacher for _ in range(2)]
    student = random_weights(objective().encoder)
    for update in (1, 2, 70_000):
        teachers[0].update(student, update)
        reference.update_teacher(teachers[1], student, update)
    plain = dict(teachers[1].encoder.named_parameters())
    for name, parameter in teachers[0].encoder.named_parameters():
        torch.testing.assert_close(parameter, plain[name], rtol=0, atol=1e-6, msg=name)


@pytest.mark.parametrize("grid", [(64, 8), (13, 8)])
def test_masks__keep_each_place_as_often_as_loops_do(grid):
    draws = 800
    sampler = InverseBlockMask(grid, draws)
    fast = sampler(torch.Generator().manual_seed(0)).float().mean(0)
    plain = reference.sample_masks(sampler, torch.Generator().manual_seed(1)).float().mean(0)
    # Both are means of `draws` coins of about 0.8: the difference has a standard deviation of 0.02.
    deviation = (2 * 0.8 * 0.2 / draws) ** 0.5
    assert (fast - plain).abs().max() < 5 * deviation
    assert (fast - plain).square().mean().sqrt() < 1.2 * deviation


# -- the whole step


def objective(encoder=None, **options):
    torch.manual_seed(0)
    arguments = {"embed_dim": D, "depth": 2, "num_heads": H, "max_rows": 64} | (encoder or {})
    model = SelfDistillation(
        make_encoder(**arguments),
        ConvDecoder2d(
            D,
            decoder_dim=D,
            num_layers=2,
            groups=4,
            mask_noise_std=0.0,
            checkpoint_activations=arguments.get("checkpoint_activations", False),
        ),
        **({"average_top_k_layers": 2} | options),
    )
    random_weights(model, std=0.05)
    model.teacher.encoder.load_state_dict(random_weights(make_encoder(**arguments), std=0.05).state_dict())
    return model


def batch(frames=208):
    mask = InverseBlockMask((frames // PATCH, Q), B * M)(torch.Generator().manual_seed(2))
    return tokens(B, 1, frames, Q * PATCH, dtype=torch.float32), mask


def losses_and_gradients(function, model, frames=208):
    """Losses and statistics of a step, and the gradients of the mean loss by parameter."""
    out = function(*batch(frames))
    named = {name: p for name, p in model.named_parameters() if p.requires_grad}
    loss = (out.terms["frame"] + out.terms["utterance"]) / out.sample_size
    gradients = dict(zip(named, torch.autograd.grad(loss, named.values()), strict=True))
    values = {name: value.detach() for name, value in {**out.terms, **out.statistics}.items()}
    return values, gradients


@pytest.mark.parametrize(
    "encoder",
    [
        {},
        {"attention": "plain"},
        {"lambda_mode": "learned", "out_scale": None},
        {"checkpoint_activations": True},
        {"diff_lambda": [0.1, 0.6]},
        {"attention": "differential_v2"},
    ],
    ids=["differential", "plain", "learned", "checkpointed", "lambda of each layer", "lambda of each token"],
)
@pytest.mark.parametrize("frames", [208, 512])
def test_step__equals_the_plain_step(frames, encoder):
    model = objective(encoder)
    plain = losses_and_gradients(lambda x, mask: reference.losses(model, x, mask), model, frames)
    fast = losses_and_gradients(model, model, frames)
    assert_same(fast[0], plain[0], 1e-5)
    assert_same(fast[1], plain[1], 1e-4)


@pytest.mark.parametrize(
    "encoder", [{}, {"attention": "plain"}, {"checkpoint_activations": True}, {"attention": "differential_v2"}]
)
def test_step__under_bfloat16_autocast_stays_close_to_the_plain_float32_step(encoder):
    model = objective(encoder)
    exact = losses_and_gradients(lambda x, mask: reference.losses(model, x, mask), model)
    with torch.autocast("cpu", torch.bfloat16):
        plain = losses_and_gradients(lambda x, mask: reference.losses(model, x, mask), model)
        fast = losses_and_gradients(model, model)
    assert_same(fast[0], exact[0], 0.02)
    for name, expected in exact[1].items():
        error, plain_error = relative_error(fast[1][name], expected), relative_error(plain[1][name], expected)
        assert error < 0.05 or error < 1.5 * plain_error, (name, error, plain_error)


@pytest.mark.long
def test_step__compiled_equals_eager_and_compiles_once_for_all_clip_lengths():
    lengths = (512, 208, 320, 400, 256, 304)
    model = objective()
    names = list(model.state_dict())
    eager = [losses_and_gradients(model, model, frames) for frames in lengths]
    torch._dynamo.reset()
    counters.clear()
    model.compile_layers(dynamic=True)
    graphs = []
    for frames, expected in zip(lengths, eager, strict=True):
        compiled = losses_and_gradients(model, model, frames)
        assert_same(compiled[0], expected[0], 1e-5)
        assert_same(compiled[1], expected[1], 1e-4)
        graphs.append(counters["stats"]["unique_graphs"])
    assert graphs[0] > 0
    # The second length may show what varies; the third and later ones must find everything compiled.
    assert set(graphs[1:]) == {graphs[1]}, graphs
    assert graphs[1] <= 2 * graphs[0]
    assert list(model.state_dict()) == names
    torch._dynamo.reset()
