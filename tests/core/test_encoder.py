import json
import math
import weakref

import pytest
import torch
from torch import nn

from ASDA.checkpoints.layouts.published_names import encoder_to_published
from ASDA.core import zoo
from ASDA.core.attention import Attention, DifferentialAttention
from ASDA.core.config import EncoderConfig
from ASDA.core.encoder import SpectrogramEncoder
from ASDA.core.places import kept_indices
from ASDA.masks.inverse_block import InverseBlockMask
from ASDA.objectives.conv_decoder import ConvDecoder2d
from tests.architectures import make_encoder

TINY = {"embed_dim": 32, "depth": 2, "num_heads": 4, "num_mel_bins": 8, "patch_size": 4, "max_rows": 12}
B, T, F = 3, 24, 8
P, Q = 6, 2
N = P * Q


def encoder(seed=0, **options):
    torch.manual_seed(seed)
    module = make_encoder(**(TINY | options))
    with torch.no_grad():  # larger than the initial 0.02, so that every part matters
        for name, parameter in module.named_parameters():
            if name.startswith("stack.blocks.") and parameter.ndim == 2:
                parameter.mul_(5.0)
            elif parameter.requires_grad and parameter.ndim == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return module.double().eval()


def spectrogram(frames=T, clips=B, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(clips, 1, frames, F, generator=generator, dtype=torch.float64)


def padding(first_padded_rows=(6, 4, 2)):
    """The patches of clip b are real in its first ``first_padded_rows[b]`` rows of the grid."""
    rows = torch.arange(N) // Q
    return rows[None] >= torch.tensor(first_padded_rows)[:, None]


def students(M=2):
    mask = InverseBlockMask((P, Q), B * M, mask_ratio=0.5)(torch.Generator().manual_seed(0))
    return kept_indices(mask)


@pytest.mark.parametrize("positions", ["sincos_2d", "sincos_1d"])
@pytest.mark.parametrize("attention", ["differential", "plain"])
def test_encoder__follows_the_paper_step_by_step(attention, positions):
    model = encoder(attention=attention, positions=positions)
    x = spectrogram()
    for b in range(B):
        # CLS in front: without position where these are 2-D, as the first of the sequence where it is counted.
        counted = positions == "sincos_1d"
        patches = [model.prefix_tokens[0, 0] + counted * model.positions[0, 0]]
        for row in range(P):
            for column in range(Q):
                patch = x[b, 0, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4].flatten()
                embedded = model.patch_embed.proj.weight.flatten(1) @ patch + model.patch_embed.proj.bias
                patches.append(embedded + model.positions[0, counted + Q * row + column])
        tokens = torch.stack(patches)
        normalised = (tokens - tokens.mean(1, keepdim=True)) / (
            tokens.var(1, unbiased=False, keepdim=True) + 1e-6
        ).sqrt()
        tokens = (normalised * model.stack.norm_first.weight + model.stack.norm_first.bias)[None]
        for block in model.stack.blocks:
            tokens, _ = block(tokens)
        torch.testing.assert_close(model.features(x)[b], tokens[0], rtol=1e-9, atol=1e-9)


def test_encoder__norm_before_the_blocks_has_the_eps_of_the_others():
    model = encoder(norm_eps=0.3)
    assert [m.eps for name, m in model.named_modules() if isinstance(m, nn.LayerNorm) and "attn" not in name] == [
        0.3
    ] * 5
    assert [m.eps for name, m in model.named_modules() if isinstance(m, nn.LayerNorm) and "attn" in name] == [1e-5] * 2


def test_encoder__students_see_their_own_patches_only():
    model, x, kept = encoder(), spectrogram(), students(M=2)
    out = model.features(x, kept=kept)
    assert out.shape == (2 * B, 1 + kept.shape[1], 32)
    hidden = ~torch.zeros(2 * B, N, dtype=torch.bool).scatter(1, kept, True)
    for row in range(2 * B):
        # What hiding means, said by a padding mask instead: the kept places of the whole grid, with their positions.
        clip = row // 2
        whole = model.features(x[clip : clip + 1], padding_mask=hidden[row : row + 1])[0]
        places = torch.cat([torch.tensor([0]), 1 + kept[row]])
        torch.testing.assert_close(out[row], whole[places], rtol=1e-9, atol=1e-9)


def test_encoder__students_take_their_padding_with_them():
    model, x, kept = encoder(), spectrogram(), students(M=2)
    mask = padding()
    out = model.features(x, padding_mask=mask, kept=kept)
    hidden = ~torch.zeros(2 * B, N, dtype=torch.bool).scatter(1, kept, True)
    for row in range(2 * B):
        whole = model.features(x[row // 2 :][:1], padding_mask=(mask[row // 2] | hidden[row])[None])[0]
        real = ~mask[row // 2][kept[row]]
        assert real.any()
        torch.testing.assert_close(out[row, 0], whole[0], rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(out[row, 1:][real], whole[1 + kept[row][real]], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("attention", ["differential", "plain"])
def test_encoder__padding_does_not_reach_real_tokens(attention):
    model, mask = encoder(attention=attention), padding()
    real = torch.cat([torch.ones(B, 1, dtype=torch.bool), ~mask], dim=1)
    x = spectrogram().requires_grad_()
    out = model.features(x, padding_mask=mask)
    (out[real] ** 3).sum().backward()
    frame_is_padding = mask[:, ::Q].repeat_interleave(4, dim=1)
    assert (x.grad[:, 0][frame_is_padding] == 0).all()
    assert (x.grad[:, 0][~frame_is_padding] != 0).all()
    changed = torch.where(frame_is_padding[:, None, :, None], spectrogram(seed=2), x.detach())
    assert torch.equal(model.features(changed, padding_mask=mask)[real], out[real])


@pytest.mark.parametrize("attention", ["differential", "differential_v2", "plain"])
@pytest.mark.parametrize("prefix_place", ["head", "middle"])
def test_encoder__padded_clips_equal_short_clips(attention, prefix_place):
    model = encoder(attention=attention, prefix_place=prefix_place)
    out = model.features(spectrogram(), padding_mask=padding())
    for b, rows in enumerate((6, 4, 2)):
        alone = model.features(spectrogram()[b : b + 1, :, : 4 * rows])
        torch.testing.assert_close(out[b, : 1 + Q * rows], alone[0], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("with_students", [False, True])
def test_encoder__without_a_position_cls_in_the_middle_is_the_same_function(masked, with_students):
    arguments = {"padding_mask": padding() if masked else None, "kept": students() if with_students else None}
    head, middle = (encoder(prefix_place=place).features(spectrogram(), **arguments) for place in ("head", "middle"))
    assert torch.equal(head, middle)


@pytest.mark.parametrize("positions", ["sincos_1d", "interleaved_1d"])
@pytest.mark.parametrize("prefixes", [1, 2])
def test_encoder__where_the_sequence_is_counted_cls_in_the_middle_shifts_the_patches_behind_it(positions, prefixes):
    for place, first in (("head", 0), ("middle", N // 2)):
        model = encoder(positions=positions, prefix_place=place, num_prefix_tokens=prefixes)
        order = [*range(first, first + prefixes), *range(first), *range(first + prefixes, prefixes + N)]
        patches = model.patch_embed(spectrogram())
        tokens = torch.cat([model.prefix_tokens.expand(B, -1, -1), patches], dim=1) + model.positions[0, order]
        torch.testing.assert_close(model.embed(spectrogram())[0], model.stack.norm_first(tokens))
    others = [encoder(positions=positions, prefix_place=place).features(spectrogram()) for place in ("head", "middle")]
    assert (others[0] - others[1]).abs().max() > 1e-3


@pytest.mark.parametrize("prefixes", [0, 1, 2])
def test_encoder__splits_prefix_tokens_and_patches(prefixes):
    model = encoder(num_prefix_tokens=prefixes, positions="interleaved_1d")
    prefix, patches = model(spectrogram(), padding_mask=padding())
    assert prefix.shape == (B, prefixes, 32) and patches.shape == (B, N, 32)
    assert torch.equal(torch.cat([prefix, patches], dim=1), model.features(spectrogram(), padding_mask=padding()))
    assert ("prefix_tokens" in dict(model.named_parameters())) == (prefixes > 0)


def test_encoder__fixed_positions_are_no_parameter_but_stand_in_files():
    fixed, trained = encoder(), encoder(positions="learned")
    assert "positions" not in dict(fixed.named_parameters()) and "positions" in fixed.state_dict()
    assert dict(trained.named_parameters())["positions"].requires_grad
    fixed.requires_grad_(True)  # training everything does not train them
    assert not fixed.positions.requires_grad


@pytest.mark.parametrize(
    ("patches", "stride", "grid"), [((4, 2), None, (6, 4)), ((2, 8), None, (12, 1)), ((4, 4), (3, 2), (7, 3))]
)
def test_encoder__patches_may_be_rectangular_and_overlap(patches, stride, grid):
    model = encoder(patches=patches, stride=stride, max_rows=16)
    assert model.grid(spectrogram()) == grid
    assert model(spectrogram())[1].shape == (B, grid[0] * grid[1], 32)
    steps = stride or patches
    expected = [
        model.patch_embed.proj.weight.flatten(1) @ spectrogram()[
            0, 0, steps[0] * p : steps[0] * p + patches[0], steps[1] * q : steps[1] * q + patches[1]
        ].flatten() + model.patch_embed.proj.bias
        for p in range(grid[0])
        for q in range(grid[1])
    ]  # fmt: skip
    torch.testing.assert_close(model.patch_embed(spectrogram())[0], torch.stack(expected), rtol=1e-9, atol=1e-9)


def test_encoder__pre_norm_ends_with_its_norm():
    model = encoder(norm="pre", norm_first=False, norm_last=True)
    tokens, _ = model.embed(spectrogram())
    for block in model.stack.blocks:
        tokens = tokens + block.attn(block.norm1(tokens))
        tokens = tokens + block.mlp(block.norm2(tokens))
    torch.testing.assert_close(model.features(spectrogram()), model.stack.norm_last(tokens), rtol=1e-9, atol=1e-9)


def test_encoder__permuting_the_clips_permutes_the_features():
    model, order = encoder(), torch.tensor([2, 0, 1])
    out = model.features(spectrogram()[order], padding_mask=padding()[order])
    torch.testing.assert_close(out, model.features(spectrogram(), padding_mask=padding())[order], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("frames", "patches"), [(4, 2), (13, 6), (24, 12), (31, 14), (48, 24)])
def test_encoder__takes_any_length_that_fits_the_position_table(frames, patches):
    model = encoder()
    out = model.features(spectrogram(frames))
    assert out.shape == (B, 1 + patches, 32)
    whole = spectrogram(frames)[:, :, : frames // 4 * 4]  # the rest is less than a patch
    assert torch.equal(out, model.features(whole))


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((B, 1, 52, F), r"52 frames has 13 patch rows, the position table 12 \(48 frames\)"),
        ((B, 1, 3, F), "3 frames x 8 mel bins is smaller than one patch of 4 x 4"),
        ((B, 1, T, 16), r"shape \(clips, 1, frames, 8\), got \(3, 1, 24, 16\)"),
        ((B, 2, T, F), r"got \(3, 2, 24, 8\)"),
        ((B, T, F), r"got \(3, 24, 8\)"),
    ],
)
def test_encoder__rejects_spectrograms_that_do_not_fit(shape, message):
    with pytest.raises(ValueError, match=message):
        encoder().features(torch.zeros(shape, dtype=torch.float64))


def test_encoder__rejects_a_padding_mask_of_another_shape():
    with pytest.raises(ValueError, match=r"padding mask of shape \(3, 12\) \(clips, patches\), got \(3, 13\)"):
        encoder().features(spectrogram(), padding_mask=torch.zeros(B, N + 1, dtype=torch.bool))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"positions": "sincos_3d"}, 'positions: expected one of sincos_2d, .*, learned, found "sincos_3d"'),
        ({"prefix_place": "tail"}, 'prefix_place: expected one of head, middle, found "tail"'),
        ({"lambda_mode": "free"}, 'lambda_mode: expected one of fixed, learned, found "free"'),
        ({"norm": "rms"}, 'stack.norm: expected one of post, pre, found "rms"'),
        ({"patch_size": 3}, r"patches.size: expected mel bins that divide num_mel_bins \(8\), found 3"),
        ({"stride": (5, 4)}, r"stride: \(5, 4\) is larger than the patch \(4, 4\) and would skip sound"),
        ({"num_heads": 5}, r"num_heads: expected a divisor of embed_dim \(32\), found 5"),
        ({"out_scale": None}, "needs lambda_mode=learned"),
        ({"drop_path": (0.0, 1.0)}, r"drop path probability must be in \[0, 1\), got 1.0"),
    ],
)
def test_encoder__rejects_arguments_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        make_encoder(**(TINY | options))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"attention": "plain", "prefix_place": "middle", "norm_eps": 1e-3},
        {"diff_lambda": [0.1, 0.6]},
        {"attention": "differential_v2", "lambda_init": [0.2, 0.7]},
    ],
)
def test_encoder__config_builds_the_same_function_again(options):
    model = encoder(**options)
    config = EncoderConfig.from_dict(json.loads(json.dumps(model.config.to_dict())))
    assert config == model.config
    again = SpectrogramEncoder(config).double().eval()
    again.load_state_dict(model.state_dict())
    assert torch.equal(again.features(spectrogram()), model.features(spectrogram()))


def test_encoder__mlp_ratio_of_two_widths_gives_the_width_back():
    # In floating point 44 * (x / 44) falls just short of x for seven of these.
    for width in range(1, 4 * 44):
        model = make_encoder(**(TINY | {"embed_dim": 44, "depth": 1, "mlp_ratio": width / 44}))
        assert model.stack.blocks[0].mlp.fc1.out_features == width


def test_encoder__attention_arguments_arrive_in_every_layer():
    model = encoder(diff_lambda=0.7, out_scale=0.6)
    for block in model.stack.blocks:
        assert isinstance(block.attn, DifferentialAttention)
        assert (block.attn.diff_lambda, block.attn.out_scale, block.attn.lambda_mode) == (0.7, 0.6, "fixed")
    assert all(isinstance(block.attn, Attention) for block in encoder(attention="plain").stack.blocks)


def test_encoder__learned_lambda_starts_by_depth_and_out_scale_follows():
    attentions = [block.attn for block in encoder(depth=3, lambda_mode="learned", out_scale=None).stack.blocks]
    for layer, attention in enumerate(attentions, start=1):
        initial = 0.8 - 0.6 * math.exp(-0.3 * (layer - 1))
        assert attention.lambda_init == pytest.approx(initial)
        assert attention.out_scale == pytest.approx(1 - initial)
    attentions = [block.attn for block in encoder(lambda_mode="learned", lambda_init=0.25, out_scale=0.95).stack.blocks]
    assert [(a.lambda_init, a.out_scale) for a in attentions] == [(0.25, 0.95)] * 2


def test_encoder__lists_arrive_layer_by_layer():
    attentions = [block.attn for block in encoder(depth=3, diff_lambda=[0.1, 0.0, 0.7]).stack.blocks]
    assert [a.diff_lambda for a in attentions] == [0.1, 0.0, 0.7]
    options = {"lambda_mode": "learned", "lambda_init": [0.1, 0.25], "out_scale": None}
    attentions = [block.attn for block in encoder(**options).stack.blocks]
    assert [(a.lambda_init, a.out_scale) for a in attentions] == [(0.1, 0.9), (0.25, 0.75)]
    attentions = [block.attn for block in encoder(attention="differential_v2", lambda_init=[0.1, 0.25]).stack.blocks]
    assert [a.lambda_init for a in attentions] == [0.1, 0.25]


def test_encoder__dropouts_arrive_at_their_places():
    options = {"attention_dropout": 0.1, "projection_dropout": 0.2, "activation_dropout": 0.3, "mlp_dropout": 0.4}
    for attention in ("differential", "differential_v2", "plain"):
        for block in encoder(attention=attention, **options).stack.blocks:
            assert (block.attn.attention_dropout, block.attn.proj_drop.p) == (0.1, 0.2)
            assert (block.mlp.drop.p, block.mlp_drop.p) == (0.3, 0.4)


def test_encoder__drop_path_grows_linearly_with_the_depth():
    rates = [block.drop_path.p for block in encoder(depth=5, drop_path=(0.1, 0.5)).stack.blocks]
    assert rates == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])


def test_encoder__drop_path_drops_at_its_rate():
    model = encoder(depth=1, drop_path=(0.3, 0.3))
    n = 4000
    x = spectrogram(frames=4, clips=1).expand(n, -1, -1, -1)
    assert torch.equal(model.features(x), encoder(depth=1).features(x))  # evaluation: none
    torch.manual_seed(0)
    out = model.train().features(x)
    outcomes, counts = out.flatten(1).unique(dim=0, return_counts=True)
    # Attention branch kept or dropped, MLP branch kept or dropped.
    assert len(outcomes) == 4
    for count, share in zip(sorted(counts.tolist()), (0.09, 0.21, 0.21, 0.49), strict=True):
        assert abs(count - n * share) < 5 * math.sqrt(n * share * (1 - share))


@pytest.mark.parametrize("with_students", [False, True])
def test_encoder__recomputed_activations_give_the_same_gradients(with_students):
    dropouts = {"drop_path": (0.2, 0.4), "attention_dropout": 0.1, "projection_dropout": 0.1}
    gradients = []
    for checkpointed in (False, True):
        model = encoder(checkpoint_activations=checkpointed, **dropouts).train()
        torch.manual_seed(5)  # the same branches are dropped in both, and again when recomputed
        out = model.features(spectrogram(), kept=students() if with_students else None)
        (out**3).sum().backward()
        gradients.append({name: p.grad for name, p in model.named_parameters() if p.requires_grad})
    for name, gradient in gradients[0].items():
        assert gradient.abs().max() > 0, name
        torch.testing.assert_close(gradients[1][name], gradient, rtol=1e-12, atol=1e-12, msg=name)


def test_encoder__recomputing_keeps_fewer_activations():
    saved = []
    for checkpointed in (False, True):
        model, count = encoder(checkpoint_activations=checkpointed), []
        with torch.autograd.graph.saved_tensors_hooks(lambda t, c=count: c.append(t.numel()) or t, lambda t: t):
            model.features(spectrogram())
        saved.append(sum(count))
    assert saved[1] < saved[0] / 2


def test_encoder__inference_holds_one_layer_at_a_time():
    model, alive, most = encoder(depth=6), set(), []
    for block in model.stack.blocks:

        def remember(_module, _inputs, outputs):
            for output in outputs:
                key = id(output)
                alive.add(key)
                weakref.finalize(output, alive.discard, key)
            most.append(len(alive))

        block.register_forward_hook(remember)
    with torch.no_grad():
        model.features(spectrogram())
    assert len(most) == 6
    assert max(most) <= 4  # what a layer takes and what it hands out


def test_encoder__initial_weights_are_those_of_bert():
    torch.manual_seed(0)
    model = make_encoder(**(TINY | {"embed_dim": 128}))
    for name, module in model.stack.blocks.named_modules():
        if isinstance(module, nn.Linear):
            weight = module.weight
            assert abs(weight.std().item() - 0.02) < 5 * 0.02 / math.sqrt(2 * weight.numel()), name
            assert abs(weight.mean().item()) < 5 * 0.02 / math.sqrt(weight.numel()), name
            assert (module.bias == 0).all(), name
        elif isinstance(module, nn.LayerNorm):
            assert (module.weight == 1).all(), name
            assert (module.bias == 0).all(), name
    patch = model.patch_embed.proj
    bound = math.sqrt(6 / (16 + 128))  # Xavier uniform: fan in 4 x 4, fan out 128
    assert 0.99 * bound < patch.weight.abs().max().item() <= bound
    assert abs(patch.weight.std().item() - bound / math.sqrt(3)) < 0.03 * bound
    assert (patch.bias == 0).all()
    assert abs(model.prefix_tokens.std().item() - 1) < 5 / math.sqrt(2 * 128)


def count(module, trained_only):
    return sum(p.numel() for p in module.parameters() if p.requires_grad or not trained_only)


def test_encoder__base_size_has_the_published_number_of_parameters():
    with torch.device("meta"):  # shapes without memory; also how large models are built before their weights are read
        student, decoder = make_encoder(), ConvDecoder2d(768)
    assert count(student, True) + count(decoder, True) == 94_950_144
    assert count(student, False) + count(decoder, False) + student.positions.numel() == 99_668_736


def test_encoder__base_size_has_the_published_shapes():
    with torch.device("meta"):
        tensors = SpectrogramEncoder(zoo.ASDA).state_dict()
    shapes = {name: tuple(tensor.shape) for name, tensor in encoder_to_published(tensors).items()}
    image = "modality_encoders.IMAGE"
    expected = {
        f"{image}.extra_tokens": (1, 1, 768),
        f"{image}.fixed_positional_encoder.positions": (1, 6144, 768),
        f"{image}.local_encoder.proj.weight": (768, 1, 16, 16),
        f"{image}.local_encoder.proj.bias": (768,),
        f"{image}.context_encoder.norm.weight": (768,),
        f"{image}.context_encoder.norm.bias": (768,),
    }
    linear = {"attn.qk": (3072, 768), "attn.v": (768, 768), "attn.proj": (768, 768), "mlp.fc1": (2688, 768)}
    linear["mlp.fc2"] = (768, 2688)
    for n in range(12):
        for name, shape in linear.items():
            expected |= {f"blocks.{n}.{name}.weight": shape, f"blocks.{n}.{name}.bias": shape[:1]}
        for name in ("norm1", "norm2", "attn.norm"):
            expected |= {f"blocks.{n}.{name}.weight": (768,), f"blocks.{n}.{name}.bias": (768,)}
    assert shapes == expected
