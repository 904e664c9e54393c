import math

import pytest
import torch

from ASDA.core.patches import PatchEmbed, patch_grid, patch_padding_mask
from ASDA.core.positions import sincos_1d, sincos_2d


@pytest.mark.parametrize(
    ("frames", "bins", "size", "grid"),
    [
        (1024, 128, 16, (64, 8)),
        (208, 128, 16, (13, 8)),
        (31, 128, 16, (1, 8)),
        (33, 64, 16, (2, 4)),
        (12, 8, 4, (3, 2)),
    ],
)
def test_patch_grid__counts_whole_patches(frames, bins, size, grid):
    assert patch_grid(frames, bins, size) == grid


@pytest.mark.parametrize(("frames", "bins"), [(15, 128), (1024, 15), (0, 128)])
def test_patch_grid__rejects_what_is_smaller_than_a_patch(frames, bins):
    with pytest.raises(ValueError, match=rf"{frames} frames x {bins} mel bins is smaller than one patch of 16 x 16"):
        patch_grid(frames, bins, 16)


def test_patch_padding_mask__hides_patches_without_a_real_frame():
    lengths, padded, size, columns = [1, 16, 17, 50, 70], 70, 16, 3
    mask = patch_padding_mask(torch.tensor(lengths), padded, size, columns)
    assert mask.shape == (5, 4 * columns)
    for clip, length in enumerate(lengths):
        for row in range(4):
            frames = range(size * row, size * (row + 1))
            for column in range(columns):
                assert bool(mask[clip, columns * row + column]) == all(frame >= length for frame in frames)


@pytest.mark.parametrize("lengths", [[10, 0], [10, 71]])
def test_patch_padding_mask__rejects_lengths_that_the_batch_cannot_have(lengths):
    with pytest.raises(ValueError, match=rf"between 1 and 70 frames, got \[10, {lengths[1]}\]"):
        patch_padding_mask(torch.tensor(lengths), 70, 16, 3)


@pytest.mark.parametrize("frames", [12, 15])  # a partial patch at the end is cut
def test_patch_embed__equals_loops_in_time_major_order(frames):
    B, F, D, size = 2, 8, 3, 4
    generator = torch.Generator().manual_seed(0)
    embed = PatchEmbed(D, size).double()
    with torch.no_grad():
        embed.proj.bias.copy_(torch.randn(D, generator=generator))
    x = torch.randn(B, 1, frames, F, generator=generator, dtype=torch.float64)
    out = embed(x).detach()
    weight, bias = embed.proj.weight.tolist(), embed.proj.bias.tolist()
    assert out.shape == (B, 6, D)
    for b in range(B):
        for time in range(3):
            for mel in range(2):
                for d in range(D):
                    value = bias[d]
                    for i in range(size):
                        for j in range(size):
                            value += weight[d][0][i][j] * float(x[b, 0, time * size + i, mel * size + j])
                    assert float(out[b, 2 * time + mel, d]) == pytest.approx(value, abs=1e-12)


def naive_sincos(position, dim):
    angles = [position / 10000 ** (2 * i / dim) for i in range(dim // 2)]
    return [math.sin(a) for a in angles] + [math.cos(a) for a in angles]


@pytest.mark.parametrize(("rows", "columns", "dim"), [(5, 3, 8), (768, 8, 12), (2, 7, 64)])
def test_sincos_2d__equals_loops(rows, columns, dim):
    table = sincos_2d(rows, columns, dim)
    assert table.dtype == torch.float32
    assert table.shape == (rows * columns, dim)
    expected = []
    for time in range(rows):
        for mel in range(columns):
            expected.append(naive_sincos(mel, dim // 2) + naive_sincos(time, dim // 2))
    # float32 angles up to 767 radians are off by up to 767 * 2^-24 = 5e-5
    torch.testing.assert_close(table.double(), torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-4)


def test_sincos_2d__short_grids_are_the_first_rows_of_long_ones():
    assert torch.equal(sincos_2d(13, 8, 32), sincos_2d(768, 8, 32)[: 13 * 8])


@pytest.mark.parametrize(("rows", "columns", "dim"), [(5, 3, 8), (96, 8, 6)])
def test_sincos_1d__counts_the_patches(rows, columns, dim):
    table = sincos_1d(rows, columns, dim)
    assert table.dtype == torch.float32
    expected = [naive_sincos(position, dim) for position in range(rows * columns)]
    torch.testing.assert_close(table.double(), torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-4)


def test_sincos__rejects_widths_that_do_not_split():
    with pytest.raises(ValueError, match="number of channels that 4 divides, got 6"):
        sincos_2d(2, 2, 6)
    with pytest.raises(ValueError, match="even number of channels, got 7"):
        sincos_1d(2, 2, 7)
