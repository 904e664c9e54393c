from pathlib import Path

import pytest
import torch
from torch import nn

from ASDA.core import zoo
from ASDA.core.counting import Part, clip_flops, encoder_flops, parts_of
from ASDA.core.encoder import SpectrogramEncoder
from ASDA.core.patches import PatchGrid
from tests.architectures import encoder_config, make_encoder


def test_parts_of__an_encoder_are_those_of_the_published_table():
    """Provenance: the table of layers of MAE-AST's re-implementation."""
    with torch.device("meta"):
        encoder = SpectrogramEncoder(zoo.MAE_AST_VIT)
    assert list(parts_of(encoder)) == [
        Part("patch_embed.proj", 197_376, 197_376),
        Part("6 blocks", 42_527_232, 42_527_232),
        Part("norm_last", 1_536, 1_536),
    ]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"positions": "learned", "num_prefix_tokens": 2},
        {"lambda_mode": "learned"},
        {"attention": "differential_v2"},
    ],
)
def test_parts_of__count_every_parameter_once(settings):
    encoder = make_encoder(embed_dim=16, depth=2, num_heads=2, max_rows=4, **settings)
    encoder.patch_embed.requires_grad_(False)
    parts = list(parts_of(nn.ModuleDict({"encoder": encoder, "head": nn.Linear(16, 3)})))
    assert sum(part.parameters for part in parts) == sum(p.numel() for p in encoder.parameters()) + 16 * 3 + 3
    assert [part.trained for part in parts if part.name == "encoder.patch_embed.proj"] == [0]
    assert len({part.name for part in parts}) == len(parts)


def test_encoder_flops__are_those_of_the_matrix_products():
    torch.manual_seed(0)
    for attention in ("plain", "differential", "differential_v2"):
        config = encoder_config(embed_dim=32, depth=3, num_heads=4, attention=attention, max_rows=8)
        D, S, hidden = 32, 1 + 64, config.stack.mlp_dim
        products = [(64, 256, D)]  # patches
        for _ in range(3):
            maps = 1 if attention == "plain" else 2
            queries_keys = {"plain": 2, "differential": 4, "differential_v2": 3}[attention] * D
            lambdas = [(S, D, 4)] if attention == "differential_v2" else []
            products += [*lambdas, (S, D, queries_keys), (S, D, D), (S, D, D), (S, D, hidden), (S, hidden, D)]
            products += [(S, D, S)] * maps + [(S, S, D)]
        assert clip_flops(config, PatchGrid(8, 8)) == sum(2 * a * b * c for a, b, c in products)


def test_encoder_flops__of_kept_patches_alone():
    """Provenance: counted work of MAE-AST's encoder, six layers, 128 of 512 patches kept (forward)."""
    config = zoo.MAE_AST_VIT
    assert encoder_flops(config, 1, 512, 1, 128) == 2 * 512 * 768 * 256 + 6 * (
        2 * 128 * 12 * 768 * 768 + 4 * 128 * 128 * 768
    )


@pytest.mark.parametrize(
    ("settings", "attention"),
    [
        ({"attention": "plain"}, 4 * 768**2 + 4 * 768),
        ({}, 6 * 768**2 + 8 * 768),
        ({"lambda_mode": "learned"}, 6 * 768**2 + 8 * 768 + 4 * 64),
        ({"attention": "differential_v2"}, 5 * 768**2 + 5 * 768 + 769 * 12),
    ],
)
def test_attention__parameters_and_gflop_are_those_of_the_docs(settings, attention):
    config = encoder_config(**settings)
    with torch.device("meta"):
        block = SpectrogramEncoder(config).stack.blocks[0]
    found = sum(p.numel() for p in block.attn.parameters())
    assert found == attention
    row = f"| {found:,} | {clip_flops(config, PatchGrid(64, 8)) / 1e9:.1f} |"
    assert row in (Path(__file__).parents[2] / "docs" / "attention.md").read_text()
