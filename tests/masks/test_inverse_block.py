import math
import random
import subprocess
import sys
from fractions import Fraction

import pytest
import torch

from ASDA.masks.inverse_block import InverseBlockMask

GRIDS = [(64, 8), (8, 8), (20, 8), (32, 8), (13, 8), (50, 8)]


def naive_marked(P, Q, ratio, rng, block=5, adjust=Fraction(7, 100)):
    """EAT, section 3.2: the set of patches that blocks and the random correction mark. ``ratio`` is exact."""
    N = P * Q
    marked = set()
    for _ in range(int(N * (ratio + adjust) / block**2)):
        row, column = divmod(rng.randrange(N), Q)
        for i in range(row - block // 2, row + block // 2 + 1):
            for j in range(column - block // 2, column + block // 2 + 1):
                if 0 <= i < P and 0 <= j < Q:
                    marked.add(i * Q + j)
    want = int(N * ratio)
    if len(marked) > want:
        marked = set(rng.sample(sorted(marked), want))
    else:
        marked |= set(rng.sample([n for n in range(N) if n not in marked], want - len(marked)))
    return marked


def naive_masks(count, grid, ratio, block, seed):
    rng = random.Random(seed)
    masks = torch.zeros(count, grid[0] * grid[1], dtype=torch.bool)
    for row in masks:
        row[sorted(naive_marked(*grid, ratio, rng, block))] = True
    return masks


def features(marked, grid):
    """Per mask: each place, each row's and column's count, and how many neighbours are both marked (the blocks)."""
    x = marked.view(-1, *grid).double()
    along_time = (x[:, 1:] * x[:, :-1]).sum((1, 2))
    along_mel = (x[:, :, 1:] * x[:, :, :-1]).sum((1, 2))
    squares = (x[:, 1:, 1:] * x[:, :-1, :-1] * x[:, 1:, :-1] * x[:, :-1, 1:]).sum((1, 2))
    totals = torch.stack([along_time, along_mel, squares], dim=1)
    return torch.cat([x.flatten(1), x.sum(1), x.sum(2), totals], dim=1)


def z_scores(a, b):
    """Two-sample z of the mean of every feature."""
    error = (a.var(0) / len(a) + b.var(0) / len(b)).sqrt().clamp_min(1e-12)
    return (a.mean(0) - b.mean(0)) / error


def sampled(count, grid, seed=0, **options):
    return InverseBlockMask(grid, count, **options)(torch.Generator().manual_seed(seed))


def test_inverse_block_mask__keeps_102_of_512():
    mask = sampled(1000, (64, 8))
    assert mask.shape == (1000, 512)
    assert mask.dtype == torch.bool
    assert set((~mask).sum(1).tolist()) == {102}
    assert set(mask.sum(1).tolist()) == {410}


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("percent", [80, 75, 90, 60])
def test_inverse_block_mask__counts_are_exact_on_any_grid(grid, percent):
    N, kept_share = grid[0] * grid[1], Fraction(100 - percent, 100)
    sampler = InverseBlockMask(grid, 20, mask_ratio=percent / 100)
    assert sampler.num_seeds == int(N * (kept_share + Fraction(7, 100)) / 25)
    mask = sampler(torch.Generator().manual_seed(0))
    assert set((~mask).sum(1).tolist()) == {int(N * kept_share)}


@pytest.mark.parametrize("percent", [80, 30])
def test_inverse_block_mask__without_inverse_the_blocks_are_hidden(percent):
    mask = sampled(20, (64, 8), inverse=False, mask_ratio=percent / 100)
    assert set(mask.sum(1).tolist()) == {512 * percent // 100}


@pytest.mark.parametrize(("grid", "students"), [((64, 8), 2000), ((32, 8), 100)])  # small grids may repeat by chance
def test_inverse_block_mask__every_student_has_its_own(grid, students):
    assert len(sampled(students, grid).unique(dim=0)) == students


@pytest.mark.parametrize(
    ("grid", "percent", "block", "inverse"),
    [
        ((64, 8), 80, 5, True),
        ((8, 8), 80, 5, True),
        ((20, 8), 80, 5, True),
        ((32, 8), 80, 5, True),
        ((32, 8), 80, 3, True),
        ((6, 20), 70, 5, True),
        ((32, 8), 60, 5, False),
    ],
)
def test_inverse_block_mask__is_distributed_as_a_naive_sampler(grid, percent, block, inverse):
    ours = sampled(20_000, grid, mask_ratio=percent / 100, block_size=block, inverse=inverse)
    marked = ~ours if inverse else ours
    ratio = Fraction(100 - percent if inverse else percent, 100)
    naive = naive_masks(2000, grid, ratio, block, seed=1)
    # About 600 features; |z| > 5 happens once in 3000 such tests by chance, and the seeds are fixed.
    assert z_scores(features(marked, grid), features(naive, grid)).abs().max() < 5


def test_inverse_block_mask__the_comparison_sees_blocks_shifted_inside():
    """The test above has the power to tell a neighbouring rule: blocks moved inside the grid instead of cut off."""
    P, Q, rng = 32, 8, random.Random(0)
    shifted = torch.zeros(2000, P * Q, dtype=torch.bool)
    for row in shifted:
        marked = set()
        for _ in range(int(P * Q * 0.27 / 25)):
            i, j = divmod(rng.randrange(P * Q), Q)
            i, j = min(max(i - 2, 0), P - 5), min(max(j - 2, 0), Q - 5)
            marked |= {(i + a) * Q + j + b for a in range(5) for b in range(5)}
        others = [n for n in range(P * Q) if n not in marked]
        marked = rng.sample(sorted(marked), min(51, len(marked))) + rng.sample(others, max(51 - len(marked), 0))
        row[marked] = True
    ours = ~sampled(20_000, (P, Q))
    assert z_scores(features(ours, (P, Q)), features(shifted, (P, Q))).abs().max() > 10


def test_inverse_block_mask__every_draw_comes_from_the_generator():
    sampler = InverseBlockMask((20, 8), 8)
    state = torch.get_rng_state()
    first = sampler(torch.Generator().manual_seed(3))
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(99)
    assert torch.equal(sampler(torch.Generator().manual_seed(3)), first)
    assert not torch.equal(sampler(torch.Generator().manual_seed(4)), first)


def test_inverse_block_mask__a_small_clip_without_seeds_keeps_random_patches():
    sampler = InverseBlockMask((4, 8), 4000)
    assert sampler.num_seeds == 0
    kept = ~sampler(torch.Generator().manual_seed(0))
    assert set(kept.sum(1).tolist()) == {6}
    share = kept.double().mean(0)
    assert (share - 6 / 32).abs().max() < 5 * math.sqrt(6 / 32 * 26 / 32 / 4000)


@pytest.mark.parametrize(
    ("grid", "ratio", "inverse", "word"),
    [
        ((2, 2), 0.8, True, "kept"),
        ((64, 8), 1.0, True, "kept"),
        ((64, 8), 0.0, True, "hidden"),
        ((2, 2), 0.1, False, "hidden"),
    ],
)
def test_inverse_block_mask__rejects_a_ratio_that_leaves_nothing(grid, ratio, inverse, word):
    message = rf"mask ratio of {ratio} on {grid[0]} x {grid[1]} patches leaves no patch that is {word}"
    with pytest.raises(ValueError, match=message):
        InverseBlockMask(grid, mask_ratio=ratio, inverse=inverse)


def dense(sampler: InverseBlockMask, generator: torch.Generator) -> torch.Tensor:
    """The masks by a table of seeds times patches, with which the runs up to version 1 drew theirs."""
    (P, Q), M, side = sampler.grid, sampler.num_masks, sampler.block_size
    seeds = torch.randint(P * Q, (M, max(sampler.num_seeds, 0), 1), generator=generator)
    top, left = seeds // Q - side // 2, seeds % Q - side // 2
    in_rows = (torch.arange(P) >= top) & (torch.arange(P) < top + side)
    in_columns = (torch.arange(Q) >= left) & (torch.arange(Q) < left + side)
    blocks = (in_rows[..., :, None] & in_columns[..., None, :]).any(dim=1).flatten(1)
    order = torch.rand(M, P * Q, generator=generator) + blocks
    marked = torch.zeros(M, P * Q, dtype=torch.bool)
    marked.scatter_(1, order.topk(sampler.num_marked, dim=1, sorted=False).indices, True)
    return ~marked if sampler.inverse else marked


@pytest.mark.parametrize("grid", [(64, 8), (8, 8), (7, 1), (1, 9), (5, 3), (33, 8), (512, 1)])
@pytest.mark.parametrize("inverse", [True, False])
def test_masks__are_those_of_existing_runs(grid, inverse):
    for block_size in (1, 2, 3, 4, 5, 9):
        for mask_ratio, adjust in ((0.8, 0.07), (0.5, 0.0), (0.6, 0.3), (0.7, -0.6)):
            sampler = InverseBlockMask(grid, 5, mask_ratio, block_size, adjust, inverse)
            for seed in range(5):
                own, old = torch.Generator().manual_seed(seed), torch.Generator().manual_seed(seed)
                assert torch.equal(sampler(own), dense(sampler, old)), (block_size, mask_ratio, seed)
                assert torch.equal(own.get_state(), old.get_state())


def test_masks__of_half_an_hour_take_little_memory():
    """90,000 patches, 16 students: seeds times patches would be 16 GB of tables."""
    program = """
import resource, torch
from ASDA.masks.inverse_block import InverseBlockMask
torch.rand(16, 10).topk(2)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
mask = InverseBlockMask((11_250, 8), 16)(torch.Generator().manual_seed(0))
assert mask.sum(1).tolist() == [72_000] * 16
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 200
