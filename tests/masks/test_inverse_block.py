"""Inverse block masks: the draws of existing runs, and their memory."""

import subprocess
import sys

import pytest
import torch

from ASDA.masks.inverse_block import InverseBlockMask


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
