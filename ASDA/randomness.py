"""Random generators that depend on a key alone: what happens to a clip does not depend on workers or resuming."""

from __future__ import annotations

import hashlib

import torch


def clip_generator(*key: int) -> torch.Generator:
    """A CPU generator that depends on the key alone, the same in every process and on every platform.

    Args:
        key: integers that say what the draws are for, e.g. (seed, epoch, clip index, stream). NumPy integers will do.
    """
    digest = hashlib.blake2b(",".join(str(int(part)) for part in key).encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little", signed=True))
