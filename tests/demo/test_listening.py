"""What the page of asda-demo asks of a checkpoint, against asda-infer and the encoder called by hand."""

import json

import numpy as np
import pytest
import soundfile
import torch

from ASDA.audio.errors import AudioError
from ASDA.checkpoints.reading import read_checkpoint
from ASDA.cli.infer import main as infer
from ASDA.demo.listening import Listener
from ASDA.inference import load_encoder
from tests.published_files import published_finetuned, published_pretraining


@pytest.fixture
def checkpoint(tmp_path):
    torch.save(published_finetuned(num_classes=3, task={"target_length": 96}), tmp_path / "finetuned.pt")
    return tmp_path / "finetuned.pt"


@pytest.fixture
def clip(tmp_path):
    soundfile.write(tmp_path / "clip.wav", 0.1 * np.random.default_rng(0).standard_normal(40_000), 16_000)
    return tmp_path / "clip.wav"


def test_listen__hears_a_clip_window_after_window_as_asda_infer_does(checkpoint, clip, capsys):
    heard = Listener("a model", read_checkpoint(checkpoint), ["a", "b", "c"]).listen(clip, top_k=2, threshold=0.3)
    words = ["--checkpoint", checkpoint, clip, "--segments", "--threshold", "0.3", "--top_k", "5", "--json"]
    assert infer([str(word) for word in words]) == 0
    expected = json.loads(capsys.readouterr().out)
    probable = [found.index for found in heard.predictions if found.score >= 0.3]
    assert probable and probable == [found["index"] for found in expected["predictions"][:2]]
    assert [found.label for found in heard.predictions] == ["abc"[found.index] for found in heard.predictions]
    for ours, theirs in zip(heard.events, expected["segments"], strict=True):
        assert (ours.index, ours.start_s, ours.end_s) == (theirs["index"], theirs["start_s"], theirs["end_s"])
        assert ours.score == pytest.approx(theirs["score"], abs=1e-6)
    assert heard.duration_s == 2.5 and len(heard.frames) == pytest.approx(250, abs=2) and heard.events


def test_listen__an_encoder_without_classes_shows_what_it_attends_to(tmp_path, clip):
    torch.save(published_pretraining(), tmp_path / "pretrained.pt")
    listener = Listener("a model", read_checkpoint(tmp_path / "pretrained.pt"))
    heard = listener.listen(clip, top_k=5, threshold=0.3)
    assert (listener.names, heard.predictions, heard.events) == ([], [], [])
    expected = load_encoder(tmp_path / "pretrained.pt").attention(clip)
    assert torch.equal(heard.attention.rollout(), expected.rollout())


@pytest.mark.parametrize(("name", "content"), [("clip.wav", b"RIFF"), ("list.tsv", b"/\nclip.wav\t40000\n")])
def test_listen__a_file_that_is_no_audio_is_refused(checkpoint, clip, name, content):
    """A manifest too: it would name other files of the machine."""
    file = clip.parent / "uploaded" / name
    file.parent.mkdir()
    file.write_bytes(content)
    with pytest.raises(AudioError, match=name):
        Listener("a model", read_checkpoint(checkpoint)).listen(file, top_k=2, threshold=0.3)
