"""Masked autoencoding against loops in float64; what it is without one of its losses; that nothing leaks."""

import math
from dataclasses import replace

import pytest
import torch

from ASDA.core.config import ConfigError, StackConfig
from ASDA.core.counting import parts_of
from ASDA.core.encoder import SpectrogramEncoder
from ASDA.core.places import Places
from ASDA.core.zoo import MAE_AST_FRAME, MAE_AST_PATCH, MAE_AST_VIT
from ASDA.masks.kinds import MASKS
from ASDA.objectives.losses import info_nce, summed_squares
from ASDA.objectives.masked_autoencoder import MaskedAutoencoder
from ASDA.objectives.transformer_decoder import TransformerDecoder
from tests.architectures import encoder_config, make_encoder

D = 32
KINDS = {
    "patch": {"patches": (16, 16), "norm_eps": 1e-5},
    "frame": {"patches": (2, 128), "norm_eps": 1e-5},
    "pre-norm": {"norm": "pre", "norm_first": False, "norm_last": True},
    "differential": {"attention": "differential"},
    "learned": {"positions": "learned"},
    "prefix tokens": {"num_prefix_tokens": 2},
}
COMMON = {"embed_dim": D, "depth": 2, "num_heads": 4, "mlp_ratio": 2.0, "attention": "plain", "max_rows": 128}
COMMON |= {"positions": "interleaved_1d", "num_prefix_tokens": 0}


def objective(kind="patch", *, width=D, project=False, seed=0, **options):
    torch.manual_seed(seed)
    settings = COMMON | KINDS[kind]
    encoder = make_encoder(**settings)
    stack = encoder_config(**settings).stack
    decoder_stack = StackConfig(**{**vars(stack), "embed_dim": width, "depth": 1})
    model = MaskedAutoencoder(
        encoder, TransformerDecoder(encoder.config, decoder_stack, project=project or width != D), **options
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model


def clips(frames=100, count=2):
    return 4.0 * torch.randn(count, 1, frames, 128, generator=torch.Generator().manual_seed(1)) - 6.0


def masks(model, spectrogram, students=1, kind="random", **settings):
    sampler = MASKS[kind](tuple(model.encoder.grid(spectrogram)), students, **settings)
    return torch.cat([sampler(torch.Generator().manual_seed(clip)) for clip in range(len(spectrogram))])


def means(losses):
    return {name: (term / losses.sample_size).item() for name, term in losses.terms.items()}


def oracle(model, spectrogram, mask):
    """Clip by clip, student by student, token by token, in float64: (losses without weights, statistics)."""
    model = model.double()
    x = spectrogram.double()
    x = 0.5 * (x - x.mean()) / (x.var(unbiased=False) + 1e-5).sqrt()
    encoder, decoder = model.encoder, model.decoder
    (kt, kc), N = encoder.config.patches.size, mask.shape[1]
    students = len(mask) // len(x)
    squared, nce, hits, bin_errors = [], [], [], []
    bin_means = x.mean(dim=(0, 1, 2))
    for row, hidden in enumerate(mask):
        clip = x[row // students, 0]
        columns = 128 // kc
        tokens = [clip[kt * (n // columns) :][:kt, kc * (n % columns) :][:, :kc].reshape(-1) for n in range(N)]
        bins = [bin_means[kc * (n % columns) :][:kc].repeat(kt) for n in range(N)]
        kept = [n for n in range(N) if not hidden[n]]
        places = [n for n in range(N) if hidden[n]]
        seen, _ = encoder.embed(x[row // students][None], kept=torch.tensor([kept]))
        for output, _ in encoder.layers(seen):
            seen = output
        seen = decoder.project(encoder.split(encoder.stack.norm_last(seen))[1][0])
        full = [decoder.mask_token for _ in range(N)]
        for place, token in zip(kept, seen, strict=True):
            full[place] = token
        X = encoder.config.num_prefix_tokens if encoder.config.positions == "learned" else 0
        table = decoder.positions[0, X:]
        full = torch.stack([token + table[n] for n, token in enumerate(full)])
        full = decoder.stack(full[None])[0]
        reconstruct, classify = model.heads
        for n in places:
            squared.append((reconstruct(full[n]) - tokens[n]).square().mean())
            scores = torch.stack([classify(full[n]) @ tokens[other] for other in places])
            nce.append(-(scores - scores.max()).softmax(0)[places.index(n)].log())
            hits.append(float(scores.argmax() == places.index(n)))
            bin_errors.append((tokens[n] - bins[n]).square().mean())
    average = {name: float(torch.stack(v).mean()) for name, v in {"g": squared, "d": nce, "b": bin_errors}.items()}
    return average, sum(hits) / len(hits)


@pytest.mark.slow
@pytest.mark.parametrize("students", [1, 3])
@pytest.mark.parametrize("kind", [k for k in KINDS if k != "learned"])
def test_forward__equals_loops(kind, students):
    model = objective(kind, width=48 if kind == "pre-norm" else D)
    x = clips(frames=20 if kind == "frame" else 100)
    mask = masks(model, x, students)
    losses = model(x, mask)
    with torch.no_grad():
        expected, accuracy = oracle(model, x, mask)
    assert losses.sample_size == int(mask.sum())
    assert means(losses)["generative"] == pytest.approx(10 * expected["g"], rel=1e-5)
    assert means(losses)["discriminative"] == pytest.approx(expected["d"], rel=1e-5)
    assert losses.statistics["nce_accuracy"].item() == pytest.approx(accuracy, abs=1e-6)
    assert losses.statistics["bin_mean_loss"].item() == pytest.approx(expected["b"], rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mask", MASKS)
def test_forward__every_architecture_with_every_mask_learns_something(kind, mask):
    model, x = objective(kind), clips()
    hidden = masks(model, x, students=2, kind=mask)
    losses = model(x, hidden)
    losses.total.backward()
    unmoved = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert unmoved == []


@pytest.mark.parametrize("kind", ["patch", "frame", "pre-norm"])
def test_padding__of_a_batch_is_nothing(kind):
    """A clip under a padding mask costs what it costs alone at its own length, whatever its padding holds."""
    model, (long, short) = objective(kind), (96, 64)
    x = clips(frames=long)
    x[1, :, short:] = 50.0
    rows, Q = (model.encoder.grid(x).rows, model.encoder.config.columns)
    padding = torch.zeros(2, rows, Q, dtype=torch.bool)
    padding[1, rows * short // long :] = True
    padding = padding.flatten(1)
    whole, part = (masks(model, c, students=2) for c in (x[:1], x[1:, :, :short]))
    joined = torch.cat([whole, torch.nn.functional.pad(part, (0, whole.shape[1] - part.shape[1]))])
    losses = model(x, Places.of(joined, 2, padding))
    values = torch.cat([x[0].flatten(), x[1, :, :short].flatten()])
    torch.testing.assert_close(model.input_norm.running_mean, 0.1 * values.mean()[None])
    torch.testing.assert_close(model.input_norm.running_var, 0.9 + 0.1 * values.var()[None])
    assert losses.sample_size == int(joined.sum())
    model.input_norm.running_mean.fill_(values.mean())  # as the batch was normalised
    model.input_norm.running_var.fill_(values.var(unbiased=False))
    model.eval()
    alone = [model(x[:1], whole), model(x[1:, :, :short], part)]
    for name, term in losses.terms.items():
        assert term.item() == pytest.approx(sum(a.terms[name].item() for a in alone), rel=1e-4)
    hits = sum(a.statistics["nce_accuracy"].item() * a.sample_size for a in alone) / losses.sample_size
    assert losses.statistics["nce_accuracy"].item() == pytest.approx(hits, abs=1e-6)
    losses.total.backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())
    other = x.clone()
    other[1, :, short:] = -3.0
    assert model.train()(other, Places.of(joined, 2, padding)).terms.keys() == losses.terms.keys()
    again = model(x, Places.of(joined, 2, padding))
    changed = model(other, Places.of(joined, 2, padding))
    assert {n: t.item() for n, t in changed.terms.items()} == {n: t.item() for n, t in again.terms.items()}
    assert changed.statistics["bin_mean_loss"].item() == again.statistics["bin_mean_loss"].item()


def test_losses__of_knowing_nothing_are_chance():
    """M6: predictions of 0 cost the variance of the input, 0.25, and the logarithm of the number of hidden tokens."""
    model, x = objective(), clips(frames=1024, count=1)
    for head in model.heads:
        torch.nn.init.zeros_(head.weight)
        torch.nn.init.zeros_(head.bias)
    losses = means(model(x, masks(model, x, kind="chunk")))
    assert losses["generative"] == pytest.approx(10 * 0.25, rel=0.02)
    assert losses["discriminative"] == pytest.approx(math.log(384), rel=1e-6)


@pytest.mark.parametrize("off", [0, 1])
def test_weights__of_zero_leave_the_other_loss_alone(off):
    x = clips()
    both, weights = objective(), [10.0, 1.0]
    weights[off] = 0.0
    one = objective(reconstruction_weight=weights[0], classification_weight=weights[1])
    mask = masks(both, x)
    (name,) = [n for n in ("generative", "discriminative") if n != ("generative", "discriminative")[off]]
    losses = one(x, mask)
    assert means(losses) == pytest.approx({name: means(both(x, mask))[name]})
    losses.total.backward()
    assert all(not p.requires_grad and p.grad is None for p in one.heads[off].parameters())
    assert all(p.grad is not None for p in one.parameters() if p.requires_grad)
    with pytest.raises(ValueError, match="are both 0: there is nothing to learn"):
        objective(reconstruction_weight=0.0, classification_weight=0.0)


@pytest.mark.parametrize("kind", ["patch", "frame", "differential"])
def test_encoder__what_is_hidden_does_not_reach_it(kind):
    model, x = objective(kind).eval(), clips(frames=96)
    model.input_norm.running_mean.fill_(-6.0)
    mask = masks(model, x)
    (kt, kc), columns = model.encoder.config.patches.size, model.encoder.config.columns
    other = x.clone()
    for clip, hidden in enumerate(mask):
        for n in hidden.nonzero()[:, 0].tolist():
            row, column = divmod(n, columns)
            other[clip, 0, kt * row :, kc * column :][:kt, :kc] = 100.0 * torch.rand(kt, kc)
    seen = []
    model.decoder.project.register_forward_hook(lambda module, args, output: seen.append(args[0]))
    for source in (x, other):
        with torch.no_grad():
            model(source, mask)
    assert seen[0].shape == (2, int((~mask[0]).sum()), D)
    assert torch.equal(*seen)
    assert not torch.equal(x, other)


def test_info_nce__equals_loops():
    generator = torch.Generator().manual_seed(0)
    predicted, target = (torch.randn(3, 5, 7, generator=generator, dtype=torch.float64) for _ in range(2))
    total, hits = 0.0, 0
    for row in range(3):
        for i in range(5):
            scores = [float(predicted[row, i] @ target[row, j]) for j in range(5)]
            total -= scores[i] - math.log(sum(map(math.exp, scores)))
            hits += max(range(5), key=scores.__getitem__) == i
    loss, accuracy = info_nce(predicted, target)
    assert loss.item() == pytest.approx(total, rel=1e-5) and accuracy.item() == pytest.approx(hits / 15)


def test_summed_squares__is_a_mean_over_channels_summed_over_rows():
    predicted, target = torch.ones(6, 4), torch.zeros(6, 4)
    assert summed_squares(predicted.half() * 300, target.half()).item() == 6 * 300**2  # beyond float16


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_forward__in_half_precision_is_near(dtype):
    x, model = clips(), objective()
    mask = masks(model, x)
    expected = means(model(x, mask))
    half = means(objective().to(dtype)(x.to(dtype), mask))
    assert half == pytest.approx(expected, rel=0.05)
    with torch.autocast("cpu", torch.bfloat16):
        losses = objective()(x, mask)
    assert means(losses) == pytest.approx(expected, rel=0.05)
    assert all(term.dtype == torch.float32 for term in losses.terms.values())


def test_forward__checks_its_masks():
    model, x = objective(), clips()
    with pytest.raises(ValueError, match="expected masks of shape"):
        model(x, masks(model, x)[:, :-1])


def test_decoder__of_another_width_needs_a_projection():
    encoder = encoder_config(**COMMON)
    with pytest.raises(ConfigError, match="a decoder of width 16 needs a projection from the encoder's 32"):
        TransformerDecoder(encoder, StackConfig(embed_dim=16, num_heads=4))


def test_decoder__compiles(monkeypatch):
    compiled = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda module, **_: compiled.append(type(module).__name__))
    objective().compile_layers()
    assert len(compiled) == 3


@pytest.mark.parametrize(
    ("config", "project", "total"),
    [(MAE_AST_VIT, True, 57_888_512), (MAE_AST_PATCH, False, 99_826_176 - 1024), (MAE_AST_FRAME, False, 99_825_152)],
)
def test_parts__have_the_published_sizes(config, project, total):
    with torch.device("meta"):
        decoder = TransformerDecoder(config, replace(config.stack, depth=2), project=project)
        model = MaskedAutoencoder(SpectrogramEncoder(config), decoder)
    parts = {part.name: part.parameters for part in parts_of(model)}
    assert sum(parts.values()) == total
    if project:
        assert parts == {
            "decoder.mask_token": 768,
            "encoder.patch_embed.proj": 197_376,
            "encoder.6 blocks": 42_527_232,
            "encoder.norm_last": 1_536,
            "decoder.project": 590_592,
            "decoder.2 blocks": 14_175_744,
            "decoder.norm_last": 1_536,
            "2 heads": 393_728,
        }
