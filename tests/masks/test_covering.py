"""Chunks and spans against samplers that draw one rectangle after the other, in loops; and random masks."""

import random

import pytest
import torch

from ASDA.masks.chunk import ChunkMask
from ASDA.masks.random import RandomMask
from ASDA.masks.span import SpanMask

from .test_inverse_block import features, z_scores


def naive(P, Q, height, width, count, rng):
    """Rectangles at all places where they cover something, until enough is covered; a random surplus is uncovered."""
    covered = set()
    while len(covered) < count:
        top, left = rng.randrange(-height + 1, P), rng.randrange(-width + 1, Q)
        inside = [(i, j) for i in range(top, top + height) for j in range(left, left + width)]
        covered |= {i * Q + j for i, j in inside if 0 <= i < P and 0 <= j < Q}
    return set(rng.sample(sorted(covered), count))


def naive_masks(draws, grid, count, shape, seed=1):
    rng = random.Random(seed)
    masks = torch.zeros(draws, grid[0] * grid[1], dtype=torch.bool)
    for row in masks:
        row[sorted(naive(*grid, *shape(rng), count, rng))] = True
    return masks


def squares(rng):
    side = rng.choice([3, 4, 5])
    return side, side


@pytest.mark.parametrize(("grid", "ratio"), [((20, 8), 0.75), ((32, 8), 0.4), ((40, 1), 0.75)])
def test_chunk_mask__follows_the_distribution_of_the_naive_sampler(grid, ratio):
    ours = ChunkMask(grid, 10_000, ratio)(torch.Generator().manual_seed(0))
    theirs = naive_masks(1500, grid, int(ours[0].sum()), squares)
    assert z_scores(features(ours, grid), features(theirs, grid)).abs().max() < 5


def test_chunk_mask__the_comparison_sees_squares_kept_inside():
    """The test above has the power to tell a neighbouring rule: squares that never hang over an edge."""
    grid, rng = (20, 8), random.Random(0)
    inside = torch.zeros(1500, 160, dtype=torch.bool)
    for row in inside:
        side, covered = rng.choice([3, 4, 5]), set()
        while len(covered) < 120:
            top, left = rng.randrange(20 - side + 1), rng.randrange(8 - side + 1)
            covered |= {(top + i) * 8 + left + j for i in range(side) for j in range(side)}
        row[rng.sample(sorted(covered), 120)] = True
    ours = ChunkMask(grid, 10_000)(torch.Generator().manual_seed(0))
    assert z_scores(features(ours, grid), features(inside, grid)).abs().max() > 10


def test_chunk_mask__hides_every_patch_equally_often():
    share = ChunkMask((62, 8), 6000)(torch.Generator().manual_seed(1)).double().mean(dim=0)
    assert (share - 0.75).abs().max() < 5 * (0.75 * 0.25 / 6000) ** 0.5


@pytest.mark.parametrize(("grid", "length", "ratio"), [((100, 1), 10, 0.75), ((12, 8), 10, 0.5)])
def test_span_mask__follows_the_distribution_of_the_naive_sampler(grid, length, ratio):
    ours = SpanMask(grid, 10_000, ratio, length)(torch.Generator().manual_seed(0))
    sequence = (grid[0] * grid[1], 1)
    theirs = naive_masks(1500, sequence, int(ours[0].sum()), lambda rng: (length, 1))
    assert z_scores(features(ours, sequence), features(theirs, sequence)).abs().max() < 5


def test_random_mask__places_are_uniform_and_independent():
    grid = (10, 4)
    ours = RandomMask(grid, 20_000)(torch.Generator().manual_seed(0))
    rng, theirs = random.Random(1), torch.zeros(3000, 40, dtype=torch.bool)
    for row in theirs:
        row[rng.sample(range(40), 30)] = True
    assert z_scores(features(ours, grid), features(theirs, grid)).abs().max() < 5
