import math

import pytest
import torch

from ASDA.core.patches import PatchGrid
from ASDA.core.places import Places, gather_patches
from ASDA.objectives.conv_decoder import ConvDecoder2d

B, GRID = 2, PatchGrid(3, 4)
N = GRID.num_patches


def decoder(embed_dim, seed=0, **options):
    module = ConvDecoder2d(embed_dim, **options).double()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return module


def tokens(embed_dim):
    return torch.randn(B, N, embed_dim, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def naive_convolution(x, conv, groups):
    """x[row][column] is a list of channels; zeros outside the grid."""
    weight, bias = conv.weight.tolist(), conv.bias.tolist()
    P, Q, side = len(x), len(x[0]), len(weight[0][0])
    per_group_out, per_group_in = len(weight) // groups, len(weight[0])
    out = [[[0.0] * len(weight) for _ in range(Q)] for _ in range(P)]
    for p in range(P):
        for q in range(Q):
            for o in range(len(weight)):
                value = bias[o]
                for i in range(per_group_in):
                    channel = o // per_group_out * per_group_in + i
                    for a in range(side):
                        for b in range(side):
                            row, column = p + a - side // 2, q + b - side // 2
                            if 0 <= row < P and 0 <= column < Q:
                                value += weight[o][i][a][b] * x[row][column][channel]
                out[p][q][o] = value
    return out


def naive_norm_and_gelu(channels):
    mean = sum(channels) / len(channels)
    variance = sum((c - mean) ** 2 for c in channels) / len(channels)
    normalised = [(c - mean) / math.sqrt(variance + 1e-5) for c in channels]
    return [c * 0.5 * (1.0 + math.erf(c / math.sqrt(2.0))) for c in normalised]


def naive_decoder(module, x, groups, residual=True):
    rows = []
    for clip in x:
        grid = [[clip[p * GRID[1] + q].tolist() for q in range(GRID[1])] for p in range(GRID[0])]
        for block in module.blocks:
            y = naive_convolution(grid, block[0], groups)
            y = [[naive_norm_and_gelu(channels) for channels in row] for row in y]
            if residual and len(y[0][0]) == len(grid[0][0]):
                y = [
                    [[a + b for a, b in zip(c, d, strict=True)] for c, d in zip(r, s, strict=True)]
                    for r, s in zip(grid, y, strict=True)
                ]
            grid = y
        flat = torch.tensor(grid, dtype=torch.float64).view(N, -1)
        rows.append(flat @ module.proj.weight.T + module.proj.bias)
    return torch.stack(rows)


@pytest.mark.parametrize(
    "options",
    [
        {"decoder_dim": 8, "num_layers": 3, "groups": 2},
        {"decoder_dim": 12, "num_layers": 2, "groups": 4},  # no residual in the first layer: the widths differ
        {"decoder_dim": 8, "num_layers": 2, "groups": 1, "kernel_size": 5},
        {"decoder_dim": 8, "num_layers": 2, "groups": 8, "residual": False},
    ],
)
def test_decoder__equals_loops(options):
    module = decoder(8, **options)
    expected = naive_decoder(module, tokens(8), options["groups"], options.get("residual", True))
    torch.testing.assert_close(module.decode(tokens(8), GRID), expected, rtol=1e-9, atol=1e-9)


def test_decoder__norm_has_eps_1e_5():
    module = decoder(8, decoder_dim=8, num_layers=1, groups=2)
    with torch.no_grad():
        for parameter in module.blocks.parameters():
            parameter.mul_(1e-3)
    torch.testing.assert_close(
        module.decode(tokens(8), GRID), naive_decoder(module, tokens(8), 2), rtol=1e-9, atol=1e-9
    )


def test_decoder__has_the_published_parameters():
    shapes = {name: tuple(p.shape) for name, p in ConvDecoder2d(768).named_parameters()}
    expected = {f"blocks.{j}.0.weight": (768, 48, 3, 3) for j in range(6)}
    expected |= {f"blocks.{j}.0.bias": (768,) for j in range(6)}
    assert shapes == expected | {"proj.weight": (768, 768), "proj.bias": (768,)}


def test_decoder__rejects_groups_that_do_not_divide():
    with pytest.raises(ValueError, match=r"decoder groups \(16\) must divide embed_dim \(40\)"):
        ConvDecoder2d(40, decoder_dim=64)
    with pytest.raises(ValueError, match=r"decoder groups \(16\) must divide decoder_dim \(24\)"):
        ConvDecoder2d(64, decoder_dim=24)


def test_decoder__rejects_even_kernels():
    with pytest.raises(ValueError, match="kernel_size must be odd to keep the grid's size, got 4"):
        ConvDecoder2d(64, decoder_dim=64, kernel_size=4)


def random_kept(rows, N, K, seed=0):
    order = torch.rand(rows, N, generator=torch.Generator().manual_seed(seed)).argsort(dim=1)[:, :K]
    return order.sort(dim=1).values


def fill(tokens, kept, N, noise_std):
    D = tokens.shape[-1]
    module = ConvDecoder2d(D, decoder_dim=D, num_layers=1, groups=1, mask_noise_std=noise_std)
    mask = torch.ones(len(kept), N, dtype=torch.bool).scatter(1, kept, False)
    return module.fill(tokens, Places.of(mask, len(kept)), PatchGrid(N, 1))


def test_decoder__predicts_the_hidden_places_of_the_filled_grid():
    module = decoder(8, decoder_dim=8, num_layers=2, groups=2, mask_noise_std=0.0)
    mask = torch.rand(B, N, generator=torch.Generator().manual_seed(2)).argsort(dim=1) < N // 2
    places = Places.of(mask, B)
    kept = gather_patches(tokens(8), places.kept)
    everything = module.decode(tokens(8).masked_fill(mask[..., None], 0.0), GRID)
    torch.testing.assert_close(module(kept, places, GRID), everything[mask])


def test_decoder__fill_puts_back_what_gather_took():
    B, M, N, K, D = 2, 3, 9, 4, 5
    patches = torch.randn(B, N, D, generator=torch.Generator().manual_seed(0))
    kept = random_kept(B * M, N, K)
    tokens = gather_patches(patches, kept)
    grid = fill(tokens, kept, N, 0.0)
    assert grid.shape == (B * M, N, D)
    for row in range(B * M):
        for n in range(N):
            expected = patches[row // M, n] if n in kept[row].tolist() else torch.zeros(D)
            assert torch.equal(grid[row, n], expected)


def test_decoder__fill_puts_normal_noise_in_hidden_places():
    rows, N, K, D = 20, 50, 10, 40
    kept = random_kept(rows, N, K)
    torch.manual_seed(0)
    grid = fill(torch.ones(rows, K, D), kept, N, 0.01)
    hidden = torch.ones(rows, N, dtype=torch.bool).scatter(1, kept, False)
    assert torch.equal(grid[~hidden], torch.ones(rows * K, D))
    noise = grid[hidden].double().flatten()
    assert len(noise) == rows * (N - K) * D
    assert abs(noise.mean().item()) < 5 * 0.01 / math.sqrt(len(noise))
    assert abs(noise.std().item() - 0.01) < 5 * 0.01 / math.sqrt(2 * len(noise))
    assert abs((noise / 0.01).pow(4).mean().item() - 3) < 5 * math.sqrt(96 / len(noise))  # the kurtosis of a normal
    assert not torch.equal(grid[0][hidden[0]], grid[1][hidden[1]])


def test_decoder__fill_passes_gradients_to_the_kept_patches():
    kept = random_kept(3, 6, 2)
    tokens = torch.zeros(3, 2, 4, requires_grad=True)
    weight = torch.randn(3, 6, 4, generator=torch.Generator().manual_seed(0))
    (fill(tokens, kept, 6, 0.01) * weight).sum().backward()
    assert torch.equal(tokens.grad, weight.gather(1, kept[..., None].expand(-1, -1, 4)))
