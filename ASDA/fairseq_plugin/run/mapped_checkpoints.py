"""Checkpoints mapped into memory instead of read, in the place of fairseq's loading (changed_fairseq.py).

Each process of a run loads the checkpoint that it goes on from. Read, a file is in memory once for each of them, all at
the same time; mapped, its pages are the system's, once for all processes of a machine, and it can take them back.
"""

import zipfile
from contextlib import contextmanager
from typing import Any, Iterator

import torch
from fairseq.checkpoint_utils import load_checkpoint_to_cpu


def load_mapped(path: str, *args: Any, **options: Any) -> dict:
    """fairseq's `load_checkpoint_to_cpu`, of a file in torch's zip format mapped. What is written to it stays here."""
    if not zipfile.is_zipfile(path):  # of before torch 1.6
        return load_checkpoint_to_cpu(path, *args, **options)
    with _mapping(path):
        return load_checkpoint_to_cpu(path, *args, **options)


@contextmanager
def _mapping(path: str) -> Iterator[None]:
    """Has `torch.load` map this file, whatever opened file it is given: only a path can be mapped."""
    load = torch.load

    def mapped(_opened: Any, *args: Any, **options: Any) -> Any:
        return load(path, *args, **{**options, "mmap": True})

    torch.load = mapped
    try:
        yield
    finally:
        torch.load = load
