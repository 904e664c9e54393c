"""What is kept of the encoder's output, against the encoder itself."""

from dataclasses import replace

import pytest
import torch

from ASDA.audio.front_end import FrontEnd
from ASDA.core.config import EncoderConfig, PatchConfig, StackConfig
from ASDA.core.encoder import SpectrogramEncoder
from ASDA.inference.clips import Clip
from ASDA.inference.features import FeatureSpec, assemble, hidden_states
from ASDA.inference.windows import LoadedClip, Windowing, collate
from tests.architectures import make_encoder

D = 32


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    return make_encoder(embed_dim=D, depth=3, num_heads=4, max_rows=16).eval()


def clip_of(num_frames, windowing):
    frames = torch.randn(num_frames, 128, generator=torch.Generator().manual_seed(num_frames))
    return LoadedClip(0, Clip("x", "x"), num_frames, num_frames / 100, frames, windowing)


def extract(encoder, clip, **spec):
    spec = FeatureSpec(**spec)
    with torch.no_grad():
        outputs = [hidden_states(encoder, w.spectrogram[None, None], None, spec.layers)[0] for w in clip.windows]
        return assemble(clip, outputs, spec)


def test_hidden_states__last_layer_is_the_encoders_output(encoder):
    source = torch.randn(2, 1, 64, 128)
    with torch.no_grad():
        assert torch.equal(hidden_states(encoder, source, None, None)[:, 0], encoder.features(source))


def test_hidden_states__layers_are_the_blocks_outputs(encoder):
    source = torch.randn(2, 1, 64, 128)
    outputs = []
    for block in encoder.stack.blocks:
        block.register_forward_hook(lambda module, args, output: outputs.append(output[0]))
    with torch.no_grad():
        chosen = hidden_states(encoder, source, None, (3, 1))
        assert torch.equal(chosen[:, 0], outputs[2]) and torch.equal(chosen[:, 1], outputs[0])
        mean = hidden_states(encoder, source, None, "mean")
    torch.testing.assert_close(mean[:, 0], torch.stack(outputs[:3]).mean(dim=0))


@pytest.mark.parametrize("layers", [(0,), (4,), (1, 9)])
def test_hidden_states__names_layers_that_do_not_exist(encoder, layers):
    with pytest.raises(ValueError, match="this encoder has layers 1 to 3"):
        hidden_states(encoder, torch.randn(1, 1, 64, 128), None, layers)


@pytest.mark.parametrize(
    ("spec", "shape", "times"),
    [
        ({}, (1 + 32, D), (33, 2)),
        ({"granularity": "frame"}, (32, D), (32, 2)),
        ({"granularity": "utterance"}, (D,), (2,)),
        ({"granularity": "patch-grid"}, (4, 8, D), (4, 2)),
        ({"granularity": "patch-grid", "pool": "frequency"}, (4, D), (4, 2)),
        ({"granularity": "frame", "pool": "time"}, (8, D), (2,)),
        ({"granularity": "frame", "pool": "mean"}, (D,), (2,)),
        ({"granularity": "utterance", "layers": (1, 3)}, (2, D), (2,)),
        ({"granularity": "frame", "layers": (2,)}, (1, 32, D), (32, 2)),
        ({"granularity": "frame", "layers": "mean"}, (32, D), (32, 2)),
    ],
)
def test_assemble__shapes_of_values_and_time_stamps(encoder, spec, shape, times):
    windowing = Windowing(FrontEnd(64))
    features = extract(encoder, clip_of(50, windowing), **spec)
    assert (tuple(features.values.shape), tuple(features.times_s.shape)) == (shape, times)


def test_assemble__granularities_are_parts_of_one_another(encoder):
    windowing = Windowing(FrontEnd(64))
    clip = clip_of(64, windowing)

    def values(**spec):
        return extract(encoder, clip, **spec).values

    every, frames, grid = values(), values(granularity="frame"), values(granularity="patch-grid")
    assert torch.equal(every[0], values(granularity="utterance")) and torch.equal(every[1:], frames)
    assert torch.equal(grid.flatten(0, 1), frames)
    torch.testing.assert_close(values(granularity="frame", pool="mean"), frames.mean(dim=0))
    torch.testing.assert_close(values(granularity="frame", pool="frequency"), grid.mean(dim=1))
    torch.testing.assert_close(values(granularity="frame", pool="time"), grid.mean(dim=0))


def test_assemble__time_stamps_are_those_of_the_patches(encoder):
    windowing = Windowing(FrontEnd(64))
    times = extract(encoder, clip_of(50, windowing)).times_s
    assert times[0].tolist() == [0.0, 0.5]  # CLS: the whole clip
    assert times[1].tolist() == times[8].tolist() == [0.0, 0.16]
    torch.testing.assert_close(times[-1], torch.tensor([0.48, 0.64], dtype=torch.float64))


def test_assemble__constant_padding_stays_in_a_single_window_only(encoder):
    constant = Windowing(FrontEnd(64))
    own = Windowing(FrontEnd(64), padding="own")
    assert extract(encoder, clip_of(20, constant), granularity="patch-grid").values.shape[0] == 4
    assert extract(encoder, clip_of(20, own), granularity="patch-grid").values.shape[0] == 2


def test_assemble__windows_follow_one_another_without_padding(encoder):
    windowing = Windowing(FrontEnd(64), hop_frames=64)
    clip = clip_of(64 + 64 + 20, windowing)
    found = extract(encoder, clip)
    assert found.values.shape == (1 + (4 + 4 + 2) * 8, D)
    rows = found.times_s[1::8]
    torch.testing.assert_close(rows[:, 0], torch.arange(10, dtype=torch.float64) * 0.16)
    with torch.no_grad():
        outputs = [encoder.features(window.spectrogram[None, None])[0] for window in clip.windows]
    assert torch.equal(found.values[1:33], outputs[0][1:]) and torch.equal(found.values[33:65], outputs[1][1:])
    assert torch.equal(found.values[65:], outputs[2][1 : 1 + 2 * 8])
    expected_cls = (64 * outputs[0][0] + 64 * outputs[1][0] + 20 * outputs[2][0]) / 148
    torch.testing.assert_close(found.values[0], expected_cls)


@pytest.mark.parametrize("num_frames", [300, 64, 50])
@pytest.mark.parametrize("padding", ["constant", "own"])
def test_assemble__cls_and_pooled_patches_stand_for_what_was_heard(encoder, num_frames, padding):
    windowing = Windowing(FrontEnd(72), padding)  # of 72 frames the patches hear 64
    clip, heard_s = clip_of(num_frames, windowing), min(num_frames, 64) / 100
    for spec in ({"granularity": "utterance"}, {"granularity": "frame", "pool": "mean"}):
        assert extract(encoder, clip, **spec).times_s.tolist() == [0.0, heard_s]
    assert extract(encoder, clip).times_s[0].tolist() == [0.0, heard_s]
    whole = extract(encoder, clip_of(num_frames, Windowing(FrontEnd(72), padding, hop_frames=64)))
    assert whole.times_s[0].tolist() == [0.0, num_frames / 100]


@pytest.mark.parametrize("padding", ["constant", "own"])
def test_assemble__means_over_windows_weigh_by_the_sound_that_each_heard(encoder, padding):
    windowing = Windowing(FrontEnd(64), padding, hop_frames=64)
    clip = clip_of(64 + 64 + 4, windowing)
    with torch.no_grad():
        outputs = [encoder(window.spectrogram[None, None])[1][0] for window in clip.windows]  # (N, D) each
    rows = [patches.unflatten(0, (-1, 8))[:kept] for patches, kept in zip(outputs, (4, 4, 1), strict=True)]
    expected = sum(w * grid.mean(dim=0) for w, grid in zip((64, 64, 4), rows, strict=True)) / 132
    found = extract(encoder, clip, granularity="frame", pool="time").values
    torch.testing.assert_close(found, expected)
    found = extract(encoder, clip, granularity="frame", pool="mean").values
    torch.testing.assert_close(found, expected.mean(dim=0))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"granularity": "token"}, 'granularity "token" is not one of'),
        ({"granularity": "frame", "pool": "max"}, 'pool "max" is not one of'),
        ({"granularity": "utterance", "pool": "mean"}, "goes with granularity frame or patch-grid, not utterance"),
    ],
)
def test_feature_spec__refuses_what_makes_no_sense(spec, message):
    with pytest.raises(ValueError, match=message):
        FeatureSpec(**spec)


def other_encoder(num_prefix_tokens, size, stride):
    stack = StackConfig(embed_dim=16, depth=2, num_heads=2)
    patches = PatchConfig(size, stride)
    torch.manual_seed(0)
    return SpectrogramEncoder(EncoderConfig(stack, patches, 32, num_prefix_tokens=num_prefix_tokens)).eval()


@pytest.mark.parametrize("num_prefix_tokens", [0, 1, 2])
@pytest.mark.parametrize(("size", "stride"), [((16, 16), None), ((16, 16), (10, 10)), ((4, 32), (2, 32))])
@torch.no_grad()
def test_assembly__follows_the_patches_and_prefix_tokens_of_the_encoder(num_prefix_tokens, size, stride):
    encoder = other_encoder(num_prefix_tokens, size, stride)
    patches, F = encoder.config.patches, encoder.config.num_mel_bins
    windowing = Windowing(FrontEnd(72, num_mel_bins=F), "own", patches=patches)
    windowing = replace(windowing, hop_frames=windowing.gapless_hop_frames)
    clip = LoadedClip(0, Clip("x", "x"), 100, 1.0, torch.randn(100, F), windowing)
    outputs = []
    for window in clip.windows:
        source = window.spectrogram[None, None]
        outputs.append(hidden_states(encoder, source, None, None)[0])
        prefix, alone = encoder(source)
        cls = prefix.mean(dim=1) if num_prefix_tokens else alone.mean(dim=1)
        torch.testing.assert_close(outputs[-1][0], torch.cat([cls[:, None], alone], dim=1)[0])
    found = assemble(clip, outputs, FeatureSpec("frame", None, None))
    starts = found.times_s[:, 0].reshape(-1, encoder.config.columns)[:, 0]
    rows = torch.arange(len(starts)) * patches.stride[0] * 0.01  # each row once, from the first window to the last
    torch.testing.assert_close(starts, rows.double())
    widths = found.times_s[:, 1] - found.times_s[:, 0]
    torch.testing.assert_close(widths, torch.full_like(widths, size[0] * 0.01))
    assert len(found.values) == len(found.times_s)
    assert torch.equal(found.values[: outputs[0].shape[1] - 1], outputs[0][0, 1:])


@pytest.mark.parametrize(("size", "stride"), [((16, 16), None), ((16, 16), (10, 10)), ((4, 32), (2, 32))])
@torch.no_grad()
def test_collate__a_padding_mask_gives_what_each_window_has_at_its_own_length(size, stride):
    encoder = other_encoder(0, size, stride)
    windowing = Windowing(FrontEnd(72, num_mel_bins=32), "mask", patches=encoder.config.patches)
    clips = [LoadedClip(n, Clip("x", "x"), n, n / 100, torch.randn(n, 32), windowing) for n in (70, 33, 21)]
    windows = [clip.windows[0] for clip in clips]
    source, mask = collate(windows, windowing)
    together = hidden_states(encoder, source, mask, None)
    for window, states in zip(windows, together, strict=True):
        alone = hidden_states(encoder, window.spectrogram[None, None], None, None)[0]
        torch.testing.assert_close(states[:, : alone.shape[1]], alone, rtol=0, atol=1e-5)


@pytest.mark.parametrize("spec", [FeatureSpec("utterance"), FeatureSpec("utterance", (1, 3)), FeatureSpec("all")])
def test_feature_spec__wanted_states_give_the_same_features_and_utterance_keeps_no_patches(encoder, spec):
    clip = clip_of(150, Windowing(FrontEnd(64), hop_frames=64))
    with torch.no_grad():
        states = [hidden_states(encoder, w.spectrogram[None, None], None, spec.layers) for w in clip.windows]
    kept = [spec.wanted(one) for one in states]
    assert all(one.shape[2] == (1 if spec.granularity == "utterance" else 1 + 4 * 8) for one in kept)
    found = assemble(clip, [one[0] for one in kept], spec)
    expected = assemble(clip, [one[0] for one in states], spec)
    assert torch.equal(found.values, expected.values) and torch.equal(found.times_s, expected.times_s)
