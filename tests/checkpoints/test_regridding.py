"""A trained encoder with another stride: what fine-tuning of SSAST does."""

from pathlib import Path

import pytest
import torch

from ASDA.audio.front_end import FrontEnd
from ASDA.checkpoints.checkpoint import Checkpoint
from ASDA.checkpoints.files import CheckpointError
from ASDA.checkpoints.regridding import regridded
from ASDA.core.config import ConfigError
from ASDA.core.encoder import SpectrogramEncoder
from tests.architectures import make_encoder


def checkpoint(**settings):
    torch.manual_seed(0)
    settings = {"embed_dim": 32, "depth": 1, "num_heads": 4, "positions": "learned", "max_rows": 8} | settings
    encoder = make_encoder(attention="plain", num_prefix_tokens=2, **settings)
    return Checkpoint(Path("ssast.pt"), "ssast", encoder.config, encoder.state_dict(), FrontEnd(128))


def test_regridded__overlapping_patches_get_interpolated_positions():
    before = checkpoint()
    after = regridded(before, {"patches": {"stride": [10, 10]}})
    config = after.encoder_config
    assert (config.max_rows, config.columns) == (12, 12)  # 128 frames, 128 mel bins
    image = before.encoder["positions"][:, 2:].transpose(1, 2).unflatten(2, (8, 8))
    image = torch.nn.functional.interpolate(image, size=(12, 12), mode="bilinear")
    torch.testing.assert_close(after.encoder["positions"][:, 2:], image.flatten(2).transpose(1, 2))
    assert torch.equal(after.encoder["positions"][:, :2], before.encoder["positions"][:, :2])
    encoder = SpectrogramEncoder(config)
    encoder.load_state_dict(after.encoder)
    assert encoder(torch.randn(1, 1, 128, 128))[1].shape == (1, 144, 32)
    same = [n for n in before.encoder if n != "positions"]
    assert all(torch.equal(after.encoder[name], before.encoder[name]) for name in same)


def test_regridded__fewer_rows_are_those_in_the_middle():
    before, after = checkpoint(), regridded(checkpoint(), {"max_rows": 3})
    rows = before.encoder["positions"][0, 2:].unflatten(0, (8, 8))
    assert torch.equal(after.encoder["positions"][0, 2:], rows[3:6].flatten(0, 1))  # from 8 // 2 - 3 // 2


def test_regridded__without_changes_is_the_same():
    before = checkpoint()
    assert regridded(before, {}) is before
    assert regridded(before, {"patches": {"stride": [16, 16]}, "stack": {"depth": 1}}) is before


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"stack": {"depth": 2}}, CheckpointError, "can change patches.stride and max_rows alone"),
        ({"patches": {"size": [8, 8], "stride": [8, 8]}}, CheckpointError, "can change patches.stride and max_rows"),
        ({"patches": {"stride": [17, 16]}}, ConfigError, "would skip sound"),
        ({"patches": {"strides": [8, 8]}}, ConfigError, "patches.strides: unknown"),
    ],
)
def test_regridded__refuses_what_would_be_another_encoder(changes, error, message):
    with pytest.raises(error, match=message):
        regridded(checkpoint(), changes)


def test_regridded__computed_positions_have_no_other_grid():
    with pytest.raises(CheckpointError, match="takes learned positions; these are sincos_2d"):
        regridded(checkpoint(positions="sincos_2d"), {"patches": {"stride": [10, 10]}})
