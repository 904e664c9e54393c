"""s3prl: its Featurizer, its hub, and what its two ways of rounding lengths do to a clip."""

import json
import sys
import types

import pytest
import torch

from ASDA.bridges.s3prl_upstream import UpstreamExpert, asda, register
from ASDA.inference.model import load_encoder
from tests.bridges.conftest import NAMES, noise

CLIPS = [noise(16_000), noise(9_600), noise(2_561), noise(1_700), noise(40_500)]


def test_s3prl__gives_the_layers_of_embed(checkpoints):
    expert, encoder = UpstreamExpert(str(checkpoints["eat"])), load_encoder(checkpoints["eat"])
    assert expert.get_downsample_rates("hidden_states") == 2560
    with torch.no_grad():
        found = expert(CLIPS)
        assert len(found["hidden_states"]) == encoder.encoder.depth
        assert {tuple(states.shape) for states in found["hidden_states"]} == {(5, 16, 32)}
        assert torch.equal(found["last_hidden_state"], found["hidden_states"][-1])
        for place, clip in enumerate(CLIPS):
            expected = encoder.embed(clip[None], layers="all", padding="mask").frames[0]  # (L, P, D)
            count = expert.num_frames(len(clip))
            for states, rows in zip(found["hidden_states"], expected, strict=True):
                torch.testing.assert_close(states[place, :count], rows[:count], atol=1e-5, rtol=0)
                assert (states[place, count:] == states[place, count - 1]).all()


@pytest.mark.parametrize("hop_ms", [None, 50, 20])
@pytest.mark.parametrize("name", ["asda", "mae_ast_frame", "ast"])
def test_s3prl__a_clip_alone_has_what_it_has_in_a_batch(checkpoints, name, hop_ms):
    expert = UpstreamExpert(str(checkpoints[name]), hop_ms=hop_ms)
    rate = expert.get_downsample_rates()
    with torch.no_grad():
        together = expert(CLIPS)["last_hidden_state"]
        assert together.shape[1] == -(-max(map(len, CLIPS)) // rate)
        for place, clip in enumerate(CLIPS):
            alone = expert([clip])["last_hidden_state"][0]
            assert len(alone) == -(-len(clip) // rate)
            torch.testing.assert_close(together[place, : len(alone)], alone, atol=1e-5, rtol=0)


def test_s3prl__settings_come_from_the_file_that_its_programs_take(checkpoints, tmp_path):
    file = tmp_path / "settings.json"
    file.write_text(json.dumps({"hop_ms": 40, "padding": "constant"}))
    expert = asda(ckpt=str(checkpoints["asda"]), model_config=str(file), refresh=False)
    assert expert.get_downsample_rates("hidden_states") == 640 and expert.padding == "constant"
    for wrong, message in (("hop_ms: 40", "settings.json: expected json"), ("[40]", "expected an object")):
        file.write_text(wrong)
        with pytest.raises(ValueError, match=message):
            asda(str(checkpoints["asda"]), str(file))
    with pytest.raises(ValueError, match="no checkpoint is given"):
        asda()


def test_s3prl__is_trained_when_asked(checkpoints):
    for name in ("asda", "adapted"):
        expert = asda(str(checkpoints[name]))
        expert.train()
        optimizer = torch.optim.SGD(expert.parameters(), lr=0.1)
        before = expert.trained.encoder.patch_embed.proj.weight.clone()
        sum(states.square().sum() for states in expert(CLIPS)["hidden_states"]).backward()
        assert all(parameter.grad is not None for parameter in expert.parameters())
        optimizer.step()
        assert not torch.equal(before, expert.trained.encoder.patch_embed.proj.weight)


def test_s3prl__warns_of_clips_that_its_featurizer_makes_nothing_of(checkpoints):
    with pytest.warns(UserWarning, match="half a frame"):
        asda(str(checkpoints["asda"]))([noise(1_200), noise(9_000)])


@pytest.mark.parametrize("name", NAMES)
def test_s3prl__featurizer(checkpoints, name):
    interfaces = pytest.importorskip("s3prl.upstream.interfaces", reason="s3prl is not installed (extra [bridges])")
    expert = asda(str(checkpoints[name]))
    featurizer = interfaces.Featurizer(expert, "hidden_states", upstream_device="cpu")
    depth = expert.trained.encoder.depth
    assert featurizer.output_dim == expert.embed_dim
    assert depth == 1 or featurizer.layer_num == depth  # a single layer needs no weights
    with torch.no_grad():
        features = featurizer(CLIPS, expert(CLIPS))
        alone = [featurizer([clip], expert([clip]))[0] for clip in CLIPS]
    for clip, feature, own in zip(CLIPS, features, alone, strict=True):
        assert feature.shape == (round(len(clip) / expert.get_downsample_rates()), expert.embed_dim)
        torch.testing.assert_close(feature, own, atol=1e-5, rtol=0)


@pytest.mark.long
def test_s3prl__hub(checkpoints, monkeypatch):
    pytest.importorskip("s3prl", reason="s3prl is not installed (extra [bridges])")
    import setuptools  # noqa: F401 (brings distutils, which s3prl imports and Python 3.12 lacks)
    import torchaudio

    if not hasattr(torchaudio, "set_audio_backend"):
        with pytest.raises(ImportError, match="takes torchaudio before 2.9"):
            register()
        # What is gone from torchaudio, and is called when s3prl's hub loads.
        for module in [name for name in sys.modules if name.startswith("s3prl")]:
            monkeypatch.delitem(sys.modules, module)
        monkeypatch.setattr(torchaudio, "set_audio_backend", lambda backend: None, raising=False)
        effects = types.ModuleType("torchaudio.sox_effects")
        effects.apply_effects_tensor = effects.apply_effects_file = None
        monkeypatch.setitem(sys.modules, "torchaudio.sox_effects", effects)
        monkeypatch.setattr(torchaudio, "sox_effects", effects, raising=False)
    register()
    from s3prl.nn import Featurizer, S3PRLUpstream

    model = S3PRLUpstream("asda", path_or_url=str(checkpoints["asda"]), extra_conf={"hop_ms": 40}).eval()
    lengths = torch.tensor([16_000, 9_600])
    waveforms = torch.stack([noise(16_000), torch.nn.functional.pad(noise(9_600), (0, 6_400))])
    with torch.no_grad():
        states, counts = model(waveforms, lengths)
        alone, _ = model(waveforms[1:, :9_600], lengths[1:])
    assert len(states) == 2 and counts[0].tolist() == [25, 15]
    torch.testing.assert_close(states[-1][1, :15], alone[-1][0], atol=1e-5, rtol=0)
    assert Featurizer(model)(states, counts)[0].shape == (2, 25, 32)
