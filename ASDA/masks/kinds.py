"""The kinds of masks by name."""

from __future__ import annotations

from collections.abc import Callable

from .chunk import ChunkMask
from .inverse_block import InverseBlockMask
from .mask import Mask
from .random import RandomBatchMask, RandomMask
from .span import SpanMask

MASKS: dict[str, Callable[..., Mask]] = {
    "inverse_block": InverseBlockMask,
    "chunk": ChunkMask,
    "random": RandomMask,
    "random_batched": RandomBatchMask,
    "span": SpanMask,
}

# How MAE-AST's configs spell them.
_SPELLINGS = {
    "chunk_mask": "chunk",
    "random_mask": "random",
    "random_mask_batched": "random_batched",
    "retain_spans": "span",
}


def mask_kind(name: str) -> str:
    """The name in `MASKS` that a name of ours or of MAE-AST's configs stands for.

    Raises:
        ValueError: there is none.
    """
    kind = _SPELLINGS.get(name, name)
    if kind not in MASKS:
        raise ValueError(f'there is no kind of masks "{name}"; expected one of {", ".join([*MASKS, *_SPELLINGS])}')
    return kind
