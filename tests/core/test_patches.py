import pytest
import torch

from ASDA.core.config import PatchConfig
from ASDA.core.patches import PatchEmbed, patch_grid, patch_padding_mask, patchify


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
    assert patch_grid(frames, bins, PatchConfig((size, size))) == grid


@pytest.mark.parametrize(
    ("frames", "size", "stride", "grid"),
    [(1024, (16, 16), (10, 10), (101, 12)), (998, (2, 128), None, (499, 1)), (998, (16, 16), None, (62, 8))],
)
def test_patch_grid__of_overlapping_patches_and_frames(frames, size, stride, grid):
    assert patch_grid(frames, 128, PatchConfig(size, stride)) == grid


@pytest.mark.parametrize(("frames", "bins"), [(15, 128), (1024, 15), (0, 128)])
def test_patch_grid__rejects_what_is_smaller_than_a_patch(frames, bins):
    with pytest.raises(ValueError, match=rf"{frames} frames x {bins} mel bins is smaller than one patch of 16 x 16"):
        patch_grid(frames, bins, PatchConfig())


def test_patch_padding_mask__hides_patches_without_a_real_frame():
    lengths, padded, size, columns = [1, 16, 17, 50, 70], 70, 16, 3
    mask = patch_padding_mask(torch.tensor(lengths), padded, PatchConfig((size, size)), columns)
    assert mask.shape == (5, 4 * columns)
    for clip, length in enumerate(lengths):
        for row in range(4):
            frames = range(size * row, size * (row + 1))
            for column in range(columns):
                assert bool(mask[clip, columns * row + column]) == all(frame >= length for frame in frames)


@pytest.mark.parametrize("lengths", [[10, 0], [10, 71]])
def test_patch_padding_mask__rejects_lengths_that_the_batch_cannot_have(lengths):
    with pytest.raises(ValueError, match=rf"between 1 and 70 frames, got \[10, {lengths[1]}\]"):
        patch_padding_mask(torch.tensor(lengths), 70, PatchConfig(), 3)


@pytest.mark.parametrize("frames", [12, 15])  # a partial patch at the end is cut
def test_patch_embed__equals_loops_in_time_major_order(frames):
    B, F, D, size = 2, 8, 3, 4
    generator = torch.Generator().manual_seed(0)
    embed = PatchEmbed(D, PatchConfig((size, size))).double()
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


def test_patch_padding_mask__of_overlapping_patches():
    mask = patch_padding_mask(torch.tensor([1, 11, 40]), 40, PatchConfig((16, 16), (10, 10)), 2)
    first_frames = [0, 10, 20]
    assert mask[:, ::2].tolist() == [[first >= length for first in first_frames] for length in (1, 11, 40)]


@pytest.mark.parametrize(("size", "stride"), [((4, 4), None), ((2, 8), None), ((4, 4), (3, 2))])
def test_patchify__is_time_major_inside_a_patch_too(size, stride):
    x = torch.arange(2 * 13 * 8.0).view(2, 1, 13, 8)
    patches = PatchConfig(size, stride)
    P, Q = patch_grid(13, 8, patches)
    out = patchify(x, patches)
    assert out.shape == (2, P * Q, size[0] * size[1])
    for p in range(P):
        for q in range(Q):
            for i in range(size[0] * size[1]):
                frame = patches.stride[0] * p + i // size[1]
                assert out[1, Q * p + q, i] == x[1, 0, frame, patches.stride[1] * q + i % size[1]]
