"""EVAR: its class in a stand-in for its package, of which there is no release; its programs; clips that it fills up."""

import importlib
import json
import sys

import pytest
import torch

from ASDA.bridges.__main__ import main
from ASDA.inference.model import load_encoder
from tests.bridges.conftest import noise, padded

BASE = """
import torch

class BaseAudioRepr(torch.nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.cfg = dict(cfg)

    def precompute(self, device, data_loader):
        pass
"""
PROGRAM = """
import json, sys
import evar, torch
cfg = json.loads(sys.argv[1])
representation = eval("evar." + cfg["audio_repr"])(cfg)
representation.precompute("cpu", None)
with torch.no_grad():
    print(torch.nn.DataParallel(representation)(torch.zeros(2, 8_000)).shape)
"""
CLIPS = [noise(16_000), noise(9_600), noise(700)]


@pytest.fixture
def evar(tmp_path, monkeypatch):
    """EVAR's folder, with as much of it as the bridge touches."""
    (tmp_path / "evar").mkdir()
    (tmp_path / "evar" / "__init__.py").write_text("")
    (tmp_path / "evar" / "ar_base.py").write_text(BASE)
    (tmp_path / "program.py").write_text(PROGRAM)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    loaded = ("evar", "evar.ar_base", "ASDA.bridges.evar_repr")
    for module in loaded:
        monkeypatch.delitem(sys.modules, module, raising=False)
    yield importlib.import_module("ASDA.bridges.evar_repr")
    for module in loaded:
        sys.modules.pop(module, None)


def config(checkpoint, **settings):
    return {"weight_file": str(checkpoint), "feature_d": 32, "sample_rate": 16_000, "batch_size": 4, **settings}


def test_evar__is_what_embed_gives_of_each_clip_alone(evar, checkpoints):
    encoder, filled_up = load_encoder(checkpoints["eat"]), padded([*CLIPS, noise(24_000)])
    for pooling in ("mean", "cls"):
        representation = evar.AR_ASDA(config(checkpoints["eat"], pooling=pooling))
        with torch.no_grad():
            vectors, frames = representation(filled_up), representation.encode_frames(filled_up)
            assert vectors.shape == (4, 32) and frames.shape == (4, 32, 9)
            for clip, vector, own in zip(CLIPS, vectors, frames, strict=False):
                expected = encoder.embed(clip[None], padding="mask")
                torch.testing.assert_close(vector, getattr(expected, pooling)[0], atol=1e-5, rtol=0)
                count = representation.encoder.num_frames(len(clip))
                torch.testing.assert_close(own[:, :count].T, expected.frames[0, :count], atol=1e-5, rtol=0)
                assert not own[:, count:].any()


def test_evar__takes_the_rate_of_its_tasks(evar, checkpoints):
    representation = evar.AR_ASDA(config(checkpoints["eat"], sample_rate=32_000))
    with torch.no_grad():
        expected = representation.encoder.trained.embed(noise(32_000)[None], sample_rate_hz=32_000, padding="mask")
        torch.testing.assert_close(representation(noise(32_000)[None]), expected.mean, atol=1e-5, rtol=0)


def test_evar__can_be_trained(evar, checkpoints):
    for name in ("eat", "adapted"):
        representation = evar.AR_ASDA(config(checkpoints[name])).train()
        representation(padded(CLIPS)).square().sum().backward()
        assert all(parameter.grad is not None for parameter in representation.parameters())


def test_evar__another_width_is_refused(evar, checkpoints):
    with pytest.raises(ValueError, match=r"feature_d=768, but .*eat.pt has 32"):
        evar.AR_ASDA(config(checkpoints["eat"], feature_d=768))


@pytest.mark.usefixtures("evar")
def test_evar__its_programs_find_the_class(checkpoints, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["python"])
    main(["evar", "program.py", json.dumps(config(checkpoints["eat"], audio_repr="ar_asda.AR_ASDA"))])
    assert "torch.Size([2, 32])" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "usage: python -m ASDA.bridges evar|s3prl PROGRAM.py"),
        (["hear", "program.py"], "usage: python -m ASDA.bridges evar|s3prl PROGRAM.py"),
        (["evar"], "usage: "),
        (["evar", "lineareval.py"], "lineareval.py: no such program; start this in the folder where evar has it"),
        (["evar", __file__], "ASDA.bridges.evar_repr needs evar: run this in a checkout of"),
    ],
)
def test_main__says_what_is_missing(arguments, message, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "ASDA.bridges.evar_repr", raising=False)
    monkeypatch.setitem(sys.modules, "evar", None)
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert str(ended.value).startswith(message) and "\n" not in str(ended.value)
