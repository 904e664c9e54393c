"""asda-look: its files, and what its pictures hold."""

import json

import numpy as np
import pytest
import soundfile as sf
import torch
from matplotlib import pyplot

from ASDA.cli.look import main
from ASDA.reports import attention_figures
from tests.published_files import published_pretraining


@pytest.fixture
def files(tmp_path):
    torch.save(published_pretraining(), tmp_path / "a.pt")
    sf.write(tmp_path / "clip.wav", np.random.default_rng(0).normal(0, 0.1, 8_000), 16_000)
    return tmp_path


def test_look__writes_pictures_numbers_and_one_page(files, capsys):
    words = [str(files / "a.pt"), str(files / "clip.wav"), "--output", str(files / "look"), "--html"]
    assert main(words) == 0
    assert sorted(file.name for file in (files / "look").iterdir()) == [
        "look.html",
        "maps.png",
        "numbers.json",
        "numbers.png",
        "rollout.png",
    ]
    (heads,) = json.loads((files / "look" / "numbers.json").read_text())["asda_look"].values()
    assert {head["layer"] for head in heads} == {1, 2} and all(0 <= head["negative_share"] < 1 for head in heads)
    page = (files / "look" / "look.html").read_text()
    assert page.count("data:image/png;base64,") == 3 and "clip.wav" in page
    assert str(files / "look" / "maps.png") in capsys.readouterr().out
    assert main(words) == 0  # its own files are written anew


def test_look__two_checkpoints_have_pictures_of_their_own_and_share_the_numbers(files):
    torch.save(published_pretraining(seed=1), files / "b.pt")
    words = [str(files / name) for name in ("a.pt", "b.pt", "clip.wav")]
    assert main([*words, "--output", str(files / "look"), "--layers", "2"]) == 0
    assert (files / "look" / "maps_1.png").exists() and (files / "look" / "maps_2.png").exists()
    assert len(json.loads((files / "look" / "numbers.json").read_text())["asda_look"]) == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [(["--layers", "0"], "--layers 0: expected numbers of layers from 1 to 2"), (["--query", "x"], "expected a time")],
)
def test_look__says_what_it_cannot_do(files, capsys, words, said):
    assert main([str(files / "a.pt"), str(files / "clip.wav"), "--output", str(files / "look"), *words]) == 1
    assert said in capsys.readouterr().err


def test_maps__stand_in_seconds_and_hertz_and_signed_ones_have_a_symmetric_scale(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(attention_figures, "save", lambda figure, file: drawn.append(figure))
    weights = np.linspace(-0.2, 0.5, 32).reshape(4, 8)
    rows = {"layer 1": {"map 1": np.abs(weights), "difference": weights}}
    attention_figures.draw_maps(rows, np.zeros((64, 128)), np.linspace(20, 8000, 128), tmp_path / "a.png")
    heard, _, positive, signed = [axis for axis in drawn[0].axes if axis.get_xlabel()]
    assert heard.get_xlabel() == "time (s)" and heard.get_ylabel() == "frequency (Hz)"
    assert positive.images[0].get_extent() == signed.images[0].get_extent() == [0, 0.64, 0, 128]
    assert signed.images[0].get_clim() == (-0.5, 0.5) and positive.images[0].get_clim() == (0, 0.5)
    assert np.array_equal(signed.images[0].get_array(), weights.T) and signed.get_title() == "layer 1, difference"
    pyplot.close(drawn[0])
