import json
import math
import weakref

import pytest
import torch
from torch import nn

from ASDA.core.attention import Attention, DifferentialAttention
from ASDA.core.encoder import SpectrogramEncoder
from ASDA.core.places import kept_indices
from ASDA.masks.inverse_block import InverseBlockMask
from ASDA.objectives.conv_decoder import ConvDecoder2d

TINY = {"embed_dim": 32, "depth": 2, "num_heads": 4, "num_mel_bins": 8, "patch_size": 4, "max_patch_rows": 12}
B, T, F = 3, 24, 8
P, Q = 6, 2
N = P * Q


def encoder(seed=0, **options):
    torch.manual_seed(seed)
    module = SpectrogramEncoder(**(TINY | options))
    with torch.no_grad():  # larger than the initial 0.02, so that every part matters
        for name, parameter in module.named_parameters():
            if name.startswith("blocks.") and parameter.ndim == 2:
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
        patches = []
        for row in range(P):
            for column in range(Q):
                patch = x[b, 0, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4].flatten()
                embedded = model.patch_embed.proj.weight.flatten(1) @ patch + model.patch_embed.proj.bias
                patches.append(embedded + model.positions[0, Q * row + column])
        tokens = torch.stack([model.cls_token[0, 0], *patches])  # CLS in front and without position
        normalised = (tokens - tokens.mean(1, keepdim=True)) / (
            tokens.var(1, unbiased=False, keepdim=True) + 1e-6
        ).sqrt()
        tokens = (normalised * model.norm.weight + model.norm.bias)[None]
        for block in model.blocks:
            tokens, _ = block(tokens)
        torch.testing.assert_close(model(x)[b], tokens[0], rtol=1e-9, atol=1e-9)


def test_encoder__norm_before_the_blocks_has_the_eps_of_the_others():
    model = encoder(norm_eps=0.3)
    assert [m.eps for name, m in model.named_modules() if isinstance(m, nn.LayerNorm) and "attn" not in name] == [
        0.3
    ] * 5
    assert [m.eps for name, m in model.named_modules() if isinstance(m, nn.LayerNorm) and "attn" in name] == [1e-5] * 2


def test_encoder__students_see_their_own_patches_only():
    model, x, kept = encoder(), spectrogram(), students(M=2)
    out = model(x, kept=kept)
    assert out.shape == (2 * B, 1 + kept.shape[1], 32)
    hidden = ~torch.zeros(2 * B, N, dtype=torch.bool).scatter(1, kept, True)
    for row in range(2 * B):
        # What hiding means, said by a padding mask instead: the kept places of the whole grid, with their positions.
        clip = row // 2
        whole = model(x[clip : clip + 1], padding_mask=hidden[row : row + 1])[0]
        places = torch.cat([torch.tensor([0]), 1 + kept[row]])
        torch.testing.assert_close(out[row], whole[places], rtol=1e-9, atol=1e-9)


def test_encoder__students_take_their_padding_with_them():
    model, x, kept = encoder(), spectrogram(), students(M=2)
    mask = padding()
    out = model(x, padding_mask=mask, kept=kept)
    hidden = ~torch.zeros(2 * B, N, dtype=torch.bool).scatter(1, kept, True)
    for row in range(2 * B):
        whole = model(x[row // 2 :][:1], padding_mask=(mask[row // 2] | hidden[row])[None])[0]
        real = ~mask[row // 2][kept[row]]
        assert real.any()
        torch.testing.assert_close(out[row, 0], whole[0], rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(out[row, 1:][real], whole[1 + kept[row][real]], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("attention", ["differential", "plain"])
def test_encoder__padding_does_not_reach_real_tokens(attention):
    model, mask = encoder(attention=attention), padding()
    real = torch.cat([torch.ones(B, 1, dtype=torch.bool), ~mask], dim=1)
    x = spectrogram().requires_grad_()
    out = model(x, padding_mask=mask)
    (out[real] ** 3).sum().backward()
    frame_is_padding = mask[:, ::Q].repeat_interleave(4, dim=1)
    assert (x.grad[:, 0][frame_is_padding] == 0).all()
    assert (x.grad[:, 0][~frame_is_padding] != 0).all()
    changed = torch.where(frame_is_padding[:, None, :, None], spectrogram(seed=2), x.detach())
    assert torch.equal(model(changed, padding_mask=mask)[real], out[real])


@pytest.mark.parametrize("attention", ["differential", "plain"])
def test_encoder__padded_clips_equal_short_clips(attention):
    model = encoder(attention=attention)
    for cls_position in ("head", "middle"):
        model.cls_position = cls_position
        out = model(spectrogram(), padding_mask=padding())
        for b, rows in enumerate((6, 4, 2)):
            alone = model(spectrogram()[b : b + 1, :, : 4 * rows])
            torch.testing.assert_close(out[b, : 1 + Q * rows], alone[0], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("with_students", [False, True])
def test_encoder__cls_in_the_middle_is_the_same_function(masked, with_students):
    arguments = {"padding_mask": padding() if masked else None, "kept": students() if with_students else None}
    head, middle = encoder(cls_position="head"), encoder(cls_position="middle")
    expected = head(spectrogram(), **arguments)
    torch.testing.assert_close(middle(spectrogram(), **arguments), expected, rtol=1e-9, atol=1e-9)
    tokens, _ = middle.embed(spectrogram(), **arguments)
    patches = tokens.shape[1] - 1
    torch.testing.assert_close(tokens[:, patches // 2], head.embed(spectrogram(), **arguments)[0][:, 0])
    cls_token, rest = middle.split_cls(tokens)
    torch.testing.assert_close(torch.cat([cls_token[:, None], rest], 1), head.embed(spectrogram(), **arguments)[0])


def test_encoder__permuting_the_clips_permutes_the_features():
    model, order = encoder(), torch.tensor([2, 0, 1])
    out = model(spectrogram()[order], padding_mask=padding()[order])
    torch.testing.assert_close(out, model(spectrogram(), padding_mask=padding())[order], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("frames", "patches"), [(4, 2), (13, 6), (24, 12), (31, 14), (48, 24)])
def test_encoder__takes_any_length_that_fits_the_position_table(frames, patches):
    model = encoder()
    out = model(spectrogram(frames))
    assert out.shape == (B, 1 + patches, 32)
    whole = spectrogram(frames)[:, :, : frames // 4 * 4]  # the rest is less than a patch
    assert torch.equal(out, model(whole))


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
        encoder()(torch.zeros(shape, dtype=torch.float64))


def test_encoder__rejects_a_padding_mask_of_another_shape():
    with pytest.raises(ValueError, match=r"padding mask of shape \(3, 12\) \(clips, patches\), got \(3, 13\)"):
        encoder()(spectrogram(), padding_mask=torch.zeros(B, N + 1, dtype=torch.bool))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attention": "linear"}, 'attention "linear" is not one of differential, plain'),
        ({"positions": "learned"}, 'positions "learned" is not one of sincos_2d, sincos_1d'),
        ({"cls_position": "tail"}, 'cls_position "tail" is not one of head, middle'),
        ({"lambda_mode": "free"}, 'lambda_mode "free" is not one of fixed, learned'),
        ({"patch_size": 3}, r"patch_size \(3\) must divide num_mel_bins \(8\)"),
        ({"num_heads": 5}, r"num_heads \(5\) must divide embed_dim \(32\)"),
        ({"out_scale": None}, "needs lambda_mode=learned"),
        ({"drop_path": (0.0, 1.0)}, r"drop path probability must be in \[0, 1\), got 1.0"),
    ],
)
def test_encoder__rejects_arguments_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        SpectrogramEncoder(**(TINY | options))


@pytest.mark.parametrize("options", [{}, {"attention": "plain", "cls_position": "middle", "norm_eps": 1e-3}])
def test_encoder__config_builds_the_same_function_again(options):
    model = encoder(**options)
    again = SpectrogramEncoder(**json.loads(json.dumps(model.config))).double().eval()
    again.load_state_dict(model.state_dict())
    assert torch.equal(again(spectrogram()), model(spectrogram()))


def test_encoder__config_names_every_argument_that_shapes_the_function():
    changed = {
        **{"embed_dim": 48, "depth": 3, "num_heads": 6, "mlp_ratio": 2.0, "attention": "differential"},
        **{"diff_lambda": 0.5, "out_scale": None, "lambda_mode": "learned", "lambda_init": 0.4, "num_mel_bins": 16},
        **{"patch_size": 8, "max_patch_rows": 7, "positions": "sincos_1d", "cls_position": "middle", "norm_eps": 1e-4},
    }
    assert SpectrogramEncoder(**changed).config == changed


def test_encoder__mlp_ratio_of_two_widths_gives_the_width_back():
    # In floating point 44 * (x / 44) falls just short of x for seven of these.
    for width in range(1, 4 * 44):
        model = SpectrogramEncoder(**(TINY | {"embed_dim": 44, "depth": 1, "mlp_ratio": width / 44}))
        assert model.blocks[0].mlp.fc1.out_features == width


def test_encoder__attention_arguments_arrive_in_every_layer():
    model = encoder(diff_lambda=0.7, out_scale=0.6)
    for block in model.blocks:
        assert isinstance(block.attn, DifferentialAttention)
        assert (block.attn.diff_lambda, block.attn.out_scale, block.attn.lambda_mode) == (0.7, 0.6, "fixed")
    assert all(isinstance(block.attn, Attention) for block in encoder(attention="plain").blocks)


def test_encoder__learned_lambda_starts_by_depth_and_out_scale_follows():
    attentions = [block.attn for block in encoder(depth=3, lambda_mode="learned", out_scale=None).blocks]
    for layer, attention in enumerate(attentions, start=1):
        initial = 0.8 - 0.6 * math.exp(-0.3 * (layer - 1))
        assert attention.lambda_init == pytest.approx(initial)
        assert attention.out_scale == pytest.approx(1 - initial)
    attentions = [block.attn for block in encoder(lambda_mode="learned", lambda_init=0.25, out_scale=0.95).blocks]
    assert [(a.lambda_init, a.out_scale) for a in attentions] == [(0.25, 0.95)] * 2


def test_encoder__dropouts_arrive_at_their_places():
    options = {"attention_dropout": 0.1, "encoder_dropout": 0.2, "activation_dropout": 0.3, "post_mlp_drop": 0.4}
    for attention in ("differential", "plain"):
        for block in encoder(attention=attention, **options).blocks:
            assert (block.attn.attention_dropout, block.attn.proj_drop.p) == (0.1, 0.2)
            assert (block.mlp.drop.p, block.mlp_drop.p) == (0.3, 0.4)


def test_encoder__drop_path_grows_linearly_with_the_depth():
    rates = [block.drop_path.p for block in encoder(depth=5, drop_path=(0.1, 0.5)).blocks]
    assert rates == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])


def test_encoder__drop_path_drops_at_its_rate():
    model = encoder(depth=1, drop_path=(0.3, 0.3))
    n = 4000
    x = spectrogram(frames=4, clips=1).expand(n, -1, -1, -1)
    assert torch.equal(model(x), encoder(depth=1)(x))  # evaluation: none
    torch.manual_seed(0)
    out = model.train()(x)
    outcomes, counts = out.flatten(1).unique(dim=0, return_counts=True)
    # Attention branch kept or dropped, MLP branch kept or dropped.
    assert len(outcomes) == 4
    for count, share in zip(sorted(counts.tolist()), (0.09, 0.21, 0.21, 0.49), strict=True):
        assert abs(count - n * share) < 5 * math.sqrt(n * share * (1 - share))


@pytest.mark.parametrize("with_students", [False, True])
def test_encoder__recomputed_activations_give_the_same_gradients(with_students):
    dropouts = {"drop_path": (0.2, 0.4), "attention_dropout": 0.1, "encoder_dropout": 0.1}
    gradients = []
    for checkpointed in (False, True):
        model = encoder(checkpoint_activations=checkpointed, **dropouts).train()
        torch.manual_seed(5)  # the same branches are dropped in both, and again when recomputed
        out = model(spectrogram(), kept=students() if with_students else None)
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
            model(spectrogram())
        saved.append(sum(count))
    assert saved[1] < saved[0] / 2


def test_encoder__inference_holds_one_layer_at_a_time():
    model, alive, most = encoder(depth=6), set(), []
    for block in model.blocks:

        def remember(_module, _inputs, outputs):
            for output in outputs:
                key = id(output)
                alive.add(key)
                weakref.finalize(output, alive.discard, key)
            most.append(len(alive))

        block.register_forward_hook(remember)
    with torch.no_grad():
        model(spectrogram())
    assert len(most) == 6
    assert max(most) <= 4  # what a layer takes and what it hands out


def test_encoder__initial_weights_are_those_of_bert():
    torch.manual_seed(0)
    model = SpectrogramEncoder(**(TINY | {"embed_dim": 128}))
    for name, module in model.blocks.named_modules():
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
    assert abs(model.cls_token.std().item() - 1) < 5 / math.sqrt(2 * 128)


def test_encoder__positions_are_kept_but_not_trained():
    model = encoder()
    assert "positions" in model.state_dict()
    assert not model.positions.requires_grad
    assert model.positions.shape == (1, 12 * Q, 32)


def count(module, trained_only):
    return sum(p.numel() for p in module.parameters() if p.requires_grad or not trained_only)


def test_encoder__base_size_has_the_published_number_of_parameters():
    with torch.device("meta"):  # shapes without memory; also how large models are built before their weights are read
        student, decoder = SpectrogramEncoder(), ConvDecoder2d(768)
    assert count(student, True) + count(decoder, True) == 94_950_144
    assert count(student, False) + count(decoder, False) == 99_668_736


def test_encoder__base_size_has_the_published_shapes():
    with torch.device("meta"):
        shapes = {name: tuple(p.shape) for name, p in SpectrogramEncoder().named_parameters()}
    expected = {
        "cls_token": (1, 1, 768),
        "positions": (1, 6144, 768),
        "patch_embed.proj.weight": (768, 1, 16, 16),
        "patch_embed.proj.bias": (768,),
        "norm.weight": (768,),
        "norm.bias": (768,),
    }
    linear = {"attn.qk": (3072, 768), "attn.v": (768, 768), "attn.proj": (768, 768), "mlp.fc1": (2688, 768)}
    linear["mlp.fc2"] = (768, 2688)
    for n in range(12):
        for name, shape in linear.items():
            expected |= {f"blocks.{n}.{name}.weight": shape, f"blocks.{n}.{name}.bias": shape[:1]}
        for name in ("norm1", "norm2", "attn.norm"):
            expected |= {f"blocks.{n}.{name}.weight": (768,), f"blocks.{n}.{name}.bias": (768,)}
    assert shapes == expected


def test_encoder__eat_preset_has_plain_attention_and_a_wider_mlp():
    with torch.device("meta"):
        shapes = {n: tuple(p.shape) for n, p in SpectrogramEncoder(attention="plain", mlp_ratio=4.0).named_parameters()}
    block = {name.removeprefix("blocks.3."): shape for name, shape in shapes.items() if name.startswith("blocks.3.")}
    assert block["attn.qkv.weight"] == (2304, 768)
    assert block["mlp.fc1.weight"] == (3072, 768)
    assert {name for name in block if name.startswith("attn.")} == {
        f"attn.{layer}.{kind}" for layer in ("qkv", "proj") for kind in ("weight", "bias")
    }
