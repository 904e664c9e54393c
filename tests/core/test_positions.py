import math

import pytest
import torch

from ASDA.core.patches import PatchGrid, row_padding_mask
from ASDA.core.positions import (
    POSITIONS,
    interleaved_1d,
    position_table,
    positions_of,
    sincos_1d,
    sincos_1d_patches,
    sincos_2d,
)
from tests.architectures import encoder_config


def naive_sincos(position, dim):
    angles = [position / 10000 ** (2 * i / dim) for i in range(dim // 2)]
    return [math.sin(a) for a in angles] + [math.cos(a) for a in angles]


@pytest.mark.parametrize(("rows", "columns", "dim"), [(5, 3, 8), (768, 8, 12), (2, 7, 64)])
def test_sincos_2d__equals_loops(rows, columns, dim):
    table = sincos_2d(PatchGrid(rows, columns), 1, dim)
    assert table.dtype == torch.float32
    assert table.shape == (rows * columns, dim)
    expected = []
    for time in range(rows):
        for mel in range(columns):
            expected.append(naive_sincos(mel, dim // 2) + naive_sincos(time, dim // 2))
    # float32 angles up to 767 radians are off by up to 767 * 2^-24 = 5e-5
    torch.testing.assert_close(table.double(), torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-4)


def test_sincos_2d__short_grids_are_the_first_rows_of_long_ones():
    assert torch.equal(sincos_2d(PatchGrid(13, 8), 1, 32), sincos_2d(PatchGrid(768, 8), 1, 32)[: 13 * 8])


@pytest.mark.parametrize(("rows", "columns", "dim"), [(5, 3, 8), (96, 8, 6)])
@pytest.mark.parametrize(("kind", "counted"), [(sincos_1d, 2), (sincos_1d_patches, 0)])
def test_sincos_1d__counts_the_sequence_or_the_patches_alone(rows, columns, dim, kind, counted):
    table = kind(PatchGrid(rows, columns), 2, dim)
    assert table.dtype == torch.float32
    expected = [naive_sincos(position, dim) for position in range(counted + rows * columns)]
    torch.testing.assert_close(table.double(), torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-4)


def test_sincos__rejects_widths_that_do_not_split():
    with pytest.raises(ValueError, match="number of channels that 4 divides, got 6"):
        sincos_2d(PatchGrid(2, 2), 1, 6)
    with pytest.raises(ValueError, match="even number of channels, got 7"):
        sincos_1d(PatchGrid(2, 2), 1, 7)


def test_interleaved_1d__has_sines_and_cosines_in_turns():
    table = interleaved_1d(PatchGrid(5, 3), 0, 8)
    for n in range(15):
        for i in range(4):
            angle = n / 10000 ** (2 * i / 8)
            assert table[n, 2 * i].item() == pytest.approx(math.sin(angle), abs=1e-6)
            assert table[n, 2 * i + 1].item() == pytest.approx(math.cos(angle), abs=1e-6)


def config(positions="learned", **settings):
    return encoder_config(
        **{"embed_dim": 8, "num_heads": 2, "num_mel_bins": 32, "max_rows": 6} | settings, positions=positions
    )


def test_positions_of__a_learned_table_has_entries_for_the_prefix_tokens_first():
    table = torch.arange(2 + 12.0).view(1, 14, 1)
    prefix, patches = positions_of(table, PatchGrid(6, 2), config(num_prefix_tokens=2))
    assert prefix.flatten().tolist() == [0, 1] and patches.flatten().tolist() == list(range(2, 14))


def test_positions_of__shorter_clips_get_the_middle_of_a_learned_table():
    table = torch.arange(1 + 12.0).view(1, 13, 1)
    _, patches = positions_of(table, PatchGrid(3, 2), config())
    assert patches.flatten().tolist() == [5, 6, 7, 8, 9, 10]  # rows 2 to 4 of 6: 6 // 2 - 3 // 2, as published


def test_positions_of__longer_clips_get_a_learned_table_interpolated():
    table = torch.randn(1, 1 + 12, 8)
    _, patches = positions_of(table, PatchGrid(9, 2), config())
    rows = table[0, 1:].view(6, 2, 8)
    for row in range(9):
        place = (row + 0.5) * 6 / 9 - 0.5  # where the centre of a row lies in the table
        low, high = max(math.floor(place), 0), min(math.floor(place) + 1, 5)
        share = max(place, 0) - low
        expected = (1 - share) * rows[low] + share * rows[high]
        torch.testing.assert_close(patches[0, 2 * row : 2 * row + 2], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("positions", [name for name, kind in POSITIONS.items() if not kind.is_learned])
def test_positions_of__fixed_tables_begin_alike_whatever_the_length(positions):
    settings = config(positions)
    table = POSITIONS[positions].table(PatchGrid(6, 2), 1, 8)[None]
    short, whole = (positions_of(table, PatchGrid(rows, 2), settings)[1] for rows in (3, 6))
    assert torch.equal(short, whole[:, :6])


@pytest.mark.parametrize(
    ("positions", "place"), [("learned", "head"), ("sincos_1d", "middle"), ("interleaved_1d", "middle")]
)
def test_positions_of__a_padded_clip_has_those_of_its_own_length(positions, place):
    config = encoder_config(embed_dim=8, num_heads=2, positions=positions, prefix_place=place, max_rows=9, depth=1)
    table, rows = torch.randn_like(position_table(config)), [7, 4, 1]
    padding = row_padding_mask(torch.tensor(rows), PatchGrid(7, 8))
    prefix, patches = positions_of(table, PatchGrid(7, 8), config, padding)
    for clip, own in enumerate(rows):
        own_prefix, own_patches = positions_of(table, PatchGrid(own, 8), config)
        assert torch.equal(patches[clip, : own * 8], own_patches[0])
        assert torch.equal(prefix[clip if len(prefix) > 1 else 0], own_prefix[0])


def test_positions_of__clips_longer_than_a_learned_table_are_refused_with_padding():
    config = encoder_config(embed_dim=8, num_heads=2, positions="learned", max_rows=3, depth=1)
    padding = row_padding_mask(torch.tensor([4, 1]), PatchGrid(4, 8))
    with pytest.raises(ValueError, match="up to 4 patch rows under a padding mask, but the learned .* table has 3"):
        positions_of(position_table(config), PatchGrid(4, 8), config, padding)
