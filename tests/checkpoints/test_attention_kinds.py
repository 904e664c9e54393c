"""Kinds of attention that the published programs do not know: in every layout that has a place for them."""

import json

import numpy as np
import pytest
import torch

from ASDA.checkpoints.layouts.published_architecture import keys_of_config
from ASDA.checkpoints.layouts.published_names import encoder_to_published
from ASDA.checkpoints.reading import read_with_run
from ASDA.cli.convert import main as convert
from ASDA.cli.info import main as info
from ASDA.inference import CheckpointError, load_encoder, read_checkpoint
from tests.architectures import encoder_config, make_encoder
from tests.published_files import published_pretraining

KINDS = {
    "lambda of each layer": {"diff_lambda": [0.1, 0.6]},
    "learned lambda of each layer": {"lambda_mode": "learned", "lambda_init": [0.1, 0.6], "out_scale": None},
    "lambda of each token": {"attention": "differential_v2", "lambda_init": [0.3, 0.6]},
}


def own_checkpoint(path, **settings):
    """A pre-training checkpoint of this project with a small encoder of these settings."""
    source = path.with_name("source.pt")  # a file of its own: what is read of it stays mapped
    torch.save(published_pretraining(), source)
    _, state = read_with_run(source)
    torch.manual_seed(0)
    encoder = make_encoder(embed_dim=32, depth=2, num_heads=4, **settings)
    with torch.no_grad():
        for parameter in encoder.stack.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    keys = keys_of_config(encoder.config)
    state["cfg"]["model"].update({name: value for name, value in keys.items() if name != "modalities"})
    decoder = {name: tensor for name, tensor in state["model"].items() if ".decoder." in name}
    state["model"] = {**decoder, **encoder_to_published(encoder.state_dict())}
    torch.save(state, path)
    source.unlink()
    return path


@pytest.fixture(params=KINDS)
def kind(request):
    return KINDS[request.param]


@pytest.fixture
def checkpoint(kind, tmp_path):
    return own_checkpoint(tmp_path / "own.pt", **kind)


def test_read_checkpoint__has_the_architecture_in_every_layout(checkpoint, kind, tmp_path, spectrogram):
    expected = read_checkpoint(checkpoint).encoder_config
    assert expected == encoder_config(embed_dim=32, depth=2, num_heads=4, **kind)
    with torch.no_grad():
        features = load_encoder(checkpoint)(spectrogram)
    path = checkpoint
    for layout in ("directory", "project", "huggingface"):
        assert convert([str(path), str(tmp_path / layout), "--to", layout]) == 0
        path = tmp_path / layout
        assert read_checkpoint(path).encoder_config == expected
        with torch.no_grad():
            assert torch.equal(load_encoder(path)(spectrogram), features)
    back = torch.load(tmp_path / "project", weights_only=True)["model"]
    there = torch.load(checkpoint, weights_only=True)["model"]
    assert back.keys() == there.keys() and all(torch.equal(back[name], there[name]) for name in there)


def test_read_checkpoint__without_a_recorded_architecture_takes_the_kind_from_the_tensors(checkpoint, kind):
    state = torch.load(checkpoint, weights_only=True)
    checkpoint = checkpoint.with_name("unrecorded.pt")
    del state["cfg"]["model"]["encoder"], state["cfg"]["model"]["attention"], state["cfg"]["model"]["lambda_mode"]
    torch.save(state, checkpoint)
    assert read_checkpoint(checkpoint).encoder_config == encoder_config(embed_dim=32, depth=2, num_heads=4, **kind)


def test_convert__to_published_refuses_or_says_what_is_not_honoured(checkpoint, kind, tmp_path, capsys):
    code = convert([str(checkpoint), str(tmp_path / "published.pt"), "--to", "published"])
    said = capsys.readouterr().err
    if "attention" in kind:
        assert code == 1 and "the published layout has no keys for an encoder like" in said
        assert not (tmp_path / "published.pt").exists()
        return
    assert code == 0 and ("diff_lambda" in said or "lambda_init" in said)
    assert read_checkpoint(tmp_path / "published.pt").encoder_config == read_checkpoint(checkpoint).encoder_config


def test_info__counts_the_parameters_of_the_tensors(checkpoint, capsys):
    assert info([str(checkpoint), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    tensors = read_checkpoint(checkpoint).encoder
    assert found["parameters"]["total"] == sum(t.numel() for name, t in tensors.items() if name != "positions")
    assert found["gflop_per_clip"] > 0
    assert info([str(checkpoint)]) == 0
    assert "stack.attention.kind" in capsys.readouterr().out


def test_attention__of_a_clip_has_both_maps_and_what_they_come_to(checkpoint):
    noise = np.random.default_rng(0).normal(0, 0.1, 8_000).astype(np.float32)
    seen = load_encoder(checkpoint, target_length_frames=64).attention(noise, 16_000)
    assert [tuple(layer.maps.shape) for layer in seen.layers] == [(1, 2, 4, 33, 33)] * 2
    heads = list(seen.numbers())
    assert len(heads) == 2 * 4 and all(len(head.entropy) == 2 for head in heads)
    for layer in seen.layers:
        left = layer.weights.sum(dim=-1)  # 1 - lambda
        assert left.shape == (1, 4, 33) and bool(((left > 0) & (left < 1)).all())


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("lambda_init", [0.1], "stack.attention.lambda_init: expected one number, or one for each of the 2 layers"),
        ("lambda_init", 7, "stack.attention.lambda_init: expected a number"),
        ("kind", "differential_v3", "stack.attention: expected a table with kind = plain or differential"),
    ],
)
def test_read_checkpoint__an_edited_config_is_refused_in_one_line(checkpoint, tmp_path, setting, value, said):
    assert convert([str(checkpoint), str(tmp_path / "folder"), "--to", "directory"]) == 0
    file = tmp_path / "folder" / "config.json"
    config = json.loads(file.read_text())
    config["encoder"]["stack"]["attention"][setting] = value
    file.write_text(json.dumps(config))
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(tmp_path / "folder")
    assert said in str(caught.value) and str(file) in str(caught.value) and "\n" not in str(caught.value)
