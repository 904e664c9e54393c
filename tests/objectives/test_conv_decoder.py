import math

import pytest
import torch

from ASDA.objectives.conv_decoder import ConvDecoder2d

B, GRID = 2, (3, 4)
N = GRID[0] * GRID[1]


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
    torch.testing.assert_close(module(tokens(8), GRID), expected, rtol=1e-9, atol=1e-9)


def test_decoder__norm_has_eps_1e_5():
    module = decoder(8, decoder_dim=8, num_layers=1, groups=2)
    with torch.no_grad():
        for parameter in module.blocks.parameters():
            parameter.mul_(1e-3)
    torch.testing.assert_close(module(tokens(8), GRID), naive_decoder(module, tokens(8), 2), rtol=1e-9, atol=1e-9)


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
