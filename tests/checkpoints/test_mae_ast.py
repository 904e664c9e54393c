"""Files of MAE-AST: read, used, converted and written; the BatchNorm of their input becomes the front end's."""

import copy
import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from ASDA.audio.fbank import reference_log_mel
from ASDA.checkpoints.reading import read_with_run
from ASDA.cli.convert import main as convert
from ASDA.inference import CheckpointError, load_encoder, read_checkpoint
from tests.mae_ast_files import oracle_features, released

from .test_conversion import assert_same, load, run


@pytest.fixture(params=["patch", "frame"])
def kind(request):
    return request.param


@pytest.fixture
def file(kind, tmp_path):
    torch.save(released(kind), tmp_path / "released.pt")
    return tmp_path / "released.pt"


def waveform(seconds=0.6):
    return 0.1 * torch.randn(int(16_000 * seconds), generator=torch.Generator().manual_seed(4))


def test_released__features_of_a_waveform_are_the_papers(file, kind):
    encoder = load_encoder(file, target_length_frames=None)
    samples = waveform()
    log_mel = reference_log_mel(samples, window="povey", remove_mean=False)
    expected = oracle_features(load(file), log_mel.double().numpy(), kind)
    assert expected.shape[0] == {"patch": 3 * 8, "frame": 29}[kind]
    np.testing.assert_allclose(encoder.features(samples).numpy(), expected, atol=1e-4)


def test_released__front_end_is_its_batch_norm(file):
    front_end = read_checkpoint(file).front_end
    assert (front_end.window, front_end.remove_mean) == ("povey", False)
    assert front_end.norm_mean == -6.5
    assert front_end.norm_std == pytest.approx(math.sqrt(17.25 + 1e-5), rel=1e-12)


def test_released__sizes_of_the_position_table_are_the_files(tmp_path):
    for tokens, rows in ((160, 20), (167, 20)):
        state = released(max_tokens=tokens)
        state["cfg"]["model"]["max_token_length"] = 48_000  # what a file says is less than what it holds
        torch.save(state, tmp_path / "released.pt")
        checkpoint = read_checkpoint(tmp_path / "released.pt")
        assert checkpoint.encoder_config.max_rows == rows
        assert checkpoint.encoder["positions"].shape == (1, 160, 32)


def test_describe__folds_into_whatever_was_heard_before_the_batch_norm(tmp_path):
    """Pre-training with norm_mean and norm_std of its own: both normalisations become one."""
    state = read_with_run(saved(tmp_path, released(), "released"))[1]
    raw = {**state["task_state"]["front_end"], "norm_mean": -4.0, "norm_std": 3.0}
    state["task_state"]["front_end"] = raw
    front_end = read_checkpoint(saved(tmp_path, state)).front_end
    x = np.linspace(-12, 5, 50)
    once = (x + 4.0) / 6.0
    expected = 0.5 * (once + 6.5) / math.sqrt(17.25 + 1e-5)
    np.testing.assert_allclose((x - front_end.norm_mean) / (2 * front_end.norm_std), expected, rtol=1e-12)


def saved(folder, state, name="saved"):
    torch.save(state, folder / f"{name}.pt")
    return folder / f"{name}.pt"


@pytest.mark.parametrize("way", ["project", "directory", "huggingface"])
def test_convert__there_and_back_bit_for_bit(file, tmp_path, way):
    there = run(file, tmp_path / "there", way)
    back = load(run(there, tmp_path / "back.pt", "published"))
    original = load(file)
    assert_same(back["model"], original["model"])
    assert_same(back["cfg"], original["cfg"])


@pytest.mark.parametrize("layout", ["published", "project", "directory", "huggingface"])
def test_convert__every_layout_computes_the_same(file, tmp_path, layout):
    there = run(file, tmp_path / "there", layout)
    assert read_checkpoint(there).front_end == read_checkpoint(file).front_end
    expected, there = (load_encoder(path, target_length_frames=None) for path in (file, there))
    assert torch.equal(there.features(waveform()), expected.features(waveform()))
    counts = read_checkpoint(tmp_path / "there").training_parts
    block = 4 * (32 * 32 + 32) + 2 * 64 + 2 * 32 * 64 + 64 + 32
    assert counts == {"decoder": 32 + block + 64, "heads": 2 * (256 * 32 + 256), "unused": 32 + 256}


def test_convert__another_normalisation_is_in_the_batch_norm(file, tmp_path):
    folder = run(file, tmp_path / "folder", "directory", "--norm_mean", "-5.5", "--norm_std", "3.25")
    config = json.loads((folder / "config.json").read_text())
    assert config["front_end"]["norm_mean"] == -5.5
    assert config["front_end"]["norm_std"] == pytest.approx(3.25, rel=1e-7)  # through a variance in float32
    back = run(folder, tmp_path / "back.pt", "published")
    front_end = read_checkpoint(back).front_end
    assert front_end.norm_mean == -5.5 and front_end.norm_std == pytest.approx(3.25, rel=1e-6)
    config["front_end"]["norm_mean"] = -7.0  # what people edit has the last word
    (folder / "config.json").write_text(json.dumps(config))
    assert read_checkpoint(run(folder, tmp_path / "edited.pt", "project")).front_end.norm_mean == -7.0


def test_convert__an_encoder_that_mae_ast_does_not_know_is_refused(tmp_path, capsys):
    state = read_with_run(saved(tmp_path, released(), "released"))[1]
    state["cfg"]["model"]["encoder"]["stack"]["norm_eps"] = 1e-3
    source = saved(tmp_path, state)
    assert convert([str(source), str(tmp_path / "x.pt"), "--to", "published"]) == 1
    assert "MAE-AST's layout has no keys for an encoder like" in capsys.readouterr().err
    assert not (tmp_path / "x.pt").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s["cfg"]["model"].pop("encoder_attention_heads"), "cfg.model.encoder_attention_heads: missing"),
        (lambda s: s["cfg"]["model"].update(encoder_layers=3), "encoder.stack.depth: expected 2"),
        (lambda s: s["cfg"]["model"].update(ast_kernel_size_chan=17), "expected a product of 256.*'16 x 17'"),
        (lambda s: s["model"].pop("batch_norm.running_mean"), "model.batch_norm.running_mean: expected a value"),
        (
            lambda s: s["model"].pop("encoder.layers.0.self_attn.v_proj.bias"),
            "self_attn.q_proj.bias: expected queries, keys and",
        ),
        (lambda s: s["model"]["batch_norm.running_var"].fill_(-1.0), "a variance of at least 0"),
    ],
)
def test_released__what_is_wrong_is_said_in_one_line(tmp_path, change, message):
    state = copy.deepcopy(released())
    change(state)
    with pytest.raises(CheckpointError, match=message) as error:
        load_encoder(saved(tmp_path, state))
    assert "\n" not in str(error.value) and "saved.pt" in str(error.value)


def test_front_end__of_another_length_is_kept(file, tmp_path):
    folder = run(file, tmp_path / "folder", "directory", "--target_length", "512")
    recorded = read_checkpoint(file).front_end
    assert read_checkpoint(folder).front_end == replace(recorded, target_length_frames=512)
    assert read_checkpoint(run(folder, tmp_path / "p.pt", "project")).front_end.target_length_frames == 512
