"""The processes of a run: which one this is, and what all of them agree on."""

from typing import List, Tuple

import torch
import torch.distributed as dist
from fairseq.distributed import utils as distributed_utils


def rank_and_size() -> Tuple[int, int]:
    """This process's number, from 0, and how many there are."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_available() and dist.is_initialized() else (0, 1)


def agree(device: torch.device, *flags: bool) -> List[bool]:
    """Each flag, true everywhere if it is true on any process. A collective call."""
    if rank_and_size()[1] == 1:
        return list(flags)
    votes = torch.tensor(flags, dtype=torch.int32, device=device)
    dist.all_reduce(votes, op=dist.ReduceOp.MAX, group=distributed_utils.get_data_parallel_group())
    return [bool(vote) for vote in votes.tolist()]
