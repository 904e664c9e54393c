"""What a network consists of and what it costs: parameters by part, and arithmetic of a forward pass.

A multiplication and an addition are two FLOPs. Norms, activations and softmax are left out: they are memory traffic.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from .config import EncoderConfig, StackConfig
from .patches import PatchGrid
from .stack import TransformerStack


@dataclass(frozen=True)
class Part:
    """A part of a network.

    Attributes:
        name: what it is.
        parameters: how many it has.
        trained: how many of these get a gradient.
    """

    name: str
    parameters: int
    trained: int


def parts_of(module: nn.Module, name: str = "") -> Iterator[Part]:
    """The parts of a network: lists of layers as one, else down to modules without parts of their own.

    Parameters that stand beside a module's parts (prefix tokens, a learned position table) are parts too.
    """
    if isinstance(module, nn.ModuleList):
        place, _, layers = name.rpartition(".")
        yield _part(_join(place, f"{len(module)} {layers}"), list(module.parameters()))
        return
    children = [(key, child) for key, child in module.named_children() if any(True for _ in child.parameters())]
    if not children:
        yield _part(name, list(module.parameters()))
        return
    for key, parameter in module.named_parameters(recurse=False):
        yield _part(_join(name, key), [parameter])
    for key, child in children:
        yield from parts_of(child, name if isinstance(child, TransformerStack) else _join(name, key))


def _join(name: str, key: str) -> str:
    return f"{name}.{key}" if name else key


def _part(name: str, parameters: list[nn.Parameter]) -> Part:
    return Part(name, sum(p.numel() for p in parameters), sum(p.numel() for p in parameters if p.requires_grad))


def block_flops(config: StackConfig, sequences: int, tokens: int) -> int:
    """Forward pass of one block over sequences of S tokens: linear maps, all attention maps, one product with V.

    (A1 - lambda A2) V needs one product; computing A1 V and A2 V apart is the implementation's affair.
    """
    D = config.embed_dim
    weights = config.attention.linear_weights(D, config.num_heads) + 2 * D * config.mlp_dim
    return 2 * sequences * tokens * weights + 2 * sequences * tokens * tokens * D * (config.attention.maps + 1)


def encoder_flops(config: EncoderConfig, clips: int, patches: int, sequences: int, tokens: int) -> int:
    """Forward pass of an encoder: all patches of the clips embedded, the blocks over (sequences, tokens)."""
    embedding = 2 * clips * patches * config.stack.embed_dim * math.prod(config.patches.size)
    return embedding + config.stack.depth * block_flops(config.stack, sequences, tokens)


def clip_flops(config: EncoderConfig, grid: PatchGrid) -> int:
    """Forward pass of an encoder over one whole clip."""
    return encoder_flops(config, 1, grid.num_patches, 1, config.num_prefix_tokens + grid.num_patches)
