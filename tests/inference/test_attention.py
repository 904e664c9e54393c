"""Numbers about attention whose value is known."""

import dataclasses

import numpy as np
import pytest
import torch

from ASDA.audio.front_end import FrontEnd
from ASDA.core.attention_maps import LayerAttention
from ASDA.core.config import PatchConfig
from ASDA.core.patches import PatchGrid
from ASDA.inference import load_encoder
from ASDA.inference.attention import ClipAttention, clip_attention
from tests.published_files import published_pretraining

GRID = PatchGrid(4, 8)
S = 1 + GRID.num_patches


def clip(maps, coefficients=(1.0,), num_real_frames=64, spectrogram=None):
    """Maps (M, H, S, S) -> a clip of 64 frames with one layer."""
    heard = torch.zeros(64, 128) if spectrogram is None else spectrogram
    layer = LayerAttention(maps[None], coefficients)
    return ClipAttention(heard, num_real_frames, [layer], GRID, PatchConfig((16, 16)), 1, FrontEnd(64))


def uniform(maps=1, heads=2):
    return torch.full((maps, heads, S, S), 1 / S)


def test_numbers__of_attention_to_all_alike():
    for head in clip(uniform()).numbers():
        assert head.entropy == pytest.approx([1.0]) and head.negative_share == 0
    time_s, hz = clip(uniform()).centres()
    assert next(clip(uniform()).numbers()).distance_s == pytest.approx(float((time_s[:, None] - time_s).abs().mean()))
    assert next(clip(uniform()).numbers()).distance_hz == pytest.approx(
        float((hz[:, None] - hz).abs().mean()), rel=1e-5
    )


def test_numbers__of_attention_to_oneself():
    (head,) = clip(torch.eye(S)[None, None]).numbers()
    assert (head.entropy, head.distance_s, head.distance_hz) == ((0.0,), 0.0, 0.0)


def test_numbers__of_two_maps_that_cancel_but_for_one_patch():
    first, second = torch.eye(S)[None, None], torch.full((1, 1, S, S), 1 / S)
    (head,) = clip(torch.cat([first, second]), (1.0, -0.5)).numbers()
    others = 0.5 * (S - 1) / S
    assert head.negative_share == pytest.approx(others / (others + 1 - 0.5 / S), rel=1e-5)
    assert head.entropy == pytest.approx([0, 1])


def test_numbers__the_share_of_quiet_patches_is_theirs_of_uniform_weights():
    heard = torch.zeros(64, 128)
    heard[16:32, :64] = 3.0  # four of the 32 patches sound
    of = clip(uniform(), spectrogram=heard)
    quiet = of.quiet_patches()
    assert quiet.sum() == 28 and not quiet[8:12].any()
    assert next(of.numbers()).quiet_share == pytest.approx(28 / 32)
    assert of.quiet_patches(margin_db=1000).all()


def test_numbers__padding_is_not_quiet_and_asks_nothing():
    of = clip(uniform(), num_real_frames=20)  # two of the four rows
    assert of.padding_patches().tolist() == [False] * 16 + [True] * 16
    assert not (of.padding_patches() & of.quiet_patches()).any()
    assert next(of.numbers()).padding_share == pytest.approx(0.5)


def test_of_token__is_a_picture_of_time_and_frequency():
    maps = torch.zeros(1, 1, S, S)
    maps[..., 0, 1 + 2 * GRID.columns + 5] = 1.0  # CLS looks at row 2, column 5
    picture = clip(maps).of_token(maps[0, 0], 0)
    assert picture.shape == tuple(GRID) and picture[2, 5] == 1 and picture.sum() == 1


def test_clip_attention__hears_what_features_hears(tmp_path):
    torch.save(published_pretraining(), tmp_path / "a.pt")
    encoder = load_encoder(tmp_path / "a.pt", target_length_frames=64)
    noise = np.random.default_rng(0).normal(0, 0.1, 5_000).astype(np.float32)
    of = clip_attention(encoder, (noise, 16_000))
    assert torch.equal(of.spectrogram, encoder.spectrogram((noise, 16_000))[0])
    assert (of.num_real_frames, tuple(of.grid)) == (29, (4, 8))
    assert len(of.layers) == encoder.encoder.depth and len(list(of.numbers())) == sum(
        layer.maps.shape[2] for layer in of.layers
    )
    assert all(np.isfinite(dataclasses.astuple(head)[3:]).all() for head in of.numbers())
