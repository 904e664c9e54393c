"""What a user is told where a host is missing; a torchaudio that cannot decode."""

import subprocess
import sys
from pathlib import Path

import pytest
import soundfile
import torch
import torchaudio

from ASDA.bridges import hosts
from tests.bridges.conftest import noise

ROOT = Path(__file__).resolve().parents[2]
WITHOUT_HOSTS = """
import sys

class Absent:
    def find_spec(name, path=None, target=None):
        if name.split(".")[0] in ("mteb", "evar", "s3prl"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent)
from ASDA.bridges import hear, s3prl_upstream, xares_encoder

for load in (
    lambda: __import__("ASDA.bridges.maeb"),
    lambda: __import__("ASDA.bridges.evar_repr"),
    s3prl_upstream.register,
):
    try:
        load()
    except ModuleNotFoundError as error:
        print(error)
"""


def test_bridges__say_what_to_install():
    command = [sys.executable, "-W", "ignore", "-c", WITHOUT_HOSTS]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    said = run.stdout.splitlines()
    assert run.returncode == 0 and len(said) == 3, run.stderr
    assert said[0] == 'ASDA.bridges.maeb needs mteb: pip install "asda[bridges]"'
    assert said[1].startswith("ASDA.bridges.evar_repr needs evar: run this in a checkout of")
    assert said[2] == 'ASDA.bridges.s3prl_upstream needs s3prl: pip install "asda[bridges]"'


def test_require__passes_on_what_the_host_itself_lacks(tmp_path, monkeypatch):
    (tmp_path / "half_there").mkdir()
    (tmp_path / "half_there" / "__init__.py").write_text("import not_there_at_all")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ModuleNotFoundError, match="not_there_at_all"):
        hosts.require("half_there", "a bridge", "pip install half_there")


@pytest.mark.parametrize("error", [ImportError("TorchCodec is required"), RuntimeError("Could not load libtorchcodec")])
def test_torchaudio__that_cannot_decode_gets_soundfile(tmp_path, monkeypatch, error):
    def broken(*_, **__):
        raise error

    monkeypatch.setattr(torchaudio, "load", broken)
    with pytest.warns(UserWarning, match="torchaudio.load cannot decode here"):
        hosts.load_with_soundfile_if_needed()
    stereo = torch.stack([noise(500), noise(500, seed=1)])
    soundfile.write(tmp_path / "clip.wav", stereo.T.numpy(), 22_050, subtype="FLOAT")
    waveform, rate_hz = torchaudio.load(str(tmp_path / "clip.wav"))
    assert torch.equal(waveform, stereo) and rate_hz == 22_050
    part, _ = torchaudio.load(tmp_path / "clip.wav", 100, 50, channels_first=False)
    assert torch.equal(part, stereo[:, 100:150].T)
    with pytest.raises(ValueError, match="normalize=False"):
        torchaudio.load(tmp_path / "clip.wav", normalize=False)


def test_torchaudio__that_decodes_stays_as_it_is(monkeypatch):
    def works(_):
        return torch.zeros(1, 16), 16_000

    monkeypatch.setattr(torchaudio, "load", works)
    hosts.load_with_soundfile_if_needed()
    assert torchaudio.load is works
