"""Clips padded to the longest of their batch: each must be trained as if it were alone, at its own length."""

import dataclasses

import pytest
import torch

from ASDA.core.classifier import SpectrogramClassifier
from ASDA.core.config import HeadConfig, PatchConfig
from ASDA.core.patches import PatchRows
from ASDA.core.places import Places
from ASDA.data.padding import join_masks
from ASDA.masks.inverse_block import InverseBlockMask
from ASDA.objectives.classification import BatchAugmentation, Classification
from ASDA.objectives.conv_decoder import ConvDecoder2d
from ASDA.objectives.losses import layer_average_target
from ASDA.objectives.self_distillation import SelfDistillation
from tests.architectures import make_encoder
from tests.waiting import DataDependent

M, D, Q, PATCH = 3, 32, 4, 16
LENGTHS = [208, 48, 100, 9]  # frames: 13, 3, 7 (in part) and 1 patch rows
GARBAGE = 1e3
SQUARE = PatchConfig()
ENCODERS = {
    "differential": {},
    "plain": {"attention": "plain"},
    "pre-norm": {"norm": "pre", "norm_first": False, "norm_last": True},
    "1-D positions": {"positions": "sincos_1d"},
    "CLS in the middle": {"positions": "sincos_1d", "prefix_place": "middle"},
    "learned positions, two prefix tokens": {"positions": "learned", "num_prefix_tokens": 2},
    "recomputed": {"checkpoint_activations": True},
}


def randomise(module):
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return module


def encoder_of(**options):
    settings = {"embed_dim": D, "depth": 2, "num_heads": 4, "max_rows": 16, "num_mel_bins": Q * PATCH, **options}
    return make_encoder(**settings)


def self_distillation(**options):
    torch.manual_seed(0)
    recomputed = options.get("checkpoint_activations", False)
    model = SelfDistillation(
        encoder_of(**options),
        ConvDecoder2d(D, decoder_dim=D, num_layers=3, groups=4, mask_noise_std=0.0, checkpoint_activations=recomputed),
        average_top_k_layers=2,
    )
    randomise(model)
    randomise(model.teacher.encoder)  # a teacher of its own
    return model.train()


def clips(lengths=LENGTHS, patches=SQUARE, padding=GARBAGE):
    """Clips at their own lengths in whole patches, all of them in one batch, and the batch's padding mask."""
    generator = torch.Generator().manual_seed(1)
    rows = PatchRows.of(max(lengths), Q * PATCH, patches)
    alone = [torch.randn(1, 1, rows.padded_frames(n), Q * PATCH, generator=generator) for n in lengths]
    batch = torch.full((len(lengths), 1, rows.padded_frames(max(lengths)), Q * PATCH), padding)
    for row, clip in zip(batch, alone, strict=True):
        row[:, : clip.shape[2]] = clip[0]
    return alone, batch, rows.padding_mask(lengths)


def masks_of(lengths=LENGTHS):
    full = InverseBlockMask((13, Q), M, mask_ratio=0.7, block_size=2)
    rows = PatchRows.of(208, Q * PATCH, PatchConfig())
    samplers = [dataclasses.replace(full, grid=(rows.count(n), Q)) for n in lengths]
    return [sampler(torch.Generator().manual_seed(seed)) for seed, sampler in enumerate(samplers)]


def gradients(model, loss):
    named = {name: p for name, p in model.named_parameters() if p.requires_grad}
    found = torch.autograd.grad(loss, named.values(), allow_unused=True)
    return {name: torch.zeros_like(named[name]) if g is None else g for name, g in zip(named, found, strict=True)}


def assert_close(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        scale = max(1.0, float(value.detach().abs().max()))
        torch.testing.assert_close(
            found[name] / scale, value / scale, rtol=0, atol=1e-6, msg=lambda m, n=name: f"{n}: {m}"
        )


@pytest.mark.parametrize("kind", ENCODERS)
def test_pretraining__a_clip_in_a_padded_batch_is_trained_as_if_it_were_alone(kind):
    model, masks = self_distillation(**ENCODERS[kind]), masks_of()
    alone, batch, padding = clips()
    places = Places.of(join_masks(masks), len(batch), padding)
    together = model(batch, places)
    single = [model(clip, mask) for clip, mask in zip(alone, masks, strict=True)]
    # The utterance term comes times the R of its batch: without it, terms of clips add up.
    number = sum(losses.sample_size for losses in single)
    assert together.sample_size == number == sum(int(mask.sum()) for mask in masks)
    frame = sum(losses.terms["frame"] for losses in single) / number
    utterance = sum(losses.terms["utterance"] / losses.sample_size for losses in single)
    found = {name: term / number for name, term in together.terms.items()}
    assert_close(found, {"frame": frame, "utterance": utterance})
    assert_close(gradients(model, found["frame"] + found["utterance"]), gradients(model, frame + utterance))


def test_pretraining__statistics_are_over_what_is_no_padding():
    model, masks = self_distillation(), masks_of()
    _, batch, padding = clips()
    places = Places.of(join_masks(masks), len(batch), padding)
    target = places.hide(model.target(batch, padding))
    expected = (target.var(dim=0) + 1e-6).sqrt().mean()
    torch.testing.assert_close(model(batch, places).statistics["target_var"], expected)
    assert not torch.isnan(model.target(batch, padding)).any()


def test_pretraining__without_padding_is_the_same_to_the_bit():
    model, lengths = self_distillation(), [208, 208]
    masks = [InverseBlockMask((13, Q), M)(torch.Generator().manual_seed(seed)) for seed in range(2)]
    _, batch, padding = clips(lengths)
    assert padding is None
    unpadded = model(batch, torch.cat(masks))
    places = model(batch, Places.of(join_masks(masks), 2, padding))
    for name, value in {**unpadded.terms, **unpadded.statistics}.items():
        assert torch.equal({**places.terms, **places.statistics}[name], value), name
    first, second = (gradients(model, losses.terms["frame"]) for losses in (unpadded, places))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_pretraining__a_padding_mask_that_masks_nothing_changes_nothing():
    model = self_distillation()
    masks = torch.cat([InverseBlockMask((13, Q), M)(torch.Generator().manual_seed(seed)) for seed in range(2)])
    _, batch, _ = clips([208, 208])
    padding = torch.zeros(2, 13 * Q, dtype=torch.bool)
    first, second = model(batch, Places.of(masks, 2)), model(batch, Places.of(masks, 2, padding))
    assert all(torch.equal(second.terms[name], term) for name, term in first.terms.items())


@pytest.mark.parametrize("options", [{}, {"positions": "learned"}, {"checkpoint_activations": True}])
def test_pretraining__a_padded_step_has_no_data_dependent_operation(options):
    model, (_, batch, padding) = self_distillation(**options), clips()
    places = Places.from_dict(Places.of(join_masks(masks_of()), len(batch), padding).to_dict(), len(batch))
    with DataDependent() as seen:
        losses = model(batch, places)
        (sum(losses.terms.values()) / losses.sample_size).backward()
        model.after_update(1)
    assert seen.found == []


def test_pretraining__under_bfloat16_autocast_padding_is_not_seen():
    model, (_, batch, padding) = self_distillation(), clips()
    places = Places.of(join_masks(masks_of()), len(batch), padding)
    _, other, _ = clips(padding=-7.0)
    with torch.autocast("cpu", torch.bfloat16):
        first, second = model(batch, places), model(other, places)
    for term, value in first.terms.items():
        assert torch.equal(second.terms[term], value)


def test_layer_average_target__of_padded_clips_equals_that_of_each():
    lengths = [7, 3]
    layers = [torch.randn(2, 7, D, generator=torch.Generator().manual_seed(seed)) for seed in range(2)]
    padding = torch.arange(7) >= torch.tensor(lengths)[:, None]
    together = layer_average_target(layers, padding_mask=padding)
    for clip, length in enumerate(lengths):
        alone = layer_average_target([layer[clip : clip + 1, :length] for layer in layers])
        torch.testing.assert_close(together[clip, :length], alone[0], rtol=0, atol=1e-6)


# -- fine-tuning


def classification(pooling="mean", augmentation=None, **options):
    torch.manual_seed(0)
    classifier = SpectrogramClassifier(encoder_of(**options), HeadConfig(5, pooling))
    return randomise(Classification(classifier, independent_scores=False, augmentation=augmentation)).train()


TARGET = torch.eye(5)[[0, 2, 4, 1]]
SEEDS = torch.tensor([11, 12, 13, 14])


@pytest.mark.parametrize("pooling", ["mean", "cls", "prefix_mean"])
@pytest.mark.parametrize(
    "augmentation",
    [
        BatchAugmentation(label_smoothing=0.1),
        BatchAugmentation(spec_augment=True, mask_ratio=0.5),
        BatchAugmentation(spec_augment=True, mask_ratio=0.0, mel_bins=9, frames=60),
    ],
    ids=["plain", "SpecAugment by share", "SpecAugment by width"],
)
def test_finetuning__a_clip_in_a_padded_batch_is_trained_as_if_it_were_alone(pooling, augmentation):
    model, (alone, batch, padding) = classification(pooling, augmentation), clips()
    together = model(batch, TARGET, SEEDS, padding)
    single = [model(clip, TARGET[n : n + 1], SEEDS[n : n + 1]) for n, clip in enumerate(alone)]
    loss = sum(losses.total for losses in single) / len(single)
    assert_close({"loss": together.total}, {"loss": loss})
    assert_close(gradients(model, together.total), gradients(model, loss))
    scores = torch.cat([losses.statistics["_scores"] for losses in single])
    torch.testing.assert_close(together.statistics["_scores"], scores, rtol=0, atol=1e-6)


@pytest.mark.parametrize("options", [{"patches": (16, 16), "stride": (10, 16)}, {"patches": (4, 64)}])
def test_finetuning__of_other_patches_too(options):
    patches = PatchConfig(options["patches"], options.get("stride"))
    model = classification(augmentation=BatchAugmentation(spec_augment=True), **options, max_rows=64)
    alone, batch, padding = clips(patches=patches)
    together = model(batch, TARGET, SEEDS, padding)
    single = [model(clip, TARGET[n : n + 1], SEEDS[n : n + 1]) for n, clip in enumerate(alone)]
    assert_close({"loss": together.total}, {"loss": sum(losses.total for losses in single) / len(single)})


def test_mixup__is_padding_where_both_clips_are():
    model, (_, batch, padding) = classification(augmentation=BatchAugmentation(mixup=1.0, mixup_prob=1.0)), clips()
    seen = []
    model.encoder.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[1]))
    model(batch, TARGET, SEEDS, padding)
    rows = (~seen[0]).view(4, 13, Q)[:, :, 0].sum(1).tolist()
    assert rows == [13, 7, 7, 13]  # 13 with 1, 3 with 7 and the other way round
    model.eval()
    model(batch, TARGET, SEEDS, padding)
    assert torch.equal(seen[1], padding)


def test_spec_augment__masks_a_share_of_what_is_no_padding():
    lengths = [208, 48] * 50
    model = classification(augmentation=BatchAugmentation(spec_augment=True, mask_ratio=0.5))
    padding = PatchRows.of(208, Q * PATCH, PatchConfig()).padding_mask(lengths)
    ones = torch.ones(100, 1, 208, Q * PATCH)
    masked, *_ = model._augment(ones, TARGET, torch.ones_like(TARGET), torch.arange(100), padding)
    frames = (masked == 0).all(dim=3)[:, 0]  # (B, T)
    assert not frames[1::2, 48:].any()
    assert 8 < frames[1::2].sum(1).float().mean() < 16 and frames[1::2].sum(1).max() <= 24  # of up to 24
    assert 40 < frames[::2].sum(1).float().mean() < 64
