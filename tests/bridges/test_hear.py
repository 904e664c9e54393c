"""HEAR's own validator, and what it does not look at."""

import sys
import types
import warnings
from importlib.machinery import ModuleSpec

import pytest
import torch

from ASDA.bridges import hear
from ASDA.inference.model import load_encoder
from tests.bridges.conftest import NAMES, noise, padded


@pytest.fixture
def validator(monkeypatch):
    """The validator without TensorFlow, which it imports to tell TensorFlow's models from others."""
    pytest.importorskip("hearvalidator", reason="hearvalidator is not installed; scripts/setup.sh does it")
    tensorflow = types.ModuleType("tensorflow")
    tensorflow.Module, tensorflow.float32 = type("Module", (), {}), None
    tensorflow.__spec__ = ModuleSpec("tensorflow", None)  # torch asks whether it is installed
    monkeypatch.setitem(sys.modules, "tensorflow", tensorflow)
    from hearvalidator import validate

    return validate


@pytest.mark.parametrize("name", NAMES)
def test_hear__validator_passes(validator, checkpoints, name, capsys):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        validator.ValidateModel("ASDA.bridges.hear", str(checkpoints[name]), "cpu")()
    assert "Checking get_scene_embeddings" in capsys.readouterr().out
    about_stamps = [str(warning.message) for warning in said if "IMPORTANT" not in str(warning.message)]
    if name in ("asda", "eat", "mae_ast", "finetuned", "adapted", "32_khz"):
        assert not about_stamps


@pytest.mark.parametrize("hop_ms", [10, 50, 160])
def test_hear__validator_passes_with_any_hop(validator, checkpoints, hop_ms, monkeypatch):
    load = hear.load_model
    monkeypatch.setattr(hear, "load_model", lambda path: load(path, hop_ms=hop_ms))
    validator.ValidateModel("ASDA.bridges.hear", str(checkpoints["asda"]), "cpu")()


def test_hear__time_stamps_are_middles_evenly_spaced_within_the_clip(checkpoints):
    clips = torch.stack([noise(40_000), noise(40_000, seed=1)])
    for hop_ms, spacing in ((None, 40), (50, 50), (160, 160)):
        model = hear.load_model(str(checkpoints["asda"]), hop_ms=hop_ms)
        values, stamps = hear.get_timestamp_embeddings(clips, model)
        assert values.shape == (*stamps.shape, model.timestamp_embedding_size) and values.dtype == torch.float32
        assert torch.equal(stamps[0], stamps[1]) and (stamps.diff() == spacing).all()
        assert 0 <= stamps[0, 0] <= 80 and 2500 - spacing < stamps[0, -1] <= 2500
        assert not values.requires_grad


def test_hear__embeddings_are_those_of_embed(checkpoints):
    clips = torch.stack([noise(40_000), noise(40_000, seed=1)])
    model, encoder = hear.load_model(str(checkpoints["eat"])), load_encoder(checkpoints["eat"])
    with torch.no_grad():
        expected = encoder.embed(clips, padding="mask")
    values, stamps = hear.get_timestamp_embeddings(clips, model)
    of_rows = (stamps[0] % 160) == 80
    torch.testing.assert_close(values[:, of_rows], expected.frames, atol=1e-5, rtol=0)
    torch.testing.assert_close(stamps[0, of_rows].double(), 1000 * expected.times_s.mean(dim=1))
    torch.testing.assert_close(hear.get_scene_embeddings(clips, model), expected.mean, atol=1e-5, rtol=0)
    cls = hear.load_model(str(checkpoints["eat"]), pooling="cls")
    torch.testing.assert_close(hear.get_scene_embeddings(clips, cls), expected.cls, atol=1e-5, rtol=0)


@pytest.mark.parametrize("num_samples", [1, 500, 1_000])
def test_hear__the_stamp_of_a_short_clip_is_within_it(checkpoints, num_samples):
    model = hear.load_model(str(checkpoints["asda"]), hop_ms=160)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        values, stamps = hear.get_timestamp_embeddings(torch.zeros(3, num_samples), model)
    assert values.shape[:2] == (3, 1) and 0 < stamps.max() <= num_samples / 16


@pytest.mark.parametrize(
    ("own_hz", "stated_hz"), [(8_000, 16_000), (16_000, 16_000), (24_000, 32_000), (96_000, 48_000)]
)
def test_hear__states_a_rate_that_its_tasks_have(checkpoints, own_hz, stated_hz):
    model = hear.load_model(str(checkpoints["asda"]), sample_rate_hz=own_hz)
    assert model.sample_rate == stated_hz and isinstance(model.scene_embedding_size, int)
    values, stamps = hear.get_timestamp_embeddings(noise(stated_hz)[None], model)
    assert stamps[0, -1] == 1000 and torch.isfinite(values).all()


def test_hear__without_a_checkpoint_says_so():
    with pytest.raises(ValueError, match="no checkpoint is given"):
        hear.load_model()


def test_hear__moves_with_the_model(checkpoints):
    model = hear.load_model(str(checkpoints["asda"])).to(torch.float64)
    assert hear.get_scene_embeddings(padded([noise(9_000)]), model).dtype == torch.float32
