"""The processes of a run: which one this is, what all of them agree on, and how they end together."""

import os
import socket
import sys
from typing import Any, List, Tuple
from urllib.parse import urlparse

import torch
import torch.distributed as dist
from fairseq.distributed import utils as distributed_utils
from torch.distributed.elastic.multiprocessing.errors import get_error_handler

from ...training.shared_end import SharedEnd


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


def gather(value: Any) -> list:
    """What every process gives, in rank order. A collective call."""
    size = rank_and_size()[1]
    if size == 1:
        return [value]
    values: list = [None] * size
    dist.all_gather_object(values, value, group=distributed_utils.get_data_parallel_group())
    return values


def end_together(settings: Any) -> None:
    """From now on an error of one process ends all of them, with its reason. A collective call; once in a process.

    Args:
        settings: the run's `distributed_training`; it says how the processes have met, `env://` or `tcp://HOST:PORT`.
    """
    rank, size = rank_and_size()
    if size == 1 or _together:
        return
    os.environ["HYDRA_FULL_ERROR"] = "1"  # otherwise hydra prints an error and exits, and nobody is told
    met_at = urlparse(settings.distributed_init_method or "").hostname or os.environ.get("MASTER_ADDR")
    hosts = list(dict.fromkeys(host for host in (met_at, socket.gethostname(), socket.getfqdn()) if host))
    _together.append(SharedEnd(rank, size, _from_first, hosts))
    _record_for_torchrun()
    _together[0].install()


_together: List[SharedEnd] = []


def _from_first(value: Any) -> Any:
    values = [value]
    dist.broadcast_object_list(values, src=0)
    return values[0]


def _record_for_torchrun() -> None:
    """Has the error that ends this process written where torchrun looks for it, to show it at the end of its output."""
    previous = sys.excepthook

    def record(kind: type, error: BaseException, trace: Any) -> None:
        if os.environ.get("TORCHELASTIC_ERROR_FILE"):
            get_error_handler().record_exception(error)
        previous(kind, error, trace)

    sys.excepthook = record
