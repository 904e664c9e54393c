"""Features for probes: what the encoder computes, each clip once."""

import numpy as np
import pytest
import soundfile
import torch

from ASDA.audio.front_end import FrontEnd
from ASDA.inference import TrainedEncoder, load_encoder
from ASDA.inference.clips import Clip, find_clips
from ASDA.probes import features as module
from ASDA.probes.features import FeatureSettings, FeatureSource
from ASDA.probes.weights import random_twin
from tests.architectures import make_encoder
from tests.mae_ast_files import released


@pytest.fixture
def clips(tmp_path):
    """Three of 0.5, 1 and 3 s."""
    for number, length in enumerate((8_000, 16_000, 48_000)):
        soundfile.write(tmp_path / f"{number}.wav", np.random.default_rng(number).normal(0, 0.1, length), 16_000)
    return [Clip(str(tmp_path / f"{number}.wav"), f"{number}.wav") for number in range(3)]


@pytest.fixture
def computed(monkeypatch):
    """Names of the clips that went through a network, one after the other."""
    names = []

    def counting(model, numbered, *args, **kwargs):
        numbered = list(numbered)
        names.extend(clip.name for _, clip in numbered)
        return run_clips(model, numbered, *args, **kwargs)

    run_clips = module.run_clips
    monkeypatch.setattr(module, "run_clips", counting)
    return names


def source(tmp_path, **settings):
    return FeatureSource(tmp_path / "features", FeatureSettings(**{"padding": "constant", **settings}))


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_features__are_the_encoders(small_corpus, encoder, tmp_path, pooling):
    clips = list(find_clips([str(small_corpus / "valid.tsv")]))
    found = source(tmp_path, pooling=pooling).features(encoder, (2,), clips)
    assert set(found) == {clip.path for clip in clips}
    for clip in (clips[0], clips[7], clips[-1]):
        tokens = encoder.features(clip.path)
        expected = tokens[0] if pooling == "cls" else tokens[1:].mean(dim=0)
        np.testing.assert_allclose(found[clip.path][0, 0], expected.numpy(), atol=1e-5)


def test_features__of_tokens_are_all_patches_of_the_layer_asked_for(encoder, clips, tmp_path):
    found = source(tmp_path, pooling=None).features(encoder, (2,), clips)
    for clip in clips:
        np.testing.assert_allclose(found[clip.path][:, 0], encoder.features(clip.path)[1:].numpy(), atol=1e-5)


@pytest.mark.parametrize("padding", ["own", "mask"])
def test_features__of_tokens_without_padding_are_those_of_the_sound(encoder, clips, tmp_path, padding):
    found = source(tmp_path, pooling=None, padding=padding).features(encoder, (2,), clips)
    assert [len(found[clip.path]) for clip in clips] == [24, 56, 64]  # 48, 98 and 128 frames, 8 patches a row


def test_features__layers_are_those_behind_each_block(encoder, clips, tmp_path):
    found = source(tmp_path).features(encoder, (1, 2), clips)[clips[1].path]
    assert found.shape == (1, 2, 32)
    with torch.no_grad():
        tokens, mask = encoder.encoder.embed(encoder.spectrogram(clips[1].path)[None], None)
        for place, (states, _) in enumerate(encoder.encoder.layers(tokens, mask)):
            np.testing.assert_allclose(found[0, place], states[0, 1:].mean(dim=0).numpy(), atol=1e-5)


def test_features__of_a_long_clip_are_the_mean_of_its_windows(encoder, clips, tmp_path):
    """298 frames: windows of 128, 128 and 42 (whose last 10 fill no patch of their own)."""
    found = source(tmp_path, all_windows=True).features(encoder, (2,), clips)[clips[2].path][0, 0]
    tokens = source(tmp_path, all_windows=True, pooling=None).features(encoder, (2,), clips)[clips[2].path][:, 0]
    parts, heard = tokens.reshape(3, 64, 32).mean(axis=1), np.array([128, 128, 42])
    np.testing.assert_allclose(found, heard @ parts / heard.sum(), atol=1e-5)


def test_features__are_computed_once_for_other_layers_and_runs(encoder, clips, computed, tmp_path):
    first = source(tmp_path).features(encoder, (1,), clips)
    both = source(tmp_path).features(encoder, (2, 1), clips)
    assert sorted(computed) == ["0.wav", "1.wav", "2.wav"]
    for clip in clips:
        np.testing.assert_array_equal(both[clip.path][:, 1:], first[clip.path])


def test_features__are_computed_anew_where_something_they_depend_on_has_changed(encoder, clips, computed, tmp_path):
    source(tmp_path).features(encoder, (2,), clips)
    computed.clear()
    soundfile.write(clips[1].path, np.random.default_rng(9).normal(0, 0.1, 16_000), 16_000)
    changed = source(tmp_path).features(encoder, (2,), clips)[clips[1].path]
    assert computed == ["1.wav"]
    np.testing.assert_allclose(changed[0, 0], encoder.features(clips[1].path)[1:].mean(dim=0).numpy(), atol=1e-5)
    computed.clear()
    with torch.no_grad():
        encoder.encoder.stack.blocks[0].mlp.fc1.bias[0] += 1
    source(tmp_path).features(encoder, (2,), clips)
    assert len(computed) == 3
    computed.clear()
    source(tmp_path, pooling="cls").features(encoder, (2,), clips)
    other = TrainedEncoder(encoder.encoder, FrontEnd(target_length_frames=128, norm_mean=-5.0, norm_std=4.0))
    source(tmp_path).features(other, (2,), clips)
    source(tmp_path, all_windows=True).features(encoder, (2,), clips)
    assert len(computed) == 9


def test_features__a_run_that_was_broken_off_keeps_what_it_had(encoder, clips, computed, tmp_path):
    def breaking(results, _):
        yield next(iter(results))
        raise KeyboardInterrupt

    broken = source(tmp_path, batch_size=1)
    broken.progress = breaking
    with pytest.raises(KeyboardInterrupt):
        broken.features(encoder, (2,), clips)
    computed.clear()
    assert len(source(tmp_path).features(encoder, (2,), clips)) == 3
    assert len(computed) == 2


def test_features__bad_clips_are_told_and_left_out(encoder, clips, computed, tmp_path):
    (tmp_path / "1.wav").write_bytes(b"no sound")
    of_both = source(tmp_path)
    found = of_both.features(encoder, (2,), [*clips, Clip(str(tmp_path / "absent.wav"), "absent.wav")])
    assert [path[-5:] for path in found] == ["0.wav", "2.wav"]
    assert set(of_both.bad) == {clips[1].path, str(tmp_path / "absent.wav")}
    assert of_both.num_frames == {clips[0].path: 48, clips[2].path: 298}
    computed.clear()
    of_both.features(random_twin(encoder, 1), (2,), clips)
    assert sorted(computed) == ["0.wav", "2.wav"]  # what was bad is not tried again


def test_features__of_one_sound_under_two_names_are_computed_once(encoder, clips, computed, tmp_path):
    (tmp_path / "copy.wav").write_bytes((tmp_path / "0.wav").read_bytes())
    copy = Clip(str(tmp_path / "copy.wav"), "copy.wav")
    found = source(tmp_path).features(encoder, (2,), [*clips, copy])
    assert len(found) == 4 and len(computed) == 3
    np.testing.assert_array_equal(found[copy.path], found[clips[0].path])


@pytest.mark.parametrize("kind", ["patch", "frame"])
def test_features__of_an_encoder_without_cls(kind, clips, tmp_path):
    torch.save(released(kind), tmp_path / "mae_ast.pt")
    trained = load_encoder(tmp_path / "mae_ast.pt", target_length_frames=96)
    found = source(tmp_path).features(trained, (trained.encoder.depth,), clips)[clips[1].path]
    np.testing.assert_allclose(found[0, 0], trained.features(clips[1].path).mean(dim=0).numpy(), atol=1e-5)
    with pytest.raises(ValueError, match="--pooling cls: this encoder has no prefix tokens"):
        source(tmp_path, pooling="cls").features(trained, (1,), clips)


def test_features__a_layer_that_is_not_there_is_refused(encoder, clips, tmp_path):
    with pytest.raises(ValueError, match=r"layers \[3\] do not exist: this encoder has layers 1 to 2"):
        source(tmp_path).features(encoder, (1, 3), clips)


def test_random_twin__shares_architecture_and_front_end_but_no_weight(encoder):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    twin, same, other = (random_twin(encoder, seed) for seed in (1, 1, 2))
    assert torch.rand(1) == expected, "the global generator is left alone"
    assert twin.encoder.config == encoder.encoder.config and twin.front_end == encoder.front_end
    weight, trained, again, different = (
        model.encoder.stack.blocks[0].mlp.fc1.weight for model in (twin, encoder, same, other)
    )
    assert torch.equal(weight, again)
    assert not torch.allclose(weight, trained) and not torch.allclose(weight, different)
    assert not twin.training


def test_random_twin__of_an_encoder_without_cls():
    encoder = TrainedEncoder(make_encoder(embed_dim=32, depth=1, num_heads=4, num_prefix_tokens=0), FrontEnd(96))
    assert random_twin(encoder, 1).encoder.config == encoder.encoder.config
